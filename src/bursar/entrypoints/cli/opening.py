"""What a command works on: the settings, a database that runs, the wiring.

Without DATABASE_URL that is the embedded PostgreSQL of BURSAR_HOME, started for the command or
adopted from whoever runs it. It never migrates: `bursar migrate`, `serve` and `demo` do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg

from bursar import errors, wiring
from bursar.config import Settings
from bursar.db import Database, open_pool
from bursar.db.embedded import EmbeddedServer
from bursar.db.migrate import pending

T = TypeVar("T")


@contextmanager
def running_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a `database_url` that answers until the block ends.

    Raises EmbeddedServerFailed, and Misconfigured for what the database's user may not do.
    """
    if settings.database_url:
        with _named(settings.database_url):
            yield settings
        return
    with EmbeddedServer.open(settings.home, binaries=settings.pg_bin) as server:
        yield settings.model_copy(update={"database_url": server.url})


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Say a refusal by PostgreSQL in a line: who was refused what, and what to do.

    Raises Misconfigured. What is no answer of PostgreSQL's keeps its traceback.
    """
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        user = unquote(urlsplit(url).username or "") or "of DATABASE_URL"
        raise errors.Misconfigured(
            f"The database role {user} may not do this: {error}. Run the command as the schema's "
            "owner, or as a login in role bursar_server; `bursar migrate --roles` makes the roles "
            "and gives them their rights (docs/operating/roles.md)."
        ) from error
    except asyncpg.PostgresError as error:
        raise errors.Misconfigured(
            f"PostgreSQL refused ({type(error).__name__}): {error}. If the schema was changed by "
            "hand, `bursar audit` and `bursar migrate` show more."
        ) from error


def with_database(settings: Settings, act: Callable[[Database], Awaitable[T]]) -> T:
    """Run `act` on a database whose schema is up to date, whatever its mode.

    Raises MigrationFailed for a schema that is behind, and DatabaseUnavailable.
    """

    async def run(url: str) -> T:
        db = await open_pool(url, max_size=2)
        try:
            async with db.connection() as conn:
                if missing := await pending(conn):
                    raise errors.MigrationFailed(
                        f"The schema is behind ({', '.join(missing)}). Run `bursar migrate`."
                    )
            return await act(db)
        finally:
            await db.close()

    with running_database(settings) as opened:
        return asyncio.run(run(opened.database_url or ""))


def with_wiring(
    settings: Settings, act: Callable[[wiring.Wiring], Awaitable[T]], *, claim: bool = True
) -> T:
    """Run `act` with the providers too. Raises Misconfigured without a key to call one.

    Without `claim` a database that is new is left without a mode: `act` claims it with what it
    stores.
    """
    settings.require_key()

    async def run(opened: Settings) -> T:
        async with wiring.opened(opened, claim=claim) as parts:
            return await act(parts)

    with running_database(settings) as opened:
        return asyncio.run(run(opened))
