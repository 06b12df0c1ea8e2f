"""The tests' PostgreSQL: one server for the session, a cloned database for each test.

Owns a throw-away embedded server (without fsync), or the one that BURSAR_TEST_DATABASE_URL names
(any superuser's address, so that the suite runs on other versions too). It never touches a
database that it did not make.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bursar.db.connections import PlainConnection, connect
from bursar.db.embedded import EmbeddedServer
from bursar.db.migrate import migrate
from bursar.db.schema_files import list_functions, list_migrations

T = TypeVar("T")
OVERRIDE = "BURSAR_TEST_DATABASE_URL"
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
MEMORY_NEEDED_BYTES = 2 << 30


@contextmanager
def home_folder() -> Iterator[Path]:
    """A folder that the server's user can enter also when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="bursar-test-", dir=_fast_place()))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _fast_place() -> Path | None:
    """Return the file system in memory if it is large enough: clones take a tenth of the time."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    facts = os.statvfs(MEMORY)
    large = facts.f_bavail * facts.f_frsize >= MEMORY_NEEDED_BYTES
    # Copies of PostgreSQL's programs are run from a home, too.
    return MEMORY if large and not facts.f_flag & os.ST_NOEXEC else None


@contextmanager
def server_url() -> Iterator[str]:
    """The address of the session's server, as a superuser."""
    if url := os.environ.get(OVERRIDE):
        yield url
        return
    with home_folder() as folder, EmbeddedServer.open(folder / "home", durable=False) as server:
        yield server.url


class Postgres:
    """Creates, clones and drops databases on one server.

    It works from a thread with a loop of its own, so that plain tests use it as asynchronous
    ones do.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-postgres")
        self._thread.start()
        self._admin: PlainConnection = self._call(connect(url))

    def close(self) -> None:
        self._call(self._admin.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def database_url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """The address of a new copy of `template`, dropped in the end with whoever is on it."""
        name = f"bursar_test_{secrets.token_hex(6)}"
        self._execute(f"create database {name} template {template} strategy wal_log")
        try:
            yield self.database_url(name)
        finally:
            self._execute(f"drop database {name} with (force)")

    def template(self) -> str:
        """Return the name of a database with the present schema, made once for its checksum."""
        digest = hashlib.sha256()
        for file in (*list_migrations(), *list_functions()):
            digest.update(f"{file.name} {file.checksum}\n".encode())
        name = f"bursar_template_{digest.hexdigest()[:16]}"
        found = self._call(
            self._admin.fetchval("select true from pg_database where datname = $1", name)
        )
        if not found:
            self._make_template(name)
        return name

    def _make_template(self, name: str) -> None:
        draft = f"{name}_{secrets.token_hex(4)}"
        self._execute(f"create database {draft} template template0")
        try:
            self._call(migrate(self.database_url(draft)))
            self._execute(f"alter database {draft} rename to {name}")
        except asyncpg.DuplicateDatabaseError:
            # Another session on the same server was faster.
            self._execute(f"drop database {draft}")
        except BaseException:
            self._execute(f"drop database {draft} with (force)")
            raise

    def _execute(self, statement: str) -> None:
        self._call(self._admin.execute(statement))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
