"""Brings a database's schema up to date: numbered migrations once, function files when changed.

Owns the tables `schema_migrations`, `schema_functions` and `schema_lock`. It never decides what
the schema is: that stands in `migrations/` and in each room's `functions/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bursar import errors
from bursar.db import roles
from bursar.db.connections import Connection, check_server, connect, using
from bursar.db.schema_files import (
    MIGRATIONS,
    PACKAGE,
    SchemaFile,
    list_functions,
    list_migrations,
)

Report = Callable[[str], None]

BOOKS = """
create table if not exists schema_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
create table if not exists schema_functions (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
create table if not exists schema_lock ();
"""
RECORD = """
insert into schema_functions (name, checksum) values ($1, $2)
on conflict (name) do update set checksum = excluded.checksum, applied_at = excluded.applied_at
"""
BOOKS_ATTEMPTS = 5
WAIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Applied:
    """The names of the files that this run applied, in order."""

    migrations: tuple[str, ...]
    functions: tuple[str, ...]


async def migrate(
    url: str,
    report: Report | None = None,
    *,
    with_roles: bool = False,
    migrations: Path = MIGRATIONS,
    package: Path = PACKAGE,
) -> Applied:
    """Apply what is missing at `url`; a second starter waits for the first and finds nothing.

    `report` gets a line for each file. `with_roles` makes the database roles and gives them their
    rights; from then on every run keeps these up with the schema. `migrations` is the folder of
    numbered files, `package` the one whose `*/functions/*.sql` are repeatable.
    Raises errors.MigrationFailed (the failing file and line are named, and what came before it
    stays applied), errors.Misconfigured and errors.DatabaseUnavailable.
    """
    files, functions = list_migrations(migrations), list_functions(package)
    async with _session(url) as conn:
        await check_server(conn)
        await open_books(conn)
        async with _only_starter(url):
            say = report or _silent
            applied = Applied(
                await _apply_migrations(conn, files, say),
                await _apply_functions(conn, functions, say),
            )
            schema = roles.schema_of([*files, *functions], BOOKS)
            await _settle_roles(conn, schema, say, asked=with_roles)
            return applied


async def pending(
    conn: Connection, *, migrations: Path = MIGRATIONS, package: Path = PACKAGE
) -> list[str]:
    """Return the names of files not applied in their present form; none means ready.

    Raises errors.MigrationFailed when an applied migration was changed afterwards.
    """
    files, functions = list_migrations(migrations), list_functions(package)
    if await conn.fetchval("select to_regclass('schema_functions') is null"):
        return [file.name for file in (*files, *functions)]
    return [
        *(file.name for file in _missing(files, await _applied(conn))),
        *(file.name for file in await _changed(conn, functions)),
    ]


def _silent(line: str) -> None:
    """Report to nobody."""


@asynccontextmanager
async def _session(url: str) -> AsyncIterator[Connection]:
    conn = await connect(url)
    try:
        with using(conn):
            yield conn
    finally:
        await conn.close()


@asynccontextmanager
async def _only_starter(url: str) -> AsyncIterator[None]:
    """Wait until no other starter is at work, and keep others waiting.

    The lock lies on a connection of its own, because a file marked `-- no transaction` can't run
    on one that holds it; being a transaction's, no pooler in between can lose it. Waiting is
    asking again: a session that waits for a lock keeps a snapshot, and `create index
    concurrently` waits for snapshots, so that two starters would wait for each other.
    """
    async with _session(url) as guard:
        while True:
            transaction = guard.transaction()
            await transaction.start()
            try:
                await guard.execute("set local idle_in_transaction_session_timeout = 0")
                await guard.execute("lock table schema_lock in exclusive mode nowait")
                break
            except asyncpg.LockNotAvailableError:
                await transaction.rollback()
            await asyncio.sleep(WAIT_SECONDS)
        try:
            yield
        finally:
            await transaction.rollback()


async def open_books(conn: Connection) -> None:
    """Create the tables in which this module keeps its books, unless they are there.

    Raises errors.MigrationFailed when the database user may not.
    """
    for attempt in range(BOOKS_ATTEMPTS):
        try:
            await conn.execute(BOOKS)
        # `if not exists` is no lock: of two starters at the same moment one may fail so, at the
        # table, at the type that comes with it, or at the index beneath.
        except (
            asyncpg.UniqueViolationError,
            asyncpg.DuplicateTableError,
            asyncpg.DuplicateObjectError,
        ):
            if attempt == BOOKS_ATTEMPTS - 1:
                raise
        except asyncpg.InsufficientPrivilegeError as error:
            raise errors.MigrationFailed(
                f"This database user may not create tables ({error}); "
                "run `bursar migrate` as the database's owner."
            ) from error
        else:
            return


async def _applied(conn: Connection) -> dict[str, str]:
    rows = await conn.fetch("select name, checksum from schema_migrations")
    return {row["name"]: row["checksum"] for row in rows}


def _missing(files: list[SchemaFile], applied: dict[str, str]) -> list[SchemaFile]:
    """Return the files to apply. Names that only the database knows come from a newer Bursar."""
    missing: list[SchemaFile] = []
    for file in files:
        if file.name not in applied:
            missing.append(file)
        elif applied[file.name] != file.checksum:
            raise errors.MigrationFailed(
                f"{file.name} was applied to this database with other contents. Restore the file "
                "and put the change into a new migration. A demo's database is made anew by "
                "`bursar demo --fresh`."
            )
        elif missing:
            raise errors.MigrationFailed(
                f"{missing[0].name} is numbered below {file.name}, which is applied already. "
                "Give it the next free number."
            )
    return missing


async def _apply_migrations(
    conn: Connection, files: list[SchemaFile], report: Report
) -> tuple[str, ...]:
    missing = _missing(files, await _applied(conn))
    for file in missing:
        if file.in_transaction:
            async with conn.transaction():
                await _apply(conn, file)
                await _record_migration(conn, file)
        else:
            await _apply(conn, file)
            await _record_migration(conn, file)
        report(f"applied {file.name}")
    return tuple(file.name for file in missing)


async def _record_migration(conn: Connection, file: SchemaFile) -> None:
    await conn.execute(
        "insert into schema_migrations (name, checksum) values ($1, $2)", file.name, file.checksum
    )


async def _changed(conn: Connection, functions: list[SchemaFile]) -> list[SchemaFile]:
    rows = await conn.fetch("select name, checksum from schema_functions")
    applied = {row["name"]: row["checksum"] for row in rows}
    return [file for file in functions if applied.get(file.name) != file.checksum]


async def _apply_functions(
    conn: Connection, functions: list[SchemaFile], report: Report
) -> tuple[str, ...]:
    changed = await _changed(conn, functions)
    # All together: functions call each other, and half a set of them is no state to serve from.
    async with conn.transaction():
        for file in changed:
            await _apply(conn, file)
            await conn.execute(RECORD, file.name, file.checksum)
    for file in changed:
        report(f"applied {file.name}")
    return tuple(file.name for file in changed)


async def _settle_roles(
    conn: Connection, schema: roles.Schema, report: Report, *, asked: bool
) -> None:
    """Give the roles their rights where somebody asked for roles, now or before.

    What a run applied and did not come to settle, the next one does: the fingerprint tells.
    """
    await roles.shut_out_the_web(conn, schema)
    settled = await conn.fetchval(
        "select checksum from schema_functions where name = $1", roles.BOOK
    )
    if not asked and settled in (None, schema.fingerprint):
        return
    try:
        if asked:
            await roles.create(conn)
        await roles.settle(conn, schema)
    except errors.MigrationFailed as error:
        # What was asked failed, and yet something was done: say both.
        raise errors.MigrationFailed(
            f"The schema is up to date; the roles are not set up. {error.detail}"
        ) from error
    await conn.execute(RECORD, roles.BOOK, schema.fingerprint)
    report("gave the database roles their rights")


async def _apply(conn: Connection, file: SchemaFile) -> None:
    for statement in file.statements():
        try:
            await conn.execute(statement)
        except asyncpg.PostgresConnectionError:
            raise
        except asyncpg.PostgresError as error:
            position = getattr(error, "position", None)
            start = file.text.index(statement)
            line = file.text.count("\n", 0, start + int(position or 1) - 1) + 1
            raise errors.MigrationFailed(f"{file.name}, line {line}: {error}") from error
