"""A small cache in this process, dropped by tag when any process changes what a tag stands for.

Owns the channel on which changes are told and the connection that hears them. A change is told in
its own transaction (`announce`), so it is heard once it is committed and never without. What is
heard is a hint, the database the truth: nothing is answered from memory while the connection is
not known to hear, nor past a few seconds; behind a pooler that keeps no session (PgBouncer in
transaction mode) that means never. It never keeps what a later change may have overtaken.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import uuid4

import asyncpg
import structlog

from bursar import errors
from bursar.db.connections import Connection, PlainConnection, connect

T = TypeVar("T")

log = structlog.get_logger("bursar.db")

CHANNEL = "bursar_tags"
PROOF = "heard:"
"""How the words begin that a cache says to itself, to know that it hears."""

SECONDS = 3.0
"""How long a value is believed at most, whatever was heard."""
CAPACITY = 10_000
PROOF_SECONDS = 3.0
"""How often the connection has to prove that it hears, and how long it has for it."""
PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 5.0
CLOSE_SECONDS = 2.0

ANNOUNCE = "select pg_notify($1, tag) from unnest($2::text[]) as tag"


async def announce(conn: Connection, tags: Iterable[str]) -> None:
    """Tell every process, once the caller's transaction commits, that these tags changed."""
    told = sorted(set(tags))
    if told:
        await conn.execute(ANNOUNCE, CHANNEL, told)


@dataclass(frozen=True, slots=True)
class Kept:
    """A value, and when it ends by the machine's monotonic clock."""

    value: object
    until: float


class Loading:
    """A load that is under way; `overtaken` once its tag changed."""

    __slots__ = ("overtaken",)

    def __init__(self) -> None:
        self.overtaken = False


class TagCache:
    """Values by tag and key. The connection is made at the first question; `close` ends it.

    It belongs to one event loop. `now` is seconds of a clock that only grows.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = SECONDS,
        capacity: int = CAPACITY,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._seconds = seconds
        self._capacity = capacity
        self._now = now
        self._kept: dict[tuple[str, str], Kept] = {}
        self._keys: dict[str, set[str]] = {}
        self._loading: dict[str, set[Loading]] = {}
        self._hearing = asyncio.Event()
        self._proof = ""
        self._proved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def hearing(self) -> bool:
        """Whether changes are heard now; if not, nothing is kept and nothing remembered."""
        return self._hearing.is_set()

    async def wait_until_hearing(self) -> None:
        """Return once changes are heard; it may be over again by the next moment."""
        self._start()
        await self._hearing.wait()

    async def get(self, tag: str, key: str, load: Callable[[], Awaitable[T]]) -> T:
        """What is kept under `tag` and `key`, else what `load` returns, which is then kept.

        Raises what `load` raises, and then keeps nothing.
        """
        self._start()
        asked_at = self._now()
        kept = self._kept.get((tag, key))
        if kept is not None and kept.until > asked_at:
            return cast("T", kept.value)
        loading = Loading()
        loading.overtaken = not self.hearing
        self._loading.setdefault(tag, set()).add(loading)
        try:
            value = await load()
        finally:
            self._loading[tag].discard(loading)
            if not self._loading[tag]:
                del self._loading[tag]
        if not loading.overtaken:
            # The age counts from before the load: what changed during it is not known to it.
            self._keep(tag, key, Kept(value, asked_at + self._seconds))
        return value

    def drop(self, tag: str) -> None:
        """Forget what is kept under a tag, and keep nothing that is being loaded for it."""
        for loading in self._loading.get(tag, ()):
            loading.overtaken = True
        for key in self._keys.pop(tag, ()):
            del self._kept[tag, key]

    async def close(self) -> None:
        """End the connection and forget everything."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._forget()

    def __len__(self) -> int:
        return len(self._kept)

    def _keep(self, tag: str, key: str, kept: Kept) -> None:
        self._remove(tag, key)
        while len(self._kept) >= self._capacity:
            self._remove(*next(iter(self._kept)))
        self._kept[tag, key] = kept
        self._keys.setdefault(tag, set()).add(key)

    def _remove(self, tag: str, key: str) -> None:
        if self._kept.pop((tag, key), None) is not None:
            self._keys[tag].discard(key)
            if not self._keys[tag]:
                del self._keys[tag]

    def _forget(self) -> None:
        """Keep nothing, neither what is there nor what is on its way."""
        self._hearing.clear()
        for tag in [*self._loading, *self._keys]:
            self.drop(tag)

    def _start(self) -> None:
        if self._task is None:
            # The listener outlives the request that happened to ask first.
            self._task = asyncio.create_task(self._listen(), context=contextvars.Context())

    async def _listen(self) -> None:
        """Hear changes on one connection after the other."""
        pause = PAUSE_SECONDS
        while True:
            try:
                conn = await connect(self._url)
                try:
                    await self._hear(conn)
                    pause = PAUSE_SECONDS
                finally:
                    self._forget()
                    await _end(conn)
            except (errors.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("changes are not heard; asking the database each time", why=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def _hear(self, conn: PlainConnection) -> None:
        """Listen until the connection ends or can't prove that it hears."""
        ended = asyncio.Event()
        conn.add_termination_listener(lambda _: self._lost(ended))
        await conn.add_listener(CHANNEL, self._heard)
        while await self._prove(conn) and not ended.is_set():
            self._hearing.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), PROOF_SECONDS)

    async def _prove(self, conn: PlainConnection) -> bool:
        """Whether the connection hears what it says itself."""
        self._proof, self._proved = f"{PROOF}{uuid4()}", asyncio.Event()
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                await announce(conn, [self._proof])
                await self._proved.wait()
        except TimeoutError:
            return False
        return True

    def _lost(self, ended: asyncio.Event) -> None:
        self._forget()
        ended.set()
        # Nothing more can be proved; whoever waits for it need not.
        self._proved.set()

    def _heard(self, _conn: Any, _pid: int, _channel: str, said: object) -> None:
        if said == self._proof:
            self._proved.set()
        elif not str(said).startswith(PROOF):
            self.drop(str(said))


async def _end(conn: PlainConnection) -> None:
    """Close a connection that may be dead."""
    try:
        await conn.close(timeout=CLOSE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        conn.terminate()
