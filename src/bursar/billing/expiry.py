"""Credits that end: the timer that posts it, for every account with an end.

Owns the timer `credits.expire`. Whoever makes an account that ends schedules it here, in the same
transaction. Reading never waits for the timer: what has ended is skipped from that instant on, and
the posting only writes down what went. It never decides when something ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bursar import failpoints
from bursar.billing import customers
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.ledger import balances, entries
from bursar.ledger.entries import ALL_THERE_IS, Cause, Pool, Posting
from bursar.messages import timers
from bursar.providers.port import Provider

TIMER = "credits.expire"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of credits that end, by its place in the ledger."""

    customer_id: int
    unit: str
    pool: Pool
    source: str

    @property
    def reference(self) -> str:
        """Its name for the timer. The source comes last: it may hold any sign."""
        return f"{self.customer_id}:{self.unit}:{self.pool}:{self.source}"


def read_reference(reference: str) -> Account:
    """The account that a timer's reference names. Raises ValueError."""
    customer_id, unit, pool, source = reference.split(":", 3)
    if pool not in ("plan", "bonus"):
        raise ValueError(f"credits of the pool {pool!r} have no end")
    return Account(int(customer_id), unit, pool, source)  # type: ignore[arg-type]


async def schedule(conn: Connection, account: Account, *, ends_at: datetime, at: datetime) -> None:
    """Have the end of an account written down when it comes. A later end needs no other timer."""
    await timers.schedule(conn, TIMER, account.reference, due_at=ends_at, at=at)


async def end(conn: Connection, accounts: Sequence[Account], *, at: datetime) -> list[int]:
    """Write down the ends that have come by `at`; returns what ended of each, in smallest parts.

    Each end is written once, however often and by whomever it is asked for, and the answer stays
    the same. 0 for what has not ended, never ends, or was used up.
    """
    postings: dict[Account, Posting] = {}
    for account in dict.fromkeys(accounts):
        ends_at = await balances.find_end(
            conn, account.customer_id, account.unit, account.pool, account.source
        )
        if ends_at is not None and ends_at <= at:
            postings[account] = _posting(account, ends_at)
    posted = await entries.post(conn, list(postings.values()), at=at)
    ended = dict.fromkeys(accounts, 0)
    for account, answer in zip(postings, posted, strict=True):
        if answer.posting_id is not None:
            row = await balances.get_posting(conn, account.customer_id, answer.posting_id)
            ended[account] = -row.amount
    return [ended[account] for account in accounts]


def _posting(account: Account, ends_at: datetime) -> Posting:
    name = f"{account.reference}:{ends_at.astimezone(UTC).isoformat()}"
    return Posting(
        customer_id=account.customer_id,
        unit=account.unit,
        type="expiry",
        amount=-ALL_THERE_IS,
        pool=account.pool,
        source=account.source,
        cause=Cause("expiry", name, "expiry"),
    )


async def expire(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: write the end down, or return the new end when it has moved."""
    account, at = read_reference(reference), clock.now()

    async def work(conn: Connection) -> datetime | None:
        # Under the lock, so that no mover of ends comes between reading this one and the posting.
        await customers.lock(conn, account.customer_id)
        ends_at = await balances.find_end(
            conn, account.customer_id, account.unit, account.pool, account.source
        )
        if ends_at is not None and ends_at > at:
            return ends_at
        await end(conn, [account], at=at)
        failpoints.reach("credits.after_expiry")
        return None

    return await db.run(work)
