"""Postings to the ledger. Owns the calls of `ledger_post`, `ledger_give_back` and
`ledger_move_end`; the rules of locking are written there.

Takes a sequence: one request is a list of one. All postings of a database transaction go in one
call, so that customers are locked in one order and a deadlock can't be built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bursar.db.connections import Connection
from bursar.money import AMOUNT_MAX

PostingType = Literal[
    "purchase",
    "usage",
    "refund",
    "subscription",
    "bonus",
    "adjustment",
    "expiry",
    "hold",
    "release",
]
Pool = Literal["plan", "bonus", "purchased", "forgiven"]
Outcome = Literal["posted", "repeated", "reused", "refused", "owing"]

ALL_THERE_IS = AMOUNT_MAX
"""The amount of an expiry: whatever is left in the account."""

POST = """
select ordinal, outcome, posting_id, balance
from ledger_post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
order by ordinal
"""

GIVE_BACK = """
select ordinal, outcome, posting_id, balance, returnable
from ledger_give_back($1, $2, $3, $4, $5, $6, $7, $8, $9)
order by ordinal
"""

MOVE_END = """
select ordinal, ends_at from ledger_move_end($1, $2, $3, $4, $5, $6) order by ordinal
"""

POSTED_FOR_CAUSE = """
select coalesce(sum(p.amount), 0)::bigint
from ledger_causes c
join ledger_postings p on p.customer_id = c.customer_id and p.id = c.posting_id
where c.kind = $1 and c.cause_id = $2 and starts_with(c.purpose, $3)
"""

POSTED_FOR_PAYMENTS = """
select payment_id, sum(amount)::bigint as amount
from ledger_postings
where customer_id = any ($1) and payment_id = any ($2) and type = any ($3)
group by payment_id
"""


# The account of a plan that each payment filled last, what of it was there unused when it ended,
# and what others put in later. What went on into the next period did not end.
FILLED = """
select distinct on (own.payment_id) own.payment_id, a.source, a.expires_at,
    (select coalesce(-sum(x.amount), 0)::bigint from ledger_entries x
        join ledger_postings y on y.customer_id = x.customer_id and y.id = x.posting_id
        where x.account_id = a.id and y.type = 'expiry')
    - (select coalesce(sum(m.amount), 0)::bigint from ledger_causes c
        join ledger_postings m on m.customer_id = c.customer_id and m.id = c.posting_id
        where c.kind = 'allowance' and c.purpose = 'rollover'
            and c.cause_id = a.customer_id || ':' || a.unit || ':' || a.source) as ended,
    (select coalesce(sum(l.amount), 0)::bigint from ledger_entries f
        join ledger_postings l on l.customer_id = f.customer_id and l.id = f.posting_id
        where f.account_id = a.id and l.type = 'subscription' and l.id > own.last_id
            and l.payment_id is distinct from own.payment_id) as later
from (
    select p.payment_id, e.account_id, max(p.id) as last_id from ledger_postings p
    join ledger_entries e on e.customer_id = p.customer_id and e.posting_id = p.id
    where p.customer_id = any ($1) and p.payment_id = any ($2) and p.type = 'subscription'
    group by p.payment_id, e.account_id
) own
join ledger_accounts a on a.id = own.account_id and a.pool = 'plan'
order by own.payment_id, a.expires_at desc, a.id desc
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a posting is made; unique over the whole ledger."""

    kind: str
    id: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A movement to make. `amount` in the unit's smallest parts: above zero gives, below takes.

    What each type does is written in functions/post.sql. For a hold `expires_at` is when it lapses,
    else when the account that is made for the posting ends.
    """

    customer_id: int
    unit: str
    type: PostingType
    amount: int
    cause: Cause
    pool: Pool = "purchased"
    source: str = ""
    expires_at: datetime | None = None
    request_hash: bytes | None = None
    payment_id: int | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a posting; `balance` is the spendable balance after it, or now if refused."""

    outcome: Outcome
    posting_id: int | None
    balance: int


async def post(
    conn: Connection, postings: Sequence[Posting], *, at: datetime, refuse_owing: bool = False
) -> list[Posted]:
    """Post all of them, each at most once by its cause; answers come in the order given.

    `at` is the business time. A refused or repeated posting leaves the others standing. With
    `refuse_owing` nobody who owes can use or reserve: the outcome is `owing`.
    """
    if not postings:
        return []
    for posting in postings:
        if posting.amount == 0 or abs(posting.amount) > AMOUNT_MAX:
            raise ValueError(f"a posting of {posting.amount} is out of bounds")
        if posting.type == "usage" and posting.amount > 0:
            raise ValueError("a use takes: its amount is below zero")
    columns: list[list[object]] = [
        [p.customer_id for p in postings],
        [p.unit for p in postings],
        [p.type for p in postings],
        [p.amount for p in postings],
        [p.pool for p in postings],
        [p.source for p in postings],
        [p.expires_at for p in postings],
        [p.cause.kind for p in postings],
        [p.cause.id for p in postings],
        [p.cause.purpose for p in postings],
        [p.request_hash for p in postings],
        [p.payment_id for p in postings],
        [p.description for p in postings],
    ]
    rows = await conn.fetch(POST, at, refuse_owing, *columns)
    return [Posted(row["outcome"], row["posting_id"], row["balance"]) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """A use to give back: `amount` of it in smallest parts, or all that is left of it (None)."""

    customer_id: int
    posting_id: int
    amount: int | None
    cause: Cause
    request_hash: bytes | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What became of it; `unknown` when the customer has no such use.

    `returnable` is what was left of the use before, None where nobody had to look.
    """

    outcome: Outcome | Literal["unknown"]
    posting_id: int | None
    balance: int | None
    returnable: int | None


async def give_back(
    conn: Connection, wanted: Sequence[GiveBack], *, at: datetime
) -> list[GivenBack]:
    """Give uses back to the accounts they came from, each at most once by its cause.

    `at` is the business time. Answers come in the order given; a refused one leaves the others
    standing.
    """
    if not wanted:
        return []
    for one in wanted:
        if one.amount is not None and not 1 <= one.amount <= AMOUNT_MAX:
            raise ValueError(f"giving back {one.amount} is out of bounds")
    columns: list[list[object]] = [
        [w.customer_id for w in wanted],
        [w.posting_id for w in wanted],
        [w.amount for w in wanted],
        [w.cause.kind for w in wanted],
        [w.cause.id for w in wanted],
        [w.cause.purpose for w in wanted],
        [w.request_hash for w in wanted],
        [w.description for w in wanted],
    ]
    rows = await conn.fetch(GIVE_BACK, at, *columns)
    return [
        GivenBack(row["outcome"], row["posting_id"], row["balance"], row["returnable"])
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class MoveEnd:
    """An account of credits that end, and when it is to end instead."""

    customer_id: int
    unit: str
    pool: Pool
    source: str
    ends_at: datetime


async def move_end(
    conn: Connection, moves: Sequence[MoveEnd], *, at: datetime
) -> list[datetime | None]:
    """Move the ends of dated accounts; returns the ends that count from now on, in order.

    `at` is the business time. What has ended stays so, and nothing ends in the past; None where
    the customer has no such account, or it never ends.
    """
    if not moves:
        return []
    columns: list[list[object]] = [
        [m.customer_id for m in moves],
        [m.unit for m in moves],
        [m.pool for m in moves],
        [m.source for m in moves],
        [m.ends_at for m in moves],
    ]
    rows = await conn.fetch(MOVE_END, at, *columns)
    return [row["ends_at"] for row in rows]


async def posted_for_cause(conn: Connection, kind: str, cause_id: str, *, purpose: str) -> int:
    """The sum of what was posted under a cause whose purpose begins with `purpose`."""
    return int(await conn.fetchval(POSTED_FOR_CAUSE, kind, cause_id, purpose))


@dataclass(frozen=True, slots=True)
class Filled:
    """The account of a plan that a payment filled last. `ended` is what was there unused when it
    ended, of all that was put in, and `later` what others put in after this payment."""

    source: str
    expires_at: datetime | None
    ended: int
    later: int

    def ended_of(self, given: int) -> int:
        """What ended unused of so many that the payment brought: the last put in ended first."""
        return max(0, min(given, self.ended - self.later))


async def filled_by_payments(
    conn: Connection, customer_ids: Sequence[int], payment_ids: Sequence[int]
) -> dict[int, Filled]:
    """The accounts of plans that payments filled, by payment id."""
    rows = await conn.fetch(FILLED, list(customer_ids), list(payment_ids))
    return {
        row["payment_id"]: Filled(row["source"], row["expires_at"], row["ended"], row["later"])
        for row in rows
    }


async def posted_for_payments(
    conn: Connection,
    customer_ids: Sequence[int],
    payment_ids: Sequence[int],
    *,
    types: Sequence[PostingType],
) -> dict[int, int]:
    """The sum of what was posted for each payment under `types`, by payment id."""
    rows = await conn.fetch(POSTED_FOR_PAYMENTS, list(customer_ids), list(payment_ids), list(types))
    return {row["payment_id"]: row["amount"] for row in rows}
