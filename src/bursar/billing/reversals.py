"""Reversals: refunds and disputes of payments, whoever began them. Owns the table of reversals.

A reversal is pending, then settled or released. Like payments they are merged, never overwritten:
the state furthest along stands, whatever came when. An inquiry is a dispute that only asks: it is
recorded, and counts for nothing. What they do to credits is reckoned from the sums here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import orjson

from bursar.billing.payment_facts import BEGINNING, DisputeNews, Row, Sums
from bursar.db.connections import Connection
from bursar.providers.after_sale import DisputeFact, DisputeStatus
from bursar.providers.port import RefundFact, ReversalState

CHECK_TIMER = "refund.check"
LOOK_AGAIN = timedelta(hours=6)
"""How long a refund may be pending before the provider is asked how it stands."""
DISPUTE_TIMER = "dispute.check"
LOOK_AT_DISPUTE = timedelta(days=1)
"""How often the provider is asked how an open dispute stands, should its messages be lost."""

# A refund that failed never comes back to life; one that settled may still fail.
RANK: dict[ReversalState, int] = {"pending": 1, "settled": 2, "released": 3}

# An inquiry may become a dispute and never the other way. Of what a bank decided its latest word
# counts: a lost dispute is won now and then after all.
DECIDED: tuple[str, ...] = ("closed", "prevented", "lost", "won")
ALONG = ("needs_response", "under_review")

OF_PAYMENT = """
select id, payment_id, kind, reference, provider_ref, amount_minor, state, steps, reason,
    created_at, state_at, status, inquiry, due_at
from reversals where customer_id = $1 and payment_id = any ($2)
order by id
"""

BEGIN = """
insert into reversals (customer_id, payment_id, kind, reference, provider_ref, amount_minor, state,
    state_at, reason, requested_by, created_at, status, inquiry, due_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
returning id
"""

MOVE = """
update reversals
set state = $3, state_at = $4, provider_ref = coalesce(provider_ref, $5), steps = steps + 1
where customer_id = $1 and id = $2
"""

MOVE_DISPUTE = """
update reversals
set state = $3, state_at = $4, steps = $5, amount_minor = $6, status = $7, inquiry = $8,
    due_at = $9, reason = $10
where customer_id = $1 and id = $2
"""

KEEP_EVIDENCE = """
update reversals set evidence = $3::jsonb, submitted_at = coalesce(submitted_at, $4)
where customer_id = $1 and id = $2
"""

# What the provider has told of meanwhile is not undone by a refusal.
RELEASE = """
update reversals set state = 'released', state_at = $3, steps = steps + 1
where customer_id = $1 and id = $2 and state = 'pending' and provider_ref is null
"""

# API versions before 2025-03-31 list what a capture of a part let go as a refund. It was made with
# the capture, so of those of that amount it is the first, and there is one.
LET_GO = "authorization_released"
DROP_RELEASED = f"""
update reversals set state = 'released', reason = '{LET_GO}', steps = steps + 1
where customer_id = $1 and id = (
    select id from reversals
    where customer_id = $1 and payment_id = $2 and kind = 'refund' and requested_by is null
        and amount_minor = $3 and state <> 'released'
    order by state_at, id limit 1)
and not exists (select from reversals
    where customer_id = $1 and payment_id = $2 and reason = '{LET_GO}')
returning id
"""  # noqa: S608 - a constant

FIND = """
select r.customer_id, r.id, r.payment_id, r.kind, r.reference, r.provider_ref, r.amount_minor,
    r.state, r.steps, r.reason, r.created_at, r.state_at, r.status, r.inquiry, r.due_at
from reversals r where r.reference = $1
"""


@dataclass(frozen=True, slots=True)
class Reversal:
    """Money that went back, or is about to."""

    id: int
    payment_id: int
    kind: str
    reference: str
    provider_ref: str | None
    amount_minor: int
    state: ReversalState
    steps: int
    """How often its state was told or changed; it only grows."""
    reason: str | None
    created_at: datetime
    state_at: datetime | None = None
    status: DisputeStatus | None = None
    """How a dispute stands, in more words than its state; None for a refund."""
    inquiry: bool = False
    due_at: datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether it moves anything: an inquiry only asks."""
        return not self.inquiry


async def merge(
    conn: Connection,
    row: Row,
    refunds: Sequence[RefundFact],
    disputes: Sequence[DisputeFact],
    *,
    at: datetime,
) -> Sums:
    """Merge what was told of a payment's reversals. The caller holds the payment's lock."""
    known = await _of_payment(conn, row)
    for fact in refunds:
        await _merge_refund(conn, row, known, fact, at)
    let_go = row.facts.get("released_minor")
    if let_go and await conn.fetchval(DROP_RELEASED, row.customer_id, row.id, let_go):
        known = await _of_payment(conn, row)
    news = [item for fact in disputes for item in await _merge_dispute(conn, row, known, fact, at)]
    return _summed(row, known, tuple(news))


async def _merge_refund(
    conn: Connection, row: Row, known: list[Reversal], fact: RefundFact, at: datetime
) -> None:
    told = [r for r in known if r.kind == "refund"]
    mine = next((r for r in told if fact.provider_ref == r.provider_ref), None) or next(
        (r for r in told if r.provider_ref is None and fact.reference == r.reference), None
    )
    if mine is None:
        known.append(await _learn(conn, row, fact, at))
    elif mine.provider_ref is None or RANK[fact.state] > RANK[mine.state]:
        # What was only our own guess, a refund that "never was" included, gives way.
        moved = fact.state, fact.at, fact.provider_ref
        await conn.execute(MOVE, row.customer_id, mine.id, *moved)
        known[known.index(mine)] = replace(
            mine,
            state=fact.state,
            provider_ref=mine.provider_ref or fact.provider_ref,
            steps=mine.steps + 1,
        )


async def _merge_dispute(
    conn: Connection, row: Row, known: list[Reversal], fact: DisputeFact, at: datetime
) -> list[DisputeNews]:
    mine = next(
        (r for r in known if r.kind == "dispute" and r.provider_ref == fact.provider_ref), None
    )
    if mine is None:
        learned = await _learn_dispute(conn, row, fact, at)
        known.append(learned)
        return _news(None, learned)
    if _order(fact) <= _order_of(mine):
        return []
    now = replace(
        mine,
        state=fact.state,
        state_at=fact.at,
        amount_minor=fact.amount_minor,
        status=fact.status,
        inquiry=fact.inquiry,
        due_at=fact.due_at,
        reason=fact.reason,
    )
    # Looked at again and found as it was, it has not moved on.
    if now != replace(mine, state_at=fact.at):
        now = replace(now, steps=mine.steps + 1)
    await conn.execute(
        MOVE_DISPUTE,
        row.customer_id,
        mine.id,
        now.state,
        now.state_at,
        now.steps,
        now.amount_minor,
        now.status,
        now.inquiry,
        now.due_at,
        now.reason,
    )
    known[known.index(mine)] = now
    return _news(mine, now)


def _along(status: str | None, *, inquiry: bool) -> int:
    """How far along a dispute is: an inquiry asks, hears, ends; a dispute the same after it."""
    step = ALONG.index(status) if status in ALONG else len(ALONG)
    return step if inquiry else len(ALONG) + 1 + step


def _order(fact: DisputeFact) -> tuple[int, datetime, int, int, int, datetime]:
    return (
        _along(fact.status, inquiry=fact.inquiry),
        fact.at,
        DECIDED.index(fact.status) if fact.status in DECIDED else 0,
        # Of one that was prevented the money may be told of in the same second.
        int(fact.state == "settled"),
        fact.amount_minor,
        fact.due_at or BEGINNING,
    )


def _order_of(known: Reversal) -> tuple[int, datetime, int, int, int, datetime]:
    return (
        _along(known.status, inquiry=known.inquiry),
        known.state_at or BEGINNING,
        DECIDED.index(known.status) if known.status in DECIDED else 0,
        int(known.state == "settled"),
        known.amount_minor,
        known.due_at or BEGINNING,
    )


def _news(was: Reversal | None, now: Reversal) -> list[DisputeNews]:
    """What to tell of a dispute: that it is there, that the bank's question became one, its end."""
    words: list[Literal["opened", "won", "lost"]] = []
    if was is None or (was.inquiry and not now.inquiry):
        words.append("opened")
    if now.counts and (was is None or was.status != now.status):
        if now.status == "won":
            words.append("won")
        elif now.state == "settled":
            words.append("lost")
    return [
        DisputeNews(
            word=word,
            id=now.id,
            provider_ref=now.provider_ref or "",
            amount_minor=now.amount_minor,
            status=str(now.status),
            inquiry=now.inquiry,
            reason=now.reason,
            due_at=now.due_at,
        )
        for word in words
    ]


def _summed(row: Row, known: Sequence[Reversal], news: tuple[DisputeNews, ...]) -> Sums:
    """What all reversals of a payment come to, none of it more than was captured."""

    def total(kind: str, *states: ReversalState) -> int:
        counted = (r for r in known if r.kind == kind and r.counts and r.state in states)
        return sum(r.amount_minor for r in counted)

    captured = row.captured_minor
    refunded, pending = total("refund", "settled"), total("refund", "pending")
    lost, open_disputes = total("dispute", "settled"), total("dispute", "pending")
    capped = min(refunded, captured)
    summed = replace(
        row,
        refunded_minor=capped,
        refund_pending_minor=min(pending, captured - capped),
        disputed_minor=min(lost + open_disputes, captured),
    )
    settled = refunded + lost
    return Sums(
        summed,
        sum(r.steps for r in known),
        max(0, settled - captured) if captured else 0,
        tuple(r.reference for r in known if r.kind == "refund" and r.state == "pending"),
        settled_minor=min(settled, captured),
        reserved_minor=min(settled + pending + open_disputes, captured),
        contested=tuple(r.reference for r in known if r.kind == "dispute" and r.state == "pending"),
        news=news,
    )


async def begin(
    conn: Connection,
    *,
    customer_id: int,
    payment_id: int,
    amount_minor: int,
    reason: str | None,
    requested_by: str,
    at: datetime,
) -> str:
    """Store a refund before the provider is asked for it; returns its reference."""
    reference = uuid4()
    told = None, amount_minor, "pending", at, reason, requested_by, at, None, False, None
    await conn.fetchval(BEGIN, customer_id, payment_id, "refund", reference, *told)
    return str(reference)


async def release(conn: Connection, customer_id: int, reversal: Reversal, *, at: datetime) -> None:
    """Store that the provider refused a refund: it never was."""
    await conn.execute(RELEASE, customer_id, reversal.id, at)


async def keep_evidence(
    conn: Connection,
    customer_id: int,
    dispute_id: int,
    evidence: Mapping[str, str],
    *,
    submitted_at: datetime | None,
) -> None:
    """Store what the provider has of a dispute's evidence, and since when the bank has it."""
    told = orjson.dumps(dict(evidence)).decode()
    await conn.execute(KEEP_EVIDENCE, customer_id, dispute_id, told, submitted_at)


async def find_by_reference(conn: Connection, reference: str) -> tuple[int, Reversal] | None:
    """The customer and the reversal under our own reference."""
    row = await conn.fetchrow(FIND, UUID(reference))
    if row is None:
        return None
    fields = dict(row)
    customer_id = fields.pop("customer_id")
    return customer_id, Reversal(**{**fields, "reference": str(fields["reference"])})


async def list_for_payments(
    conn: Connection, customer_id: int, payment_ids: Sequence[int]
) -> dict[int, list[Reversal]]:
    """The reversals of some payments of one customer, by payment id, the oldest first."""
    found: dict[int, list[Reversal]] = {}
    for row in await conn.fetch(OF_PAYMENT, customer_id, list(payment_ids)):
        fields = {**dict(row), "reference": str(row["reference"])}
        found.setdefault(row["payment_id"], []).append(Reversal(**fields))
    return found


async def _of_payment(conn: Connection, row: Row) -> list[Reversal]:
    return (await list_for_payments(conn, row.customer_id, [row.id])).get(row.id, [])


async def _learn(conn: Connection, row: Row, fact: RefundFact, at: datetime) -> Reversal:
    """A refund that somebody made at the provider."""
    reference, ref, amount = uuid4(), fact.provider_ref, fact.amount_minor
    told = ref, amount, fact.state, fact.at, fact.reason, None, at, None, False, None
    made = await conn.fetchval(BEGIN, row.customer_id, row.id, "refund", reference, *told)
    return Reversal(
        made, row.id, "refund", str(reference), ref, amount, fact.state, 1, fact.reason, at
    )


async def _learn_dispute(conn: Connection, row: Row, fact: DisputeFact, at: datetime) -> Reversal:
    """A dispute of which nothing was known."""
    reference, ref, amount = uuid4(), fact.provider_ref, fact.amount_minor
    more = fact.status, fact.inquiry, fact.due_at
    told = ref, amount, fact.state, fact.at, fact.reason, None, at, *more
    made = await conn.fetchval(BEGIN, row.customer_id, row.id, "dispute", reference, *told)
    return Reversal(
        made, row.id, "dispute", str(reference), ref, amount, fact.state, 1, fact.reason, at,
        fact.at, *more,
    )  # fmt: skip
