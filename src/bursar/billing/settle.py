"""Settling: merge facts and post all their effects, in the caller's transaction.

The webhook, the success page and the timers all call this one function, so they all end the same.
Effects are reckoned from the merged rows: what is due, less what was posted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bursar import failpoints
from bursar.billing import cases, credits, payments
from bursar.billing.payment_facts import Row, mismatch
from bursar.db.connections import Connection
from bursar.money import format_money
from bursar.providers.port import PaymentFacts


class FactsMissing(Exception):
    """An effect needs what no message has told yet: roll back, fetch, and settle again."""

    def __init__(self, row: Row) -> None:
        super().__init__(f"payment {row.id} lacks its totals")
        self.session_id = row.session_id
        self.payment_intent_id = row.payment_intent_id
        self.reference = row.reference


@dataclass(frozen=True, slots=True)
class Settled:
    """The payments that facts touched, and how many of the facts fit none."""

    payment_ids: list[int]
    unmatched: int


async def settle(
    conn: Connection, facts: Sequence[PaymentFacts], *, at: datetime, fetched: bool = False
) -> Settled:
    """Merge `facts` and post their effects. `at` is the business time.

    Raises FactsMissing, unless `fetched` says that the provider was asked and told no more: then
    what is missing is a mismatch.
    """
    merged = await payments.merge(conn, facts, at=at)
    rows = [_checked(row, fetched=fetched) for row in merged.rows]
    for row in rows:
        await payments.save(conn, row)
    await credits.grant(conn, rows, at=at)
    openings = [_mismatched(row) for row in rows if row.mismatch]
    openings += [_unmatched(fact) for fact in merged.unmatched if fact.captured_minor]
    await cases.open_cases(conn, openings, at=at)
    failpoints.reach("work.after_effect")
    return Settled([row.id for row in rows], len(merged.unmatched))


def _checked(row: Row, *, fetched: bool) -> Row:
    """The row with its verdict: does what was paid agree with what was asked?"""
    if row.state != "completed" or row.mismatch:
        return row
    if row.totals is None and not fetched:
        raise FactsMissing(row)
    return replace(row, mismatch=mismatch(row))


def _mismatched(row: Row) -> cases.Opening:
    paid = format_money(row.captured_minor, str(row.facts.get("currency") or row.currency))
    return cases.Opening(
        kind="mismatch",
        reference=f"payment:{row.id}",
        customer_id=row.customer_id,
        payment_id=row.id,
        amount_minor=row.captured_minor,
        currency=str(row.facts.get("currency") or row.currency),
        summary=f"{paid} was paid, but not for what was asked: {row.mismatch}. No credits given.",
        detail={"snapshot": dict(row.snapshot), "facts": dict(row.facts)},
    )


def _unmatched(fact: PaymentFacts) -> cases.Opening:
    # Session, intent and charge of one payment are one case: the intent is what they share.
    thing = (
        f"intent:{fact.payment_intent_id}"
        if fact.payment_intent_id
        else f"charge:{fact.charge_id}"
        if fact.charge_id
        else f"session:{fact.session_id}"
    )
    paid = format_money(fact.captured_minor or 0, fact.currency or "usd")
    return cases.Opening(
        kind="unmatched",
        reference=f"{fact.provider}:{thing}",
        amount_minor=fact.captured_minor,
        currency=fact.currency,
        summary=f"{paid} was paid at {fact.provider}, but not for a payment that Bursar began.",
        detail={
            "reference": fact.reference,
            "session_id": fact.session_id,
            "payment_intent_id": fact.payment_intent_id,
            "charge_id": fact.charge_id,
            "provider_customer_id": fact.provider_customer_id,
            "email": fact.email,
        },
    )
