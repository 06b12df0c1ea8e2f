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
from typing import Literal

from bursar import errors, failpoints
from bursar.access import idempotency
from bursar.billing import credits, payments, reversals, settle
from bursar.billing.payments import Payment
from bursar.billing.reversals import Reversal
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.ledger import balances, entries
from bursar.messages import timers
from bursar.providers.port import PaymentFacts, Provider, RefundOrder, RefundReason

CHECK_TIMER = "refund.check"
ANSWER_LENGTH = timedelta(minutes=2)
KEY_REMEMBERED = timedelta(hours=23)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A refund to make. Without an amount: all that is left."""

    payment_id: int
    amount_minor: int | None = None
    reason: RefundReason | None = None
    force: bool = False
    requested_by: str
    of_spent: Literal["debt", "refuse"] = "debt"


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
    await _ask(db, provider, reference, clock)
    return await _show(db, reference, clock)


async def check(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: a refund whose answer we never had is asked for again under its key.

    Past the time that the provider remembers the key, its list of refunds decides. Raises the
    provider's failures: the timer tries again.
    """
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
        if found is None:
            return None
        customer_id, reversal = found
        payment = await payments.get_payment(conn, customer_id, reversal.payment_id)
    if reversal.provider_ref is not None or reversal.state != "pending":
        return None
    provider = providers[payment.provider]
    if clock.now() - reversal.created_at < KEY_REMEMBERED:
        await _ask(db, provider, reference, clock)
        return None
    # It is not asked for again: what the provider does not list under our reference never was.
    await _settle(db, await provider.list_refunds(payment.payment_intent_id or ""), clock)
    await _undo(db, customer_id, reversal, clock)
    return None


async def _begin(conn: Connection, provider: Provider, wanted: Wanted, *, at: datetime) -> str:
    payment = await payments.find_payment(conn, wanted.payment_id)
    if payment is None or payment.provider != provider.name:
        raise errors.NotFound("There is no such payment.")
    left = payment.captured_minor - payment.refunded_minor - payment.refund_pending_minor
    if payment.state != "completed" or payment.disputed_minor or left <= 0:
        raise errors.PaymentNotRefundable(
            f"Payment {payment.id} is {payment.status}, and {left} of it is left to refund."
        )
    amount = left if wanted.amount_minor is None else wanted.amount_minor
    if payment.payment_intent_id is None or not await payments.reserve_refund(
        conn, payment, amount
    ):
        raise errors.RefundExceedsCaptured(f"At most {left} of payment {payment.id} is left.")
    if wanted.of_spent == "refuse" and not wanted.force:
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
    await settle.refresh(conn, payment.customer_id, payment.id, at=at)
    await timers.schedule(conn, CHECK_TIMER, reference, due_at=at + ANSWER_LENGTH, at=at)
    return reference


async def _refuse_spent(conn: Connection, payment: Payment, amount: int, *, at: datetime) -> None:
    share = credits.to_take_back(payment.credits, amount, payment.captured_minor)
    held = await balances.balance(conn, payment.customer_id, payment.unit or "", at=at)
    if share > held.pools["purchased"]:
        raise errors.CreditsSpent(
            f"The refund takes {share} credits back and {held.pools['purchased']} are left."
        )


async def _ask(db: Database, provider: Provider, reference: str, clock: Clock) -> None:
    """Ask the provider for the refund that is stored, under its key, and settle its answer."""
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
        if found is None:
            raise errors.NotFound("There is no such refund.")
        customer_id, reversal = found
        payment = await payments.get_payment(conn, customer_id, reversal.payment_id)
    if reversal.state != "pending" or reversal.provider_ref is not None:
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
        await _undo(db, customer_id, reversal, clock)
        raise
    except errors.ProviderUnknown:
        # Done, perhaps: a provider may replay its own failure under the key for ever.
        listed = await provider.list_refunds(order.payment_intent_id)
        done = [f for f in listed if any(r.reference == reference for r in f.refunds)]
        if not done:
            raise
        facts = done[0]
    failpoints.reach("refund.after_call")
    await _settle(db, [facts], clock)


async def _undo(db: Database, customer_id: int, reversal: Reversal, clock: Clock) -> None:
    """End a refund that never was; one that the provider told of meanwhile stays."""

    async def work(conn: Connection) -> None:
        await payments.lock(conn, customer_id, reversal.payment_id)
        await reversals.release(conn, customer_id, reversal, at=clock.now())
        await settle.refresh(conn, customer_id, reversal.payment_id, at=clock.now())

    await db.run(work)


async def _settle(db: Database, facts: list[PaymentFacts], clock: Clock) -> None:
    async def work(conn: Connection) -> None:
        await settle.settle(conn, facts, at=clock.now(), fetched=True)

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
    settled = [r for r in listed[payment.id] if r.state == "settled" and r.id <= reversal.id]
    upto = sum(r.amount_minor for r in settled)
    before = upto - (reversal.amount_minor if reversal.state == "settled" else 0)
    granted, captured = given.get(payment.id, 0), payment.captured_minor
    share = credits.to_take_back(granted, upto, captured) - credits.to_take_back(
        granted, before, captured
    )
    return Refund(reversal, share, balance.owed)
