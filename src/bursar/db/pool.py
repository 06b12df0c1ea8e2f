"""The pool of connections and the two ways to use one: in a transaction, or statement by statement.

Owns opening, lending and retrying. It never holds a query, and nobody else commits: functions
that take `conn` run in the transaction of whoever called `transaction` or `run` here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import asyncpg

from bursar import errors
from bursar.db.connections import (
    APPLICATION_NAME,
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    check_server,
    connecting,
    using,
)

if TYPE_CHECKING:
    from types import TracebackType

    Pool = asyncpg.Pool[asyncpg.Record]

T = TypeVar("T")

STATEMENT_CACHE = 256
ACQUIRE_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 5.0

# A deadlock or a serialization failure undoes the whole transaction, so the whole of it is run
# again; with the pauses below six attempts take about a third of a second at most.
ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.01


class Database:
    """A pool of connections. Made by `open_pool`; safe to share between tasks of one loop."""

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool = pool
        self.url = url

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection without a transaction: each statement commits by itself.

        Nothing may be left on the session (SET, LISTEN, temporary tables, locks): it is not
        reset when it comes back, which spares a round trip. Use `set local` in a transaction.
        Raises errors.DatabaseUnavailable when none comes free in time or the server is away.
        """
        with connecting(self.url):
            conn = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS)
        try:
            with using(conn):
                yield conn
        finally:
            await self._pool.release(conn)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection in a READ COMMITTED transaction: commit at the end, undo on an error.

        Raises errors.DatabaseUnavailable as `connection` does; a deadlock or a serialization
        failure comes out as the driver's error, for `run` is what repeats those.
        """
        async with self.connection() as conn, conn.transaction(isolation="read_committed"):
            yield conn

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again from its start after 40001 or 40P01.

        `work` may run several times, so it has no effect outside of the database: no call over
        the network, nothing appended to a list of the caller. Returns what `work` returned.
        Raises errors.Unavailable when every attempt met with contention.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                # Jitter keeps two transactions that collided from colliding in step.
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                async with self.transaction() as conn:
                    return await work(conn)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
                last = error
        raise errors.Unavailable(
            f"The transaction met with contention {ATTEMPTS} times ({last}); try again."
        ) from last

    async def close(self) -> None:
        """Close the pool: wait a few seconds for lent connections, then cut them."""
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


async def _keep(conn: object) -> None:
    """Reset nothing: our code leaves no state on a session."""


async def open_pool(
    url: str, *, min_size: int = 1, max_size: int = 10, statement_cache: int = STATEMENT_CACHE
) -> Database:
    """Connect to the server at `url` and check that Bursar can work there.

    Sizes are numbers of connections; `statement_cache` a number of prepared statements for each
    connection, 0 behind PgBouncer in transaction mode.
    Raises errors.Misconfigured (credentials, an old or read-only server) and
    errors.DatabaseUnavailable (no answer).
    """
    with connecting(url):
        pool = await asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_SECONDS,
            statement_cache_size=statement_cache,
            reset=_keep,
            server_settings={"application_name": APPLICATION_NAME},
        )
    database = Database(pool, url)
    try:
        async with database.connection() as conn:
            await check_server(conn)
    except BaseException:
        await database.close()
        raise
    return database
