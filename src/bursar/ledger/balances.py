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

ENDING = """
select unit, pool, sum(balance)::bigint as amount, expires_at as ends_at
from ledger_accounts
where customer_id = $1 and pool in ('plan', 'bonus', 'purchased') and balance > 0
    and expires_at > $2
group by unit, pool, expires_at
order by expires_at, unit, pool
limit $3
"""

END = """
select expires_at from ledger_accounts
where customer_id = $1 and unit = $2 and pool = $3 and source = $4
"""

UNITS_HELD = "select distinct unit from ledger_accounts where customer_id = $1 order by unit"

POSTING = """
select id, unit, type, amount, balance_after, payment_id, description, created_at
from ledger_postings where customer_id = $1 and id = $2
"""

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


@dataclass(frozen=True, slots=True)
class Ending:
    """Credits of one pool that end at the same time: `amount` smallest parts of `unit`."""

    unit: str
    pool: str
    amount: int
    ends_at: datetime


async def balance(conn: Connection, customer_id: int, unit: str, *, at: datetime) -> Balance:
    """The balance of `customer_id` in `unit` at the business time `at`."""
    row = await conn.fetchrow(BALANCE, customer_id, unit, at)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    pools = {pool: int(row[pool]) for pool in POOLS}
    return Balance(sum(pools.values()), row["held"], row["owed"], pools)


async def list_units(conn: Connection, customer_id: int) -> list[str]:
    """The units in which a customer has, or had, anything."""
    return [row["unit"] for row in await conn.fetch(UNITS_HELD, customer_id)]


async def list_ending(
    conn: Connection, customer_id: int, *, at: datetime, limit: int
) -> list[Ending]:
    """What a customer can spend at `at` and will end some time, the soonest first."""
    rows = await conn.fetch(ENDING, customer_id, at, limit)
    return [Ending(**dict(row)) for row in rows]


async def find_end(
    conn: Connection, customer_id: int, unit: str, pool: str, source: str
) -> datetime | None:
    """When an account ends; None when there is none, or it never ends."""
    found: datetime | None = await conn.fetchval(END, customer_id, unit, pool, source)
    return found


async def get_posting(conn: Connection, customer_id: int, posting_id: int) -> PostingRow:
    """A posting that is known to be there. Raises LookupError."""
    row = await conn.fetchrow(POSTING, customer_id, posting_id)
    if row is None:
        raise LookupError(f"customer {customer_id} has no posting {posting_id}")
    return PostingRow(**dict(row))


async def list_postings(
    conn: Connection, customer_id: int, *, unit: str | None, before: int | None, limit: int
) -> list[PostingRow]:
    """Postings newest first, from the one below id `before` on."""
    rows = await conn.fetch(POSTINGS, customer_id, unit, before, limit)
    return [PostingRow(**dict(row)) for row in rows]
