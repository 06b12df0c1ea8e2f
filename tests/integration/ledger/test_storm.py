"""A mixed storm over twenty customers: who collides is tried again, and no caller hears of it."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

from bursar.checks.audit import audit
from bursar.db import Connection, Database, open_pool
from bursar.ledger import entries, holds
from bursar.ledger.entries import Cause, GiveBack, Posting
from bursar.ledger.holds import Closing
from people import make_customer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CUSTOMERS, WORKERS, ROUNDS = 20, 8, 25


class Worker:
    """Does what a busy shop does, in transactions that touch several customers in any order."""

    def __init__(self, db: Database, number: int, customers: list[int]) -> None:
        self._db = db
        self._number = number
        self._customers = customers
        self._random = random.Random(number)  # noqa: S311
        self._count = 0
        self._uses: list[tuple[int, int]] = []
        self._holds: list[tuple[int, int]] = []

    async def run(self) -> None:
        for _ in range(ROUNDS):
            act = self._random.choice([self._batch, self._batch, self._both, self._undo])
            await act()

    def _cause(self, purpose: str) -> Cause:
        self._count += 1
        return Cause("storm", f"{self._number}:{self._count}", purpose)

    def _posting(self) -> Posting:
        kind = self._random.choice(["usage", "usage", "bonus", "hold", "refund"])
        gives = kind == "bonus"
        return Posting(
            customer_id=self._random.choice(self._customers),
            unit="credit",
            type=kind,  # type: ignore[arg-type]
            amount=self._random.randint(1, 20) * (1 if gives else -1),
            cause=self._cause(kind),
            pool="bonus" if gives else "purchased",
            expires_at=NOW + timedelta(days=1) if kind in ("bonus", "hold") else None,
        )

    async def _batch(self) -> None:
        postings = [self._posting() for _ in range(self._random.randint(1, 6))]

        async def work(conn: Connection) -> list[entries.Posted]:
            return await entries.post(conn, postings, at=NOW)

        self._remember(postings, await self._db.run(work))

    async def _both(self) -> None:
        """Two calls in one transaction lock in their own order: here deadlocks are made."""
        first, second = [self._posting()], [self._posting()]

        async def work(conn: Connection) -> list[entries.Posted]:
            posted = await entries.post(conn, first, at=NOW)
            await asyncio.sleep(0.005)
            return [*posted, *await entries.post(conn, second, at=NOW)]

        self._remember([*first, *second], await self._db.run(work))

    def _remember(self, postings: list[Posting], posted: list[entries.Posted]) -> None:
        for posting, answer in zip(postings, posted, strict=True):
            if answer.outcome == "posted" and answer.posting_id is not None:
                known = {"usage": self._uses, "hold": self._holds}.get(posting.type, [])
                known.append((posting.customer_id, answer.posting_id))

    async def _undo(self) -> None:
        returns = [self._uses.pop() for _ in range(min(2, len(self._uses)))]
        closings = [self._holds.pop() for _ in range(min(2, len(self._holds)))]
        causes = [self._cause("back") for _ in returns]

        async def work(conn: Connection) -> None:
            wanted = [
                GiveBack(customer_id=customer, posting_id=use, amount=None, cause=cause)
                for (customer, use), cause in zip(returns, causes, strict=True)
            ]
            await entries.give_back(conn, wanted, at=NOW)
            closed = [Closing(customer_id=customer, hold_id=hold) for customer, hold in closings]
            await holds.close(conn, closed, at=NOW)

        await self._db.run(work)


async def test_no_deadlock_of_a_mixed_storm_reaches_a_caller(database_url: str) -> None:
    async with await open_pool(database_url, max_size=1) as db, db.connection() as conn:
        name = await conn.fetchval("select current_database()")
        await conn.execute(f"alter database {name} set deadlock_timeout = '20ms'")
    async with await open_pool(database_url, max_size=WORKERS) as db:
        customers = [await make_customer(db, f"user{number}") for number in range(CUSTOMERS)]
        await asyncio.gather(*(Worker(db, number, customers).run() for number in range(WORKERS)))
        async with db.connection() as conn:
            assert await audit(conn) == []
    await asyncio.sleep(0.2)
    async with await open_pool(database_url, max_size=1) as db, db.connection() as conn:
        # The storm was one: the server had to break deadlocks.
        met = await conn.fetchval(
            "select deadlocks from pg_stat_database where datname = current_database()"
        )
    assert met > 0
