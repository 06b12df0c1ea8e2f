"""Orders under review: their money is taken, whole or in part, or let go.

The decision is stored before the provider is called, and its reference is the idempotency key for
ever. An intent is captured or canceled once at the provider, so its state says what became of a
call whose answer was lost. What others decide at the provider comes through settle alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar import errors, failpoints
from bursar.access import audit_log, idempotency
from bursar.access.actors import Actor
from bursar.billing import asking, merging, order_decisions, payments, settle
from bursar.billing.order_decisions import Decision, Kind
from bursar.billing.payment_facts import Row
from bursar.billing.payments import Payment
from bursar.billing.rules import USUAL, Rules
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.money import format_money
from bursar.providers.port import (
    CancelOrder,
    CancelReason,
    CaptureOrder,
    PaymentFacts,
    Provider,
    Told,
)

CHECK_TIMER = "order.check"
ANSWER_LENGTH = timedelta(minutes=2)
LOOK_AGAIN = timedelta(minutes=10)
KEY_REMEMBERED = timedelta(hours=23)
GIVEN_UP_AFTER = timedelta(minutes=10)
"""How old a decision must be until the provider's failure, with the money still held, ends it."""
AUDITED: dict[Kind, str] = {"capture": "order.captured", "cancel": "order.canceled"}
STORED = (
    "The decision is stored, and what became of it will be asked. Look at the order again in a "
    "moment, or repeat the request with the same Idempotency-Key."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A decision to make about a payment. A capture without an amount takes all that is held."""

    payment_id: int
    kind: Kind
    amount_minor: int | None = None
    reason: CancelReason | None = None
    requested_by: str
    actor: Actor
    rules: Rules = USUAL


async def decide(
    db: Database,
    providers: Mapping[str, Provider],
    wanted: Wanted,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
) -> Decision:
    """Capture or cancel an order; returns the decision, which may be pending still.

    Raises NotFound, NotSupported, PaymentNotCapturable, CaptureExceedsAuthorized,
    ProviderUnavailable, ProviderRejected, ProviderUnknown (asked about by a timer).
    """
    reference = resume
    if reference is None:

        async def work(conn: Connection) -> str:
            begun = await _begin(conn, providers, wanted, at=clock.now())
            if key is not None:
                await idempotency.attach(conn, key, begun)
            return begun

        reference = await db.run(work)
    failpoints.reach("capture.after_intent")
    return await _ask(db, providers, reference, clock, wanted.rules)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: ask what became of a decision that is open; returns when to look again.

    Raises the provider's failures: the timer tries again.
    """
    refusals = (errors.ProviderRejected, errors.PaymentNotCapturable, errors.NotFound)
    with contextlib.suppress(*refusals):
        decision = await _ask(db, providers, reference, clock, rules)
        return clock.now() + LOOK_AGAIN if decision.open else None
    return None


async def _begin(
    conn: Connection, providers: Mapping[str, Provider], wanted: Wanted, *, at: datetime
) -> str:
    payment = await payments.find_payment(conn, wanted.payment_id)
    if payment is None:
        raise errors.NotFound("There is no such payment.")
    _provider_of(providers, payment)
    row = (await merging.lock(conn, payment.customer_id, payment.id)).rows[0]
    held = row.authorized_minor
    if row.state != "authorized" or row.payment_intent_id is None or not held:
        raise _not_held(payment.id, row)
    amount = None
    if wanted.kind == "capture":
        amount = held if wanted.amount_minor is None else wanted.amount_minor
        if amount > held:
            raise _too_much(held, row.currency)
    reference = await order_decisions.begin(
        conn,
        customer_id=row.customer_id,
        payment_id=row.id,
        kind=wanted.kind,
        amount_minor=amount,
        reason=wanted.reason,
        requested_by=wanted.requested_by,
        at=at,
    )
    if reference is None:
        raise errors.PaymentNotCapturable(
            f"Payment {row.id} is being captured or canceled just now; look again in a moment."
        )
    await audit_log.record(
        conn,
        wanted.actor,
        AUDITED[wanted.kind],
        subject=f"payment:{row.id}",
        customer_id=row.customer_id,
        reason=wanted.reason,
        detail={"amount_minor": amount, "currency": row.currency, "reference": reference},
    )
    await timers.schedule(conn, CHECK_TIMER, reference, due_at=at + ANSWER_LENGTH, at=at)
    return reference


async def _ask(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    rules: Rules,
) -> Decision:
    """Have a decision carried out, under its key, and settle the answer."""
    async with db.connection() as conn:
        decision = await order_decisions.find_by_reference(conn, reference)
        if decision is None:
            raise errors.NotFound("There is no such decision.")
        payment = await payments.get_payment(conn, decision.customer_id, decision.payment_id)
    provider = _provider_of(providers, payment)
    asking = _Asking(db, provider, decision, payment, clock, rules)
    if not decision.open:
        return asking.told(decision)
    age = clock.now() - decision.created_at
    if age >= KEY_REMEMBERED:
        # The provider may have forgotten the key: nothing is asked for again. What the intent
        # does not show never was.
        return asking.told(await asking.look(otherwise="refused"))
    try:
        facts = await _call(asking.provider, decision, payment)
    except errors.ProviderRejected:
        found = await asking.look(otherwise="refused")
        if found.state == "refused" and await asking.still_held():
            # The provider's own words say best why it does not want to.
            raise
        return asking.told(found)
    except errors.ProviderUnavailable as error:
        raise errors.ProviderUnavailable(STORED) from error
    except errors.ProviderUnknown as error:
        # Done, perhaps: a provider may replay its own failure under the key for ever.
        found = await asking.look(otherwise="refused" if age >= GIVEN_UP_AFTER else "")
        if found.open:
            await asking.lose()
            raise errors.ProviderUnknown(STORED) from error
        return asking.told(found)
    failpoints.reach("capture.after_call")
    return asking.told(await asking.settle(facts))


async def _call(provider: Provider, decision: Decision, payment: Payment) -> list[PaymentFacts]:
    intent = payment.payment_intent_id or ""
    if decision.kind == "capture":
        amount = decision.amount_minor or 0
        return await provider.capture_payment(CaptureOrder(decision.reference, intent, amount))
    reason: CancelReason | None = decision.reason  # type: ignore[assignment]
    return await provider.cancel_payment(CancelOrder(decision.reference, intent, reason))


@dataclass(frozen=True, slots=True)
class _Asking:
    """One decision with what it takes to ask about it."""

    db: Database
    provider: Provider
    decision: Decision
    payment: Payment
    clock: Clock
    rules: Rules

    async def settle(
        self, facts: Sequence[Told], *, otherwise: str = "", fetched: bool = False
    ) -> Decision:
        """Settle what the provider says, and close the decision as the payment shows.

        `otherwise` is what becomes of it while the money is still held; empty leaves it open.
        """

        async def work(conn: Connection) -> Decision:
            at = self.clock.now()
            await settle.settle(conn, facts, at=at, fetched=fetched, rules=self.rules)
            decision = self.decision
            locked = await merging.lock(conn, decision.customer_id, decision.payment_id)
            outcome = _outcome(decision, locked.rows[0]) or otherwise
            if outcome:
                state = "done" if outcome == "done" else "refused"
                await order_decisions.close(conn, decision, state, at=at)  # type: ignore[arg-type]
                await timers.cancel(conn, CHECK_TIMER, decision.reference)
            found = await order_decisions.find_by_reference(conn, decision.reference)
            assert found is not None  # noqa: S101 - it was read before, and none is deleted
            return found

        try:
            return await self.db.run(work)
        except settle.FactsMissing:
            # Rolled back: what was bought was never asked for while the money was only held.
            return await self.look(otherwise=otherwise)

    async def look(self, *, otherwise: str = "") -> Decision:
        """Ask the provider how the payment stands, and settle that.

        Raises ProviderUnknown when that is not answered either, and ProviderRejected.
        """
        try:
            payment = self.payment
            missing = settle.FactsMissing(
                payment.session_id, payment.payment_intent_id, payment.reference
            )
            facts = await asking.ask(self.db, self.provider, missing)
        except (errors.ProviderUnavailable, errors.ProviderUnknown) as error:
            await self.lose()
            raise errors.ProviderUnknown(STORED) from error
        return await self.settle(facts, otherwise=otherwise, fetched=True)

    async def lose(self) -> None:
        """Note that an answer was lost."""
        async with self.db.transaction() as conn:
            await order_decisions.lose(conn, self.decision)

    async def still_held(self) -> bool:
        """Whether the payment waits for a decision as before."""
        async with self.db.connection() as conn:
            payment = await payments.get_payment(
                conn, self.decision.customer_id, self.decision.payment_id
            )
        return payment.state == "authorized"

    def told(self, decision: Decision) -> Decision:
        """A decision that stands. Raises PaymentNotCapturable for one that came too late."""
        if decision.state == "refused":
            raise errors.PaymentNotCapturable(
                f"Payment {decision.payment_id} was not "
                f"{'captured' if decision.kind == 'capture' else 'canceled'}: the payment "
                "provider did not do it. Look at the order, and decide anew."
            )
        return decision


def _provider_of(providers: Mapping[str, Provider], payment: Payment) -> Provider:
    try:
        return providers[payment.provider]
    except KeyError as error:
        raise errors.NotSupported(
            f"{payment.provider} is not set up in this deployment."
        ) from error


def _outcome(decision: Decision, row: Row) -> str:
    """What the payment's state says of a decision; empty while the money is still held."""
    if row.state == "completed":
        taken = decision.kind == "capture" and decision.amount_minor == row.captured_minor
        return "done" if taken else "refused"
    if row.state in ("canceled", "expired"):
        return "done" if decision.kind == "cancel" else "refused"
    return ""


def _not_held(payment_id: int, row: Row) -> errors.PaymentNotCapturable:
    return errors.PaymentNotCapturable(
        f"Payment {payment_id} is {row.state}: no money is held for it that could be captured or "
        "let go."
    )


def _too_much(held: int, currency: str) -> errors.CaptureExceedsAuthorized:
    message = f"At most {format_money(held, currency)} ({held} in minor units) is held"
    entry = {
        "field": "amount",
        "code": errors.CaptureExceedsAuthorized.code,
        "message": message,
    }
    return errors.CaptureExceedsAuthorized(f"{message}.", errors=[entry])
