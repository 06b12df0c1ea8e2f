"""Sends letters: words them from what is stored, and hands them to the mail server.

Owns what a try means for mail: a letter whose sender died after handing it over is never sent
again, since it may have arrived. No transaction is open while the server is spoken to.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from typing import Any

import orjson
import structlog

from bursar import errors, failpoints
from bursar.billing import catalog, catalog_plans, customers, letters, payments, plan_terms
from bursar.billing.catalog import Unit
from bursar.billing.catalog_plans import Terms
from bursar.billing.payments import Payment
from bursar.billing.plan_terms import Term
from bursar.config import Settings
from bursar.db.connections import Connection
from bursar.entrypoints import right_words
from bursar.entrypoints.letters import buyers, operators, rendering, subscribers
from bursar.entrypoints.letters.letter import Letter, Matter, minute
from bursar.entrypoints.letters.rendering import Letterhead
from bursar.entrypoints.sending import Way
from bursar.entrypoints.web import theme
from bursar.messages import mail, outbox, smtp
from bursar.messages.mail import Mail
from bursar.messages.outbox import Claimed, DeliveryFailed
from bursar.messages.smtp import Envelope, Relay
from bursar.money import format_credits
from bursar.wiring import Wiring

AT_ONCE = 4
WORDS: dict[str, Callable[[Matter], Letter]] = {
    letters.CONFIRMATION: buyers.confirmation,
    letters.RECEIPT: buyers.receipt,
    letters.REFUND: buyers.refund,
    letters.CHARGE_FAILED: subscribers.charge_failed,
    letters.CHARGE_RECOVERED: subscribers.charge_recovered,
    letters.FINAL_NOTICE: subscribers.final_notice,
    letters.TRIAL_ENDING: subscribers.trial_ending,
    letters.DISPUTE: operators.dispute,
    letters.LAPSE: operators.lapse,
    letters.CASE: operators.case,
}

log = structlog.get_logger("bursar.mail")


@dataclass(frozen=True, slots=True)
class Post:
    """Where letters go out, from whom, and who the operator is."""

    relay: Relay
    sender: Address
    operator: str | None


def read_post(settings: Settings) -> Post | None:
    """What the settings say of mail; None where none is sent. Raises errors.Misconfigured."""
    if not settings.smtp_url:
        return None
    try:
        relay = smtp.read_url(settings.smtp_url)
    except ValueError as error:
        raise errors.Misconfigured(f"BURSAR_SMTP_URL: {error}") from error
    try:
        sender = mail.read_sender(settings.mail_from, settings.shop_name)
    except ValueError as error:
        raise errors.Misconfigured(f"BURSAR_MAIL_FROM: {error}") from error
    try:
        operator = settings.operator_email or None
        if operator:
            mail.address_of(operator, None)
    except ValueError as error:
        raise errors.Misconfigured(f"BURSAR_OPERATOR_EMAIL: {error}") from error
    return Post(relay, sender, operator)


async def arrange(wiring: Wiring) -> None:
    """Have letters written as the settings ask, or none. Raises errors.Misconfigured."""
    post, settings = read_post(wiring.settings), wiring.settings
    wanted: dict[str, list[str]] = {}
    if post is None:
        log.info("no letters are written: BURSAR_SMTP_URL is not set")
    else:
        wanted = letters.destinations(
            receipts=settings.receipts == "bursar", operator=post.operator is not None
        )
    async with wiring.db.transaction() as conn:
        await letters.arrange(conn, wanted, at=wiring.clock.now())


def way(wiring: Wiring, *, trust: ssl.SSLContext | None = None) -> Way | None:
    """The way of letters; None where none are sent. Raises errors.Misconfigured."""
    post = read_post(wiring.settings)
    if post is None:
        return None

    async def claim(conn: Connection, limit: int, seconds: float) -> list[Claimed]:
        return await outbox.claim(conn, list(WORDS), limit=limit, lease_seconds=seconds)

    async def deliver(message: Claimed) -> None:
        if message.handed_at is not None:
            told = f"{smtp.UNKNOWN}: the process that sent it ended meanwhile"
            raise DeliveryFailed(told, dead=True)
        envelope = await _envelope(wiring, post, message)

        async def ready() -> bool:
            async with wiring.db.transaction() as conn:
                kept = await outbox.hand_over(conn, message)
            failpoints.reach("mail.handed_over")
            return kept

        await smtp.hand_over(post.relay, envelope, ready=ready, trust=trust)

    return Way(claim, deliver, AT_ONCE)


async def _envelope(wiring: Wiring, post: Post, message: Claimed) -> Envelope:
    told = orjson.loads(message.payload)
    data = told["data"]
    async with wiring.db.connection() as conn:
        found = await _find_payment(conn, message)
        unit = await _find_unit(conn, found)
        term = await _find_term(conn, found)
        plan = await _find_plan(conn, message, data)
        user = None
        if message.destination not in letters.OPERATOR_TOPICS:
            user = await customers.find_user(conn, data["user_id"])
    to = user.email if user else post.operator
    if not to or (user is None and message.destination not in letters.OPERATOR_TOPICS):
        raise DeliveryFailed("there is no address to write to any more", dead=True)
    matter = Matter(
        topic=message.topic,
        data=data,
        created_at=datetime.fromisoformat(told["created_at"]),
        shop=wiring.settings.shop_name,
        own_url=wiring.settings.own_url,
        name=user.name if user else None,
        item=plan.name if plan else _item(found),
        receipt_url=found.receipt_url if found and user else None,
        credits=_credits(found, unit),
        runs=_runs(term),
        includes=right_words.said(term.rights) if term else "",
        last_try=_is_last_try(wiring, message, data),
        without_card=plan.trial_end if plan and not plan.trial_card else "",
    )
    letter = WORDS[message.destination](matter)
    # Colours are arithmetic for some milliseconds: the loop goes on meanwhile.
    written = await asyncio.to_thread(rendering.render, letter, _letterhead(wiring.settings))
    return mail.compose(
        Mail(
            sender=post.sender,
            to_email=to,
            to_name=user.name if user else None,
            subject=written.subject,
            text=written.text,
            html=written.html,
            key=f"{told['id']}.{message.id}",
            at=datetime.now(UTC),
        )
    )


async def _find_payment(conn: Connection, message: Claimed) -> Payment | None:
    data = orjson.loads(message.payload)["data"]
    payment_id = data["id"] if message.topic.startswith("payment.") else data.get("payment_id")
    if payment_id is None or message.customer_id is None:
        return None
    try:
        return await payments.get_payment(conn, message.customer_id, payment_id)
    except errors.NotFound:
        return None


async def _find_unit(conn: Connection, payment: Payment | None) -> Unit | None:
    if payment is None or not payment.credits or payment.unit is None:
        return None
    return await catalog.get_unit(conn, payment.unit)


async def _find_term(conn: Connection, payment: Payment | None) -> Term | None:
    """The months of a plan that a payment bought."""
    if payment is None or not payment.snapshot.get("months"):
        return None
    terms = await plan_terms.list_terms(
        conn, payment.customer_id, plan=str(payment.snapshot["plan"])
    )
    return next((term for term in terms if term.payment_id == payment.id), None)


async def _find_plan(conn: Connection, message: Claimed, data: Mapping[str, Any]) -> Terms | None:
    """The plan of the subscription that an event is about."""
    if not message.topic.startswith("subscription."):
        return None
    found = await catalog_plans.list_terms(conn, data["provider"], [data["price_id"]])
    return found.get(data["price_id"])


def _is_last_try(wiring: Wiring, message: Claimed, data: Mapping[str, Any]) -> bool:
    """Whether a failed charge is the one after which its subscription is given up."""
    most = wiring.rules.failures_max
    failed = message.destination == letters.CHARGE_FAILED
    return failed and most is not None and int(data["attempts"]) >= most


def _runs(term: Term | None) -> str:
    return f"{minute(term.starts_at)} to {minute(term.ends_at)}" if term else ""


def _item(payment: Payment | None) -> str | None:
    if payment is None:
        return None
    return payment.snapshot.get("name") or payment.description


def _credits(payment: Payment | None, unit: Unit | None) -> str:
    """What a payment that was taken whole brings; of a part the account tells."""
    if payment is None or unit is None or payment.captured_minor < payment.amount_minor:
        return ""
    return f"{format_credits(payment.credits, unit.decimals)} {unit.label}"


def _letterhead(settings: Settings) -> Letterhead:
    accent = theme.accent(settings.brand_accent, theme.LIGHT)
    return Letterhead(settings.shop_name, accent.fill, accent.label, test=settings.mode != "live")
