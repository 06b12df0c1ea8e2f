"""Disputes as the people who answer them see them: by the time that is left. Reads alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from bursar import errors
from bursar.db.connections import Connection
from bursar.providers.after_sale import DisputeStatus
from bursar.providers.port import ReversalState

FIELDS = """r.id, r.customer_id, r.payment_id, p.user_id, p.provider, r.provider_ref,
    p.payment_intent_id, r.amount_minor, p.currency, r.state, r.status, r.inquiry, r.reason,
    r.due_at, r.evidence, r.submitted_at, r.created_at"""

# What waits for an answer comes first, the nearest end at the top; the rest by the latest word.
PLACE = """(r.state <> 'pending' or r.status <> 'needs_response'), case when r.state = 'pending'
    and r.status = 'needs_response' then coalesce(r.due_at, 'infinity') else 'infinity' end"""

LIST = f"""
with listed as (
    select {FIELDS}, row_number() over (order by {PLACE}, r.id desc) as place
    from reversals r join payments p on p.customer_id = r.customer_id and p.id = r.payment_id
    where r.kind = 'dispute' and ($1::boolean is null or (r.state = 'pending') = $1)
)
select * from listed
where $2::bigint is null or place > (select place from listed where id = $2)
order by place limit $3
"""  # noqa: S608 - the fields are a constant

GET = f"""
select {FIELDS} from reversals r
join payments p on p.customer_id = r.customer_id and p.id = r.payment_id
where r.kind = 'dispute' and r.id = $1
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A dispute, or a bank's inquiry, as it stands. Amounts in minor units of `currency`."""

    id: int
    customer_id: int
    payment_id: int
    user_id: str | None
    provider: str
    provider_ref: str
    payment_intent_id: str | None
    amount_minor: int
    currency: str
    state: ReversalState
    status: DisputeStatus
    inquiry: bool
    reason: str | None
    due_at: datetime | None
    evidence: Mapping[str, str]
    submitted_at: datetime | None
    created_at: datetime


async def list_disputes(
    conn: Connection, *, open_ones: bool | None = None, after: int | None = None, limit: int
) -> list[Dispute]:
    """Disputes by the time left to answer, from the one after id `after` on; then the others."""
    return [_dispute(dict(row)) for row in await conn.fetch(LIST, open_ones, after, limit)]


async def get_dispute(conn: Connection, dispute_id: int, *, lock: bool = False) -> Dispute:
    """One dispute; with `lock` it stands still until the transaction ends. Raises NotFound."""
    row = await conn.fetchrow(f"{GET} for update of r" if lock else GET, dispute_id)
    if row is None:
        raise errors.NotFound("There is no such dispute.")
    return _dispute(dict(row))


def _dispute(fields: dict[str, Any]) -> Dispute:
    fields.pop("place", None)
    return Dispute(**{**fields, "evidence": orjson.loads(fields["evidence"])})
