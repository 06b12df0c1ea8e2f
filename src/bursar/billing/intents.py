"""Payments by a card form of ours: opened at the provider, confirmed there by the buyer's browser.

As with hosted checkouts the payment's row is committed first, with everything that the provider
will be told, and its reference is the idempotency key for ever. The client secret is never stored:
whoever may have it again is given it anew by the provider.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from bursar import errors, failpoints
from bursar.access import idempotency
from bursar.billing import checkouts, customers, orders, payments, provider_customers
from bursar.billing.orders import Order, Priced
from bursar.billing.payments import Intent, Payment
from bursar.billing.rules import USUAL, Rules
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.port import IntentOrder, OpenedIntent, Provider

LASTS = timedelta(hours=24)
"""How long an intent waits for its buyer before it is given up."""
UNPAID = ("pending", "failed")


@dataclass(frozen=True, slots=True)
class Opened:
    """A payment with the secret by which a browser confirms it."""

    payment: Payment
    client_secret: str = field(repr=False)


async def open(
    db: Database,
    provider: Provider,
    order: Order,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
    page: str | None = None,
) -> Opened:
    """Open a payment intent for `order`.

    `key` is the client's claimed idempotency key, to which the payment is tied as it is stored;
    `resume` the reference that an earlier try with that key got to; `page` the path of the page on
    which the buyer pays, if it is one of ours.
    Raises Invalid and its leaves, NotSupported, ProviderUnavailable, ProviderRejected,
    ProviderUnknown.
    """
    if provider.capabilities.card_form is None:
        raise errors.NotSupported("This payment provider has no card form.")
    reference = resume
    if reference is None:
        async with db.transaction() as conn:
            priced = await orders.price(conn, provider.name, provider.capabilities, order)
            reference = await _begin(conn, provider, order, priced, page=page, at=clock.now())
            if key is not None:
                await idempotency.attach(conn, key, reference)
    failpoints.reach("intent.after_intent")
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is None:
        raise errors.NotFound("There is no such payment.")
    if payment.opening == "open":
        return Opened(payment, await client_secret(provider, payment))
    if payment.opening == "refused":
        raise errors.ProviderRejected(
            "The payment provider refused this payment. Begin a new one, with another "
            "Idempotency-Key."
        )
    return await _call(db, provider, payment, clock)


async def client_secret(provider: Provider, payment: Payment) -> str:
    """The secret of a payment's intent, asked of the provider.

    Raises NotFound for a payment without one, and the provider's failures.
    """
    if payment.payment_intent_id is None:
        raise errors.NotFound("There is no such payment intent.")
    return await provider.fetch_client_secret(payment.payment_intent_id)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act for any payment: as for checkouts, but that an intent is opened by its own
    call, and given up once nobody has paid it for so long.

    Returns when to look again. Raises ProviderUnavailable, ProviderRejected or ProviderUnknown.
    """
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is None or payment.kind != "intent" or payment.provider not in providers:
        return await checkouts.check(db, providers, reference, clock, rules=rules)
    provider = providers[payment.provider]
    if payment.opening in ("opening", "unknown"):
        with contextlib.suppress(errors.ProviderRejected):
            await _call(db, provider, payment, clock)
        return None
    if payment.payment_intent_id and payment.state in UNPAID and _is_over(payment, clock):
        # It is asked first: to give up one that the bank holds money for would let that go.
        payment = await checkouts.sync(db, provider, payment, clock=clock, rules=rules)
        if payment.state in UNPAID:
            with contextlib.suppress(errors.ProviderRejected):
                await provider.cancel_intent(payment.payment_intent_id or "")
    return await checkouts.check(db, providers, reference, clock, rules=rules)


def _is_over(payment: Payment, clock: Clock) -> bool:
    return payment.expires_at is not None and payment.expires_at <= clock.now()


async def _begin(
    conn: Connection,
    provider: Provider,
    order: Order,
    priced: Priced,
    *,
    page: str | None,
    at: datetime,
) -> str:
    reference = uuid4()
    intent = Intent(
        customer_id=order.customer_id,
        reference=reference,
        user_id=order.user.id,
        provider=provider.name,
        kind="intent",
        amount_minor=priced.amount_minor,
        currency=priced.currency,
        unit=priced.unit,
        credits=priced.credits,
        snapshot=_snapshot(priced),
        request={
            **({"page": page} if page else {}),
            "receipt_email": order.user.email if provider.capabilities.receipts else None,
        },
        description=order.description,
        metadata=order.metadata,
    )
    await payments.begin(conn, intent, at=at)
    due_at = at + checkouts.ANSWER_LENGTH
    await timers.schedule(conn, checkouts.CHECK_TIMER, str(reference), due_at=due_at, at=at)
    return str(reference)


def _snapshot(priced: Priced) -> dict[str, Any]:
    """An intent has an amount and no lines: that amount is what it is held against."""
    return {**priced.snapshot(), "lines": [{"price_id": None, "quantity": 1}]}


async def _call(db: Database, provider: Provider, payment: Payment, clock: Clock) -> Opened:
    """Ask the provider for the intent that the stored payment describes, and store the answer.

    It is asked for only under a key that the provider remembers; later it is looked for, and what
    the provider does not have under our reference never was.
    """
    if clock.now() - payment.created_at >= checkouts.KEY_REMEMBERED:
        opened = await _find(db, provider, payment, clock)
        if opened is not None:
            return await _store(db, payment, opened, clock)
        await _not_opened(db, payment, refused=True)
        raise errors.ProviderRejected("This payment was never opened. Begin a new one.")
    try:
        opened = await _create(db, provider, payment, clock)
    except errors.ProviderRejected:
        await _not_opened(db, payment, refused=True)
        raise
    except errors.ProviderUnknown:
        # A provider may replay its own failure under the key for ever: what it did is then found
        # by our reference.
        found = None
        if payment.opening == "unknown":
            with contextlib.suppress(errors.ProviderRejected):
                found = await _find(db, provider, payment, clock)
        if found is None:
            await _not_opened(db, payment, refused=False)
            raise
        opened = found
    failpoints.reach("intent.after_call")
    return await _store(db, payment, opened, clock)


async def _create(
    db: Database, provider: Provider, payment: Payment, clock: Clock, *, again: bool = False
) -> OpenedIntent:
    customer = await _customer(db, provider, payment, clock)
    order = IntentOrder(
        reference=payment.reference,
        provider_customer_id=customer,
        currency=payment.currency,
        amount_minor=payment.amount_minor,
        capture_method=payment.snapshot["capture_method"],
        description=payment.description or str(payment.snapshot["name"]),
        metadata=payment.metadata,
        receipt_email=payment.request.get("receipt_email"),
    )
    try:
        return await provider.create_intent(order)
    except errors.ProviderCustomerMissing:
        if again:
            raise
        # Somebody deleted the customer at the provider: it is made anew, once.
        await provider_customers.forget(db, provider, payment.customer_id, customer)
        return await _create(db, provider, payment, clock, again=True)


async def _find(
    db: Database, provider: Provider, payment: Payment, clock: Clock
) -> OpenedIntent | None:
    customer = await _customer(db, provider, payment, clock)
    return await provider.find_intent(payment.reference, customer)


async def _customer(db: Database, provider: Provider, payment: Payment, clock: Clock) -> str:
    async with db.connection() as conn:
        user = await customers.ensure_user(conn, payment.user_id or "", at=clock.now())
    return await provider_customers.name_at(db, provider, payment.customer_id, user, at=clock.now())


async def _not_opened(db: Database, payment: Payment, *, refused: bool) -> None:
    async with db.transaction() as conn:
        await payments.not_opened(conn, payment, "refused" if refused else "unknown")


async def _store(db: Database, payment: Payment, opened: OpenedIntent, clock: Clock) -> Opened:
    expires_at = payment.created_at + LASTS
    async with db.transaction() as conn:
        await payments.opened(
            conn,
            payment,
            session_id=None,
            session_url=None,
            expires_at=expires_at,
            payment_intent_id=opened.payment_intent_id,
        )
        await timers.cancel(conn, checkouts.CHECK_TIMER, payment.reference)
        stored = await payments.get_payment(conn, payment.customer_id, payment.id)
        now = clock.now()
        due_at = checkouts.next_look(stored, now)
        await timers.schedule(conn, checkouts.CHECK_TIMER, payment.reference, due_at=due_at, at=now)
    return Opened(stored, opened.client_secret)
