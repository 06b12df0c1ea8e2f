"""Settling: merge facts and post all their effects, in the caller's transaction.

The webhook, the success page and the timers all call this one function, so they all end the same.
Effects are reckoned from the merged rows: what is due, less what was posted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bursar import failpoints
from bursar.billing import (
    authorizations,
    cases,
    credits,
    events,
    letters,
    merging,
    mirror,
    pack_rights,
    payments,
    plan_terms,
    reversals,
    strangers,
    subscriptions,
)
from bursar.billing.merging import Merged
from bursar.billing.payment_facts import (
    Row,
    Sums,
    excess_minor,
    lacks_facts,
    mismatch,
    passed_unreviewed,
)
from bursar.billing.rules import USUAL, Rules
from bursar.billing.strangers import Owner
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.money import format_money
from bursar.providers.port import PaymentFacts, Told
from bursar.providers.recurring import SubscriptionFact, SubscriptionNews


class FactsMissing(Exception):
    """An effect needs what no message has told yet: roll back, fetch, and settle again."""

    def __init__(
        self,
        session_id: str | None = None,
        payment_intent_id: str | None = None,
        reference: str | None = None,
        *,
        news: SubscriptionNews | None = None,
    ) -> None:
        super().__init__(f"facts of {reference or payment_intent_id or news} are missing")
        self.session_id = session_id
        self.payment_intent_id = payment_intent_id
        self.reference = reference
        self.news = news


@dataclass(frozen=True, slots=True)
class Settled:
    """The payments that facts touched, and how much money among the facts belongs to none."""

    payment_ids: list[int]
    stray: int
    subscriptions: int = 0


async def settle(
    conn: Connection,
    told: Sequence[Told],
    *,
    at: datetime,
    fetched: bool = False,
    rules: Rules = USUAL,
    owner: Owner | None = None,
) -> Settled:
    """Merge what was told and post its effects. `at` is the business time, `owner` whose a
    subscription is that has none.

    Raises FactsMissing, unless `fetched` says that the provider was asked and told no more: then
    what is missing is a mismatch.
    """
    recurring = await subscriptions.merge.merge(
        conn, [fact for fact in told if isinstance(fact, SubscriptionFact)], at=at, owner=owner
    )
    facts = [fact for fact in told if isinstance(fact, PaymentFacts)] + recurring.facts
    merged = await merging.merge(conn, facts)
    if not fetched:
        _ask_for_missing(merged, facts)
    strays = _strays(merged, recurring)
    if strays and await strangers.adopt(conn, strays, at=at):
        merged = await merging.merge(conn, facts)
        strays = _strays(merged, recurring)
    # What invoices brought is posted first: a refund told of in the same breath takes it back.
    await _follow(conn, recurring, at=at, rules=rules)
    await _apply(conn, merged, at=at, rules=rules)
    await strangers.close_cases(conn, merged.rows, at=at)
    await strangers.wait(conn, strays, at=at)
    failpoints.reach("work.after_effect")
    return Settled([row.id for row in merged.rows], len(strays), len(recurring.read))


def _strays(merged: Merged, recurring: subscriptions.merge.Merged) -> list[strangers.Thing]:
    """Money that is nobody's; that of a subscription which is nobody's waits with it."""
    waiting = {
        invoice.payment_intent_id
        for fact in recurring.strays
        for invoice in fact.invoices
        if invoice.payment_intent_id
    }
    found = strangers.things(merged.unmatched)
    return [thing for thing in found if thing.first("payment_intent_id") not in waiting]


async def _follow(
    conn: Connection, recurring: subscriptions.merge.Merged, *, at: datetime, rules: Rules
) -> None:
    """Post what follows from subscriptions, once their payments stand."""
    if not recurring.read and not recurring.strays:
        return
    await subscriptions.follow.follow(conn, recurring.read, at=at, rules=rules)
    await subscriptions.guard.watch(conn, recurring.read, at=at, rules=rules)
    await subscriptions.strays.close_cases(conn, recurring.read, at=at)
    await subscriptions.strays.wait(conn, recurring.strays, at=at)
    events_told = [event for one in recurring.read for event in subscriptions.news.tell(one, rules)]
    await letters.tell(conn, events_told, at=at)


async def refresh(
    conn: Connection,
    customer_id: int,
    payment_id: int,
    *,
    at: datetime,
    rules: Rules = USUAL,
) -> None:
    """Post what a payment's own rows ask for, when we changed them and no message did."""
    merged = await merging.lock(conn, customer_id, payment_id)
    await _apply(conn, merged, at=at, rules=rules)


async def _apply(conn: Connection, merged: Merged, *, at: datetime, rules: Rules) -> None:
    """Judge the merged rows, write them back and post all that follows from them."""
    granted = await credits.granted(conn, merged.rows)
    judged = [_judged(row, granted=bool(granted.get(row.id))) for row in merged.rows]
    taken = [await _reversed(conn, merged, row, at=at) for row in judged]
    rows = [sums.row for sums in taken]
    # What a dispute took is gone for the rights that were bought, as by a refund.
    kept = [replace(sums.row, refunded_minor=sums.settled_minor) for sums in taken]
    for row in rows:
        await payments.save(conn, row)
    await credits.grant(conn, rows, granted, at=at)
    await credits.take_back(conn, taken, at=at, of_spent=rules.of_spent)
    await pack_rights.follow(conn, kept, at=at)
    await plan_terms.follow(conn, kept, at=at)
    await authorizations.follow(conn, merged.before, rows, at=at)
    for reference in (reference for sums in taken for reference in sums.waiting):
        due_at = at + reversals.LOOK_AGAIN
        await timers.schedule(conn, reversals.CHECK_TIMER, reference, due_at=due_at, at=at)
    for reference in (reference for sums in taken for reference in sums.contested):
        due_at = at + reversals.LOOK_AT_DISPUTE
        await timers.schedule(conn, reversals.DISPUTE_TIMER, reference, due_at=due_at, at=at)
    openings = [case for row in rows for case in _cases(row)]
    openings += [_overdrawn(sums) for sums in taken if sums.excess_minor]
    await cases.open_cases(conn, openings, at=at)
    await letters.tell(conn, events.of_payments(merged.before, taken), at=at)
    await _look_at_discounts(conn, merged, rows, at=at)


async def _look_at_discounts(
    conn: Connection, merged: Merged, rows: Sequence[Row], *, at: datetime
) -> None:
    """Have the coupons read anew of which a use is complete: what is left of them is shown."""
    for before, row in zip(merged.before, rows, strict=True):
        if before.state != "completed" and row.state == "completed" and row.totals:
            await mirror.read_used(conn, row.provider, row.totals.discounts, at=at)


async def _reversed(conn: Connection, merged: Merged, row: Row, *, at: datetime) -> Sums:
    refunds, disputes = merged.refunds.get(row.id, []), merged.disputes.get(row.id, [])
    return await reversals.merge(conn, row, refunds, disputes, at=at)


def _ask_for_missing(merged: Merged, facts: Sequence[PaymentFacts]) -> None:
    """Raise FactsMissing when something that an effect needs was not told yet."""
    for row in merged.rows:
        if lacks_facts(row):
            raise FactsMissing(row.session_id, row.payment_intent_id, row.reference)
    for row, fact in merged.unbound:
        raise FactsMissing(row.session_id, fact.payment_intent_id, row.reference)
    for fact in facts:
        # A refund or a dispute may come before anything else is known of its payment.
        alone = fact in merged.unmatched and (fact.refunds or fact.disputes)
        if fact.incomplete or alone:
            raise FactsMissing(fact.session_id, fact.payment_intent_id, fact.reference)
        if fact in merged.unmatched and strangers.money(fact):
            # Whose it is, and what it bought, the provider's own answer tells.
            raise FactsMissing(fact.session_id, fact.payment_intent_id, None)


def _overdrawn(sums: Sums) -> cases.Opening:
    row = sums.row
    return cases.Opening(
        kind="excess",
        reference=f"refunds:{row.id}",
        customer_id=row.customer_id,
        payment_id=row.id,
        amount_minor=sums.excess_minor,
        currency=row.currency,
        summary=f"{format_money(sums.excess_minor, row.currency)} more went back than was taken.",
        detail={"facts": dict(row.facts)},
    )


def _judged(row: Row, *, granted: bool) -> Row:
    """The row with its verdict, reckoned anew from all that is known: is what was paid what was
    asked? What was granted stays granted; a later contradiction is a case for a person."""
    if row.state != "completed":
        return row
    return replace(row, mismatch=None if granted else mismatch(row))


def _cases(row: Row) -> list[cases.Opening]:
    found: list[cases.Opening] = []
    # What went back whole was never anybody's: nothing is left for a person to decide.
    went_back = 0 < row.captured_minor <= row.refunded_minor
    if row.state == "completed" and not went_back and (fault := mismatch(row)):
        given = "No credits given." if row.mismatch else "Its credits had been given before."
        found.append(_case(row, "mismatch", f"was paid, but not as asked: {fault}. {given}"))
    if excess := excess_minor(row):
        found.append(_case(row, "excess", f"was taken, {excess} more than the order came to."))
    if passed_unreviewed(row):
        what = (
            "was all there was to pay for an order that is to be reviewed, so no money was held "
            "and the order is complete. Review it before anything is sent."
        )
        found.append(_case(row, "review", what))
    return found


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
