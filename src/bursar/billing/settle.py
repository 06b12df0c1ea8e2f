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
from bursar.billing.payment_facts import Row, excess_minor, lacks_facts, mismatch
from bursar.db.connections import Connection
from bursar.money import format_money
from bursar.providers.port import PaymentFacts


class FactsMissing(Exception):
    """An effect needs what no message has told yet: roll back, fetch, and settle again."""

    def __init__(self, row: Row, payment_intent_id: str | None) -> None:
        super().__init__(f"payment {row.id} lacks facts")
        self.session_id = row.session_id
        self.payment_intent_id = payment_intent_id
        self.reference = row.reference


@dataclass(frozen=True, slots=True)
class Settled:
    """The payments that facts touched, and how much money among the facts belongs to none."""

    payment_ids: list[int]
    stray: int


async def settle(
    conn: Connection, facts: Sequence[PaymentFacts], *, at: datetime, fetched: bool = False
) -> Settled:
    """Merge `facts` and post their effects. `at` is the business time.

    Raises FactsMissing, unless `fetched` says that the provider was asked and told no more: then
    what is missing is a mismatch.
    """
    merged = await payments.merge(conn, facts, at=at)
    lacking = [(row, row.payment_intent_id) for row in merged.rows if lacks_facts(row)]
    lacking += [(row, fact.payment_intent_id) for row, fact in merged.unbound]
    if lacking and not fetched:
        raise FactsMissing(*lacking[0])
    granted = await credits.granted(conn, merged.rows)
    rows = [_judged(row, granted=bool(granted.get(row.id))) for row in merged.rows]
    for row in rows:
        await payments.save(conn, row)
    await credits.grant(conn, rows, granted, at=at)
    strays = [fact for fact in merged.unmatched if _money(fact)]
    openings = [case for row in rows for case in _cases(row)]
    openings += [_unmatched(fact) for fact in strays]
    await cases.open_cases(conn, openings, at=at)
    failpoints.reach("work.after_effect")
    return Settled([row.id for row in rows], len(strays))


def _judged(row: Row, *, granted: bool) -> Row:
    """The row with its verdict, reckoned anew from all that is known: is what was paid what was
    asked? What was granted stays granted; a later contradiction is a case for a person."""
    if row.state != "completed":
        return row
    return replace(row, mismatch=None if granted else mismatch(row))


def _cases(row: Row) -> list[cases.Opening]:
    found: list[cases.Opening] = []
    if row.state == "completed" and (fault := mismatch(row)):
        given = "No credits given." if row.mismatch else "Its credits had been given before."
        found.append(_case(row, "mismatch", f"was paid, but not as asked: {fault}. {given}"))
    if excess := excess_minor(row):
        found.append(_case(row, "excess", f"was taken, {excess} more than the order came to."))
    return found


def _money(fact: PaymentFacts) -> int:
    """What a fact says was taken, in minor units; 0 when it says nothing of that."""
    if fact.state != "completed":
        return fact.captured_minor or 0
    return fact.captured_minor or fact.amount_minor or 0


def _case(row: Row, kind: cases.CaseKind, what: str) -> cases.Opening:
    currency = str(row.facts.get("currency") or row.currency)
    return cases.Opening(
        kind=kind,
        reference=f"payment:{row.id}",
        customer_id=row.customer_id,
        payment_id=row.id,
        amount_minor=row.captured_minor,
        currency=currency,
        summary=f"{format_money(row.captured_minor, currency)} {what}",
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
    paid = format_money(_money(fact), fact.currency or "usd")
    return cases.Opening(
        kind="unmatched",
        reference=f"{fact.provider}:{thing}",
        amount_minor=_money(fact),
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
