"""Decisions about orders under review: to take the money that is held, or to let it go.

Owns table order_decisions. A decision is stored before the provider is called, one at a time for
each payment; it is pending, or unknown once an answer was lost, until it is done or refused. Who
may decide, and what the provider made of it, is known to captures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from bursar.db.connections import Connection

Kind = Literal["capture", "cancel"]
State = Literal["pending", "unknown", "done", "refused"]

# The unique index on open decisions lets one of two at once through; the other adds nothing.
BEGIN = """
insert into order_decisions (customer_id, payment_id, kind, reference, amount_minor, reason,
    requested_by, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (customer_id, payment_id) where state in ('pending', 'unknown') do nothing
returning reference
"""

FIELDS = """d.customer_id, d.id, d.payment_id, d.kind, d.reference, d.amount_minor, d.reason,
    d.state, d.requested_by, d.created_at, d.closed_at"""

FIND = f"select {FIELDS} from order_decisions d where d.reference = $1"  # noqa: S608 - a constant

LATEST = f"""
select distinct on (d.customer_id, d.payment_id) {FIELDS}
from unnest($1::bigint[], $2::bigint[]) as t (customer_id, payment_id)
join order_decisions d using (customer_id, payment_id)
order by d.customer_id, d.payment_id, d.id desc
"""  # noqa: S608 - likewise

LIST = f"""
select {FIELDS} from order_decisions d where d.customer_id = $1 and d.payment_id = $2 order by d.id
"""  # noqa: S608 - likewise

CLOSE = """
update order_decisions set state = $3, closed_at = $4
where customer_id = $1 and id = $2 and state in ('pending', 'unknown')
"""

LOSE = """
update order_decisions set state = 'unknown'
where customer_id = $1 and id = $2 and state = 'pending'
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided. `amount_minor` is what to take, None for a cancellation."""

    customer_id: int
    id: int
    payment_id: int
    kind: Kind
    reference: str
    amount_minor: int | None
    reason: str | None
    state: State
    requested_by: str
    created_at: datetime
    closed_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether the provider has not said yet what became of it."""
        return self.state in ("pending", "unknown")


async def begin(
    conn: Connection,
    *,
    customer_id: int,
    payment_id: int,
    kind: Kind,
    amount_minor: int | None,
    reason: str | None,
    requested_by: str,
    at: datetime,
) -> str | None:
    """Store a decision; returns its reference, None while another one is open."""
    reference = await conn.fetchval(
        BEGIN, customer_id, payment_id, kind, uuid4(), amount_minor, reason, requested_by, at
    )
    return None if reference is None else str(reference)


async def find_by_reference(conn: Connection, reference: str) -> Decision | None:
    """The decision under our own reference."""
    row = await conn.fetchrow(FIND, UUID(reference))
    return _decision(dict(row)) if row else None


async def list_for_payment(conn: Connection, customer_id: int, payment_id: int) -> list[Decision]:
    """All decisions about a payment, the oldest first."""
    return [_decision(dict(row)) for row in await conn.fetch(LIST, customer_id, payment_id)]


async def latest(
    conn: Connection, customer_ids: Sequence[int], payment_ids: Sequence[int]
) -> dict[int, Decision]:
    """The newest decision about each payment, by payment id."""
    rows = await conn.fetch(LATEST, list(customer_ids), list(payment_ids))
    return {row["payment_id"]: _decision(dict(row)) for row in rows}


async def close(
    conn: Connection, decision: Decision, state: Literal["done", "refused"], *, at: datetime
) -> None:
    """Store what became of a decision; one that is closed stays as it is."""
    await conn.execute(CLOSE, decision.customer_id, decision.id, state, at)


async def lose(conn: Connection, decision: Decision) -> None:
    """Store that the provider's answer was lost."""
    await conn.execute(LOSE, decision.customer_id, decision.id)


def _decision(fields: dict[str, object]) -> Decision:
    fields["reference"] = str(fields["reference"])
    return Decision(**fields)  # type: ignore[arg-type]
