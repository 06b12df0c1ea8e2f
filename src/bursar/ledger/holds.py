"""Holds: credits reserved for work whose cost is known only afterwards. Reads them, and owns the
call of `ledger_close_holds`; one is opened by a posting of type `hold` (entries.post), whose id it
bears and whose entries are its legs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bursar.db.connections import Connection
from bursar.ledger.entries import Cause

HoldState = Literal["held", "settled", "released", "lapsed"]
Outcome = Literal["posted", "repeated", "reused", "refused", "closed", "unknown"]

CLOSE = """
select ordinal, outcome, posting_id, balance, captured, returned
from ledger_close_holds($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
order by ordinal
"""

FIND = """
select h.customer_id, h.id, h.unit, h.amount, h.captured, h.state, p.description, h.expires_at,
    h.created_at, h.closed_at
from holds h join ledger_postings p on p.customer_id = h.customer_id and p.id = h.id
where h.customer_id = $1 and h.id = $2
"""


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation of `amount` smallest parts of `unit`, of which `captured` were used."""

    customer_id: int
    id: int
    unit: str
    amount: int
    captured: int
    state: HoldState
    description: str | None
    expires_at: datetime
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A hold to close: `captured` of it was used (0: it is given back and becomes `state`).

    The cause of a use is the client's; what is given back has the hold itself as its cause.
    """

    customer_id: int
    hold_id: int
    captured: int = 0
    state: Literal["released", "lapsed"] = "released"
    cause: Cause | None = None
    request_hash: bytes | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of it; `balance` is the spendable balance after it.

    `posting_id` is the use that was booked, or the release. When it was refused or closed before,
    `returned` is what it reserves or reserved.
    """

    outcome: Outcome
    posting_id: int | None
    balance: int | None
    captured: int | None
    returned: int | None


async def find_hold(conn: Connection, customer_id: int, hold_id: int) -> Hold | None:
    """A hold of the customer's."""
    row = await conn.fetchrow(FIND, customer_id, hold_id)
    return Hold(**dict(row)) if row else None


async def close(conn: Connection, closings: Sequence[Closing], *, at: datetime) -> list[Closed]:
    """Close holds, each once; answers come in the order given, a refused one leaves the others.

    `at` is the business time.
    """
    if not closings:
        return []
    causes = [c.cause or Cause("hold", f"{c.customer_id}:{c.hold_id}", "release") for c in closings]
    for closing in closings:
        if (closing.captured > 0) != (closing.cause is not None):
            raise ValueError("a use of a hold has a cause of its own; giving it back has none")
    columns: list[list[object]] = [
        [c.customer_id for c in closings],
        [c.hold_id for c in closings],
        [c.captured for c in closings],
        [c.state for c in closings],
        [cause.kind for cause in causes],
        [cause.id for cause in causes],
        [cause.purpose for cause in causes],
        [c.request_hash for c in closings],
        [c.description for c in closings],
    ]
    rows = await conn.fetch(CLOSE, at, *columns)
    return [
        Closed(r["outcome"], r["posting_id"], r["balance"], r["captured"], r["returned"])
        for r in rows
    ]
