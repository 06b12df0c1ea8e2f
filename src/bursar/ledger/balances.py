"""Balances and postings as they are read. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bursar.db.connections import Connection

POOLS = ("plan", "bonus", "purchased")

BALANCE = """
select
    coalesce(sum(balance) filter (where pool = 'plan'), 0)::bigint as plan,
    coalesce(sum(balance) filter (where pool = 'bonus'), 0)::bigint as bonus,
    coalesce(sum(balance) filter (where pool = 'purchased'), 0)::bigint as purchased,
    coalesce(sum(balance) filter (where pool = 'held'), 0)::bigint as held,
    coalesce(-sum(balance) filter (where pool = 'debt'), 0)::bigint as owed
from ledger_accounts
where customer_id = $1 and unit = $2 and (expires_at is null or expires_at > $3)
"""

UNITS_HELD = "select distinct unit from ledger_accounts where customer_id = $1 order by unit"

POSTINGS = """
select id, unit, type, amount, balance_after, payment_id, description, created_at
from ledger_postings
where customer_id = $1 and ($2::text is null or unit = $2) and ($3::bigint is null or id < $3)
order by id desc
limit $4
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a customer has in one unit. `spendable` holds no reserved and no expired credits."""

    spendable: int
    held: int
    owed: int
    pools: dict[str, int]


@dataclass(frozen=True, slots=True)
class PostingRow:
    """A posting as its owner reads it; `amount` is signed."""

    id: int
    unit: str
    type: str
    amount: int
    balance_after: int
    payment_id: int | None
    description: str | None
    created_at: datetime


async def balance(conn: Connection, customer_id: int, unit: str, *, at: datetime) -> Balance:
    """The balance of `customer_id` in `unit` at the business time `at`."""
    row = await conn.fetchrow(BALANCE, customer_id, unit, at)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    pools = {pool: int(row[pool]) for pool in POOLS}
    return Balance(sum(pools.values()), row["held"], row["owed"], pools)


async def list_units(conn: Connection, customer_id: int) -> list[str]:
    """The units in which a customer has, or had, anything."""
    return [row["unit"] for row in await conn.fetch(UNITS_HELD, customer_id)]


async def list_postings(
    conn: Connection, customer_id: int, *, unit: str | None, before: int | None, limit: int
) -> list[PostingRow]:
    """Postings newest first, from the one below id `before` on."""
    rows = await conn.fetch(POSTINGS, customer_id, unit, before, limit)
    return [PostingRow(**dict(row)) for row in rows]
