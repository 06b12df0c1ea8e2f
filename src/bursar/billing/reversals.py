"""Reversals: refunds (and, later, disputes) of payments, whoever asked for them.

Owns the table of reversals. A reversal is pending, then settled or released; a later failure
releases what was settled. Like payments they are merged, never overwritten: the state furthest
along stands, whatever came when. What they do to credits is reckoned from the sums here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from bursar.billing.payment_facts import Row, Sums
from bursar.db.connections import Connection
from bursar.providers.port import RefundFact, ReversalState

CHECK_TIMER = "refund.check"
LOOK_AGAIN = timedelta(hours=6)
"""How long a refund may be pending before the provider is asked how it stands."""

# A refund that failed never comes back to life; one that settled may still fail.
RANK: dict[ReversalState, int] = {"pending": 1, "settled": 2, "released": 3}

OF_PAYMENT = """
select id, payment_id, kind, reference, provider_ref, amount_minor, state, steps, reason,
    created_at
from reversals where customer_id = $1 and payment_id = any ($2)
order by id
"""

BEGIN = """
insert into reversals (customer_id, payment_id, kind, reference, provider_ref, amount_minor, state,
    state_at, reason, requested_by, created_at)
values ($1, $2, 'refund', $3, $4, $5, $6, $7, $8, $9, $10)
returning id
"""

MOVE = """
update reversals
set state = $3, state_at = $4, provider_ref = coalesce(provider_ref, $5), steps = steps + 1
where customer_id = $1 and id = $2
"""

# What the provider has told of meanwhile is not undone by a refusal.
RELEASE = """
update reversals set state = 'released', state_at = $3, steps = steps + 1
where customer_id = $1 and id = $2 and state = 'pending' and provider_ref is null
"""

FIND = """
select r.customer_id, r.id, r.payment_id, r.kind, r.reference, r.provider_ref, r.amount_minor,
    r.state, r.steps, r.reason, r.created_at
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


async def merge(conn: Connection, row: Row, facts: Sequence[RefundFact], *, at: datetime) -> Sums:
    """Merge what was told of a payment's refunds. The caller holds the payment's lock."""
    known = await _of_payment(conn, row)
    for fact in facts:
        mine = next((r for r in known if fact.provider_ref == r.provider_ref), None) or next(
            (r for r in known if r.provider_ref is None and fact.reference == r.reference), None
        )
        if mine is None:
            known.append(await _learn(conn, row, fact, at))
        elif mine.provider_ref is None or RANK[fact.state] > RANK[mine.state]:
            # What was only our own guess, a refund that "never was" included, gives way.
            told = fact.state, fact.at, fact.provider_ref
            await conn.execute(MOVE, row.customer_id, mine.id, *told)
            known[known.index(mine)] = replace(
                mine,
                state=fact.state,
                provider_ref=mine.provider_ref or fact.provider_ref,
                steps=mine.steps + 1,
            )
    settled = sum(r.amount_minor for r in known if r.state == "settled")
    pending = sum(r.amount_minor for r in known if r.state == "pending")
    capped = min(settled, row.captured_minor)
    reserved = min(pending, row.captured_minor - capped)
    excess = settled - capped if row.captured_minor else 0
    summed = replace(row, refunded_minor=capped, refund_pending_minor=reserved)
    waiting = tuple(r.reference for r in known if r.state == "pending")
    return Sums(summed, sum(r.steps for r in known), excess, waiting)


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
    await conn.fetchval(
        BEGIN,
        customer_id,
        payment_id,
        reference,
        None,
        amount_minor,
        "pending",
        at,
        reason,
        requested_by,
        at,
    )
    return str(reference)


async def release(conn: Connection, customer_id: int, reversal: Reversal, *, at: datetime) -> None:
    """Store that the provider refused a refund: it never was."""
    await conn.execute(RELEASE, customer_id, reversal.id, at)


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
    reference = uuid4()
    reversal_id = await conn.fetchval(
        BEGIN,
        row.customer_id,
        row.id,
        reference,
        fact.provider_ref,
        fact.amount_minor,
        fact.state,
        fact.at,
        fact.reason,
        None,
        at,
    )
    return Reversal(
        reversal_id,
        row.id,
        "refund",
        str(reference),
        fact.provider_ref,
        fact.amount_minor,
        fact.state,
        1,
        fact.reason,
        at,
    )
