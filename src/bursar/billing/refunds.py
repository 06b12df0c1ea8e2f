"""Refunds that we ask for: reserved, asked of the provider once, settled by what it says.

The amount is reserved and the reversal stored, with the credits it would take held, before the
provider is called; its reference is the idempotency key for ever and stands in the provider's
metadata, so that the webhook finds it even before our own answer. Refunds that others make at the
provider come through settle alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar import errors, failpoints
from bursar.access import audit_log, idempotency
from bursar.access.actors import Actor
from bursar.billing import cases, credits, customers, merging, payments, reversals, settle
from bursar.billing.payments import Payment
from bursar.billing.reversals import Reversal
from bursar.billing.rules import USUAL, Rules
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.ledger import balances, entries
from bursar.messages import timers
from bursar.providers.port import PaymentFacts, Provider, RefundOrder, RefundReason

ANSWER_LENGTH = timedelta(minutes=2)
KEY_REMEMBERED = timedelta(hours=23)
PATIENCE = timedelta(days=30)
STORED = (
    "The refund is stored and will be made once the provider answers. Ask again with the same "
    "Idempotency-Key, never with a new one."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A refund to make. Without an amount: all that is left."""

    payment_id: int
    amount_minor: int | None = None
    reason: RefundReason | None = None
    force: bool = False
    requested_by: str
    actor: Actor | None = None
    rules: Rules = USUAL


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund as it stands; credits in the unit's parts. `owed` is all that the customer owes."""

    reversal: Reversal
    credits_reversed: int
    owed: int


async def request(
    db: Database,
    provider: Provider,
    wanted: Wanted,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
) -> Refund:
    """Refund a payment, whole or in part.

    Raises NotFound, PaymentNotRefundable, RefundExceedsCaptured, CreditsSpent,
    ProviderUnavailable, ProviderRejected, ProviderUnknown (asked again by a timer, never blindly).
    """
    reference = resume
    if reference is None:

        async def work(conn: Connection) -> str:
            begun = await _begin(conn, provider, wanted, at=clock.now())
            if key is not None:
                await idempotency.attach(conn, key, begun)
            return begun

        reference = await db.run(work)
    failpoints.reach("refund.after_intent")
    await _ask(db, provider, reference, clock, wanted.rules)
    return await _show(db, reference, clock)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: ask how a pending refund stands; returns when to look again.

    One whose answer we never had is asked for again under its key, while the provider remembers
    it. Past its patience a case is opened. Raises the provider's failures: the timer tries again.
    """
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
        if found is None:
            return None
        customer_id, reversal = found
        payment = await payments.get_payment(conn, customer_id, reversal.payment_id)
    if reversal.state != "pending":
        return None
    provider, now = providers[payment.provider], clock.now()
    if reversal.provider_ref is None:
        await _ask(db, provider, reference, clock, rules)
        return now + reversals.LOOK_AGAIN
    listed = await provider.list_refunds(payment.payment_intent_id or "")
    await _settle(db, listed, clock, rules)
    if now - reversal.created_at < PATIENCE:
        return now + reversals.LOOK_AGAIN
    async with db.transaction() as conn:
        await cases.open_cases(conn, [_overdue(payment, reversal)], at=now)
    return None


async def _begin(conn: Connection, provider: Provider, wanted: Wanted, *, at: datetime) -> str:
    payment = await payments.find_payment(conn, wanted.payment_id)
    if payment is None or payment.provider != provider.name:
        raise errors.NotFound("There is no such payment.")
    left = payment.captured_minor - payment.refunded_minor - payment.refund_pending_minor
    if payment.state != "completed" or payment.disputed_minor or left <= 0:
        raise errors.PaymentNotRefundable(_refusal(payment, left))
    amount = left if wanted.amount_minor is None else wanted.amount_minor
    if payment.payment_intent_id is None or not await payments.reserve_refund(
        conn, payment, amount
    ):
        raise errors.RefundExceedsCaptured(f"At most {left} of payment {payment.id} is left.")
    if wanted.rules.of_spent == "refuse" and not wanted.force:
        await _refuse_spent(conn, payment, amount, at=at)
    reference = await reversals.begin(
        conn,
        customer_id=payment.customer_id,
        payment_id=payment.id,
        amount_minor=amount,
        reason=wanted.reason,
        requested_by=wanted.requested_by,
        at=at,
    )
    if wanted.actor is not None:
        await _record(conn, payment, wanted, amount, reference)
    await settle.refresh(conn, payment.customer_id, payment.id, at=at, rules=wanted.rules)
    await timers.schedule(conn, reversals.CHECK_TIMER, reference, due_at=at + ANSWER_LENGTH, at=at)
    return reference


def _refusal(payment: Payment, left_minor: int) -> str:
    """Why nothing of a payment can be given back, in words."""
    if payment.disputed_minor:
        return (
            f"Payment {payment.id} is disputed: the buyer's bank has the money or asks about it. "
            "Answer or accept the dispute; once it is decided, what is left can be refunded."
        )
    if payment.state != "completed":
        return f"Payment {payment.id} is {payment.status}: no money was taken that could go back."
    pending = " or is about to" if payment.refund_pending_minor else ""
    return f"All of payment {payment.id} has gone back{pending}: nothing is left to refund."


async def _record(
    conn: Connection, payment: Payment, wanted: Wanted, amount: int, reference: str
) -> None:
    """Tell the audit log who asked for a refund, in the transaction that begins it."""
    assert wanted.actor is not None  # noqa: S101 - somebody asked
    await audit_log.record(
        conn,
        wanted.actor,
        "payment.refunded",
        subject=f"payment:{payment.id}",
        customer_id=payment.customer_id,
        reason=wanted.reason,
        detail={
            "amount_minor": amount,
            "currency": payment.currency,
            "force": wanted.force,
            "reference": reference,
        },
    )


async def _refuse_spent(conn: Connection, payment: Payment, amount: int, *, at: datetime) -> None:
    """Raise CreditsSpent when the credits that this refund would take are not all there."""
    await customers.lock(conn, payment.customer_id)
    given = await entries.posted_for_payments(
        conn, [payment.customer_id], [payment.id], types=["purchase"]
    )
    granted, captured = given.get(payment.id, 0), payment.captured_minor
    before = payment.refunded_minor + payment.refund_pending_minor
    share = credits.to_take_back(granted, before + amount, captured) - credits.to_take_back(
        granted, before, captured
    )
    there = await balances.balance(conn, payment.customer_id, payment.unit or "", at=at)
    if share > there.pools["purchased"]:
        raise errors.CreditsSpent(
            f"The refund takes {share} credits back and {there.pools['purchased']} are left."
        )


async def _ask(
    db: Database, provider: Provider, reference: str, clock: Clock, rules: Rules
) -> None:
    """Ask the provider for the refund that is stored, under its key, and settle its answer."""
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
        if found is None:
            raise errors.NotFound("There is no such refund.")
        customer_id, reversal = found
        payment = await payments.get_payment(conn, customer_id, reversal.payment_id)
    if reversal.state != "pending" or reversal.provider_ref is not None:
        return
    if clock.now() - reversal.created_at >= KEY_REMEMBERED:
        # The provider may have forgotten the key: nothing is asked for again. What it does not
        # list under our reference never was.
        asked = await provider.list_refunds(payment.payment_intent_id or "")
        await _settle(db, asked, clock, rules)
        await _undo(db, customer_id, reversal, clock, rules)
        return
    order = RefundOrder(
        reference=reference,
        payment_intent_id=payment.payment_intent_id or "",
        amount_minor=reversal.amount_minor,
        reason=reversal.reason,  # type: ignore[arg-type]
    )
    try:
        facts = await provider.create_refund(order)
    except errors.ProviderRejected:
        await _undo(db, customer_id, reversal, clock, rules)
        raise
    except errors.ProviderUnavailable as error:
        raise errors.ProviderUnavailable(STORED) from error
    except errors.ProviderUnknown as error:
        # Done, perhaps: a provider may replay its own failure under the key for ever.
        try:
            listed = await provider.list_refunds(order.payment_intent_id)
        except errors.Error as failed:
            raise errors.ProviderUnknown(STORED) from failed
        done = [f for f in listed if any(r.reference == reference for r in f.refunds)]
        if not done:
            raise errors.ProviderUnknown(STORED) from error
        facts = done[0]
    failpoints.reach("refund.after_call")
    await _settle(db, [facts], clock, rules)


async def _undo(
    db: Database, customer_id: int, reversal: Reversal, clock: Clock, rules: Rules
) -> None:
    """End a refund that never was; one that the provider told of meanwhile stays."""

    async def work(conn: Connection) -> None:
        await merging.lock(conn, customer_id, reversal.payment_id)
        await reversals.release(conn, customer_id, reversal, at=clock.now())
        payment_id = reversal.payment_id
        await settle.refresh(conn, customer_id, payment_id, at=clock.now(), rules=rules)

    await db.run(work)


async def _settle(db: Database, facts: list[PaymentFacts], clock: Clock, rules: Rules) -> None:
    async def work(conn: Connection) -> None:
        await settle.settle(conn, facts, at=clock.now(), fetched=True, rules=rules)

    await db.run(work)


async def _show(db: Database, reference: str, clock: Clock) -> Refund:
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
        assert found is not None  # noqa: S101 - it was asked for above
        customer_id, reversal = found
        payment = await payments.get_payment(conn, customer_id, reversal.payment_id)
        listed = await reversals.list_for_payments(conn, customer_id, [payment.id])
        given = await entries.posted_for_payments(
            conn, [customer_id], [payment.id], types=["purchase"]
        )
        balance = await balances.balance(conn, customer_id, payment.unit or "", at=clock.now())
    refunds = [r for r in listed[payment.id] if r.kind == "refund" and r.id <= reversal.id]
    settled = [r for r in refunds if r.state == "settled"]
    upto = sum(r.amount_minor for r in settled)
    before = upto - (reversal.amount_minor if reversal.state == "settled" else 0)
    granted, captured = given.get(payment.id, 0), payment.captured_minor
    share = credits.to_take_back(granted, upto, captured) - credits.to_take_back(
        granted, before, captured
    )
    return Refund(reversal, share, balance.owed)


def _overdue(payment: Payment, reversal: Reversal) -> cases.Opening:
    return cases.Opening(
        kind="unknown",
        reference=f"refund:{reversal.id}",
        customer_id=payment.customer_id,
        payment_id=payment.id,
        amount_minor=reversal.amount_minor,
        currency=payment.currency,
        summary=f"Refund {reversal.id} of payment {payment.id} is pending at {payment.provider} "
        f"since {reversal.created_at:%Y-%m-%d}.",
        detail={"reference": reversal.reference, "provider_ref": reversal.provider_ref},
    )
