"""Database roles: makes them, hands our tables and functions to the owner's, and gives the others
the rights and the rows that `rights` says.

Everything here may be done again at any time, and finds nothing to do. It never touches a table or
function of the host's, gives nobody a password, and alone decides nothing about when: `migrate`
calls it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bursar import errors
from bursar.db import policies, rights
from bursar.db.connections import Connection
from bursar.db.rights import GATEWAY, HELD, OWNER, TABLES, WEB_ROLES
from bursar.db.schema_files import SchemaFile

ROLES_SQL = Path(__file__).with_name("roles.sql")
BOOK = "db/roles"
"""The name under which `migrate` keeps the fingerprint of the rights that it gave."""

ATTEMPTS = 30
PAUSE_SECONDS = 0.2

CREATED_TABLE = re.compile(
    r"^\s*create\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?(\w+)", re.I | re.M
)
CREATED_FUNCTION = re.compile(r"^\s*create\s+(?:or\s+replace\s+)?function\s+(\w+)", re.I | re.M)

# What another session did to the same rows of the catalogue in the same moment; it passes.
CONTENDED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
    asyncpg.InternalServerError,
)

# A sequence has no owner or rights of its own but those of its column's table.
RELATIONS = """
select c.relname::text as name, c.relkind::text as kind,
    pg_get_userbyid(c.relowner)::text as owner, c.relrowsecurity and c.relforcerowsecurity as closed
from pg_class c
where c.relnamespace = 'public'::regnamespace and (
    c.relname = any ($1) and c.relkind in ('r', 'p')
    or c.relname = any ($2) and c.relkind = 'v'
    or c.relkind = 'S' and exists (
        select from pg_depend d join pg_class t on t.oid = d.refobjid
        where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
            and t.relname = any ($1) and t.relnamespace = 'public'::regnamespace))
order by c.relkind, c.relname
"""

FUNCTIONS = """
select p.proname::text as name, p.oid::regprocedure::text as signature,
    pg_get_userbyid(p.proowner)::text as owner
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.proname = any ($1)
order by 1, 2
"""

# Everybody who was ever granted something on one of the objects, but their owners.
TABLE_GRANTEES = """
select distinct c.relname::text as name, c.relkind::text as kind,
    case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
from pg_class c
left join pg_attribute t on t.attrelid = c.oid and t.attacl is not null
cross join lateral (
    select * from aclexplode(c.relacl) union all select * from aclexplode(t.attacl)
) a
where c.relnamespace = 'public'::regnamespace and c.relname = any ($1) and a.grantee <> c.relowner
"""
FUNCTION_GRANTEES = """
select p.oid::regprocedure::text as signature, case a.grantee when 0 then 'public'
    else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
where p.pronamespace = 'public'::regnamespace and a.grantee <> p.proowner
    and p.oid::regprocedure::text = any ($1)
"""

VIEW_MARK = "Bursar: for customers' roles and readers"
STANDS_IN_THE_WAY = """
select relname::text from pg_class
where relnamespace = 'public'::regnamespace and relname = any ($1)
    and (relkind <> 'v' or obj_description(oid, 'pg_class') is distinct from $2)
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """The names of everything that the schema's files make, whether it is there yet or not."""

    tables: list[str]
    functions: list[str]
    fingerprint: str


def schema_of(files: Sequence[SchemaFile], books: str) -> Schema:
    """Read the names out of the files and the books' tables, and what they add up to."""
    text = "\n".join([*(file.text for file in files), books])
    digest = hashlib.sha256(ROLES_SQL.read_bytes())
    for file in files:
        digest.update(f"{file.name} {file.checksum}\n".encode())
    said = (TABLES, rights.FUNCTIONS, rights.VIEWS, rights.SEQUENCES, rights.VIEW_RIGHTS)
    digest.update(repr((said, policies.wanted(sorted(TABLES)))).encode())
    return Schema(
        sorted(set(CREATED_TABLE.findall(text))),
        sorted(set(CREATED_FUNCTION.findall(text))),
        digest.hexdigest(),
    )


async def create(conn: Connection) -> None:
    """Make the roles that are missing. Raises MigrationFailed when this user may not."""

    async def work() -> None:
        await conn.execute("set local search_path = public, pg_temp")
        await conn.execute(ROLES_SQL.read_text(encoding="utf-8"))

    await _patiently(conn, work)


async def settle(conn: Connection, schema: Schema) -> None:
    """Hand our objects to the owner's role, and give every role its rights and rows.

    All in one transaction: what is new is never there without its rules. Tables are locked only
    when their rules change. Raises MigrationFailed when this user may not, or when something of
    the host's bears a name of ours.
    """

    async def work() -> None:
        # Names in policies and views are ours, whatever the user's own search path is.
        await conn.execute("set local search_path = public, pg_temp")
        # Shorter than the time after which PostgreSQL looks for a deadlock: it is we who give way.
        await conn.execute("set local lock_timeout = '500ms'")
        await _make_views(conn)
        relations = await _relations(conn, schema)
        functions = await _functions(conn, schema)
        await _take_over(conn, relations, functions)
        await _shut_out(conn, relations, functions, everybody=True)
        tables = [row["name"] for row in relations if row["kind"] in "rp"]
        tables.remove(HELD)
        await conn.execute(_grants(tables, [row["signature"] for row in functions]))
        await policies.draw(conn, tables)

    await _patiently(conn, work)


async def shut_out_the_web(conn: Connection, schema: Schema) -> None:
    """Take away what the host's default privileges give to roles that the public reaches.

    Does nothing on a server without such roles. Needs no roles of ours.
    """
    if not await conn.fetchval(
        "select exists (select from pg_roles where rolname = any ($1))", WEB_ROLES
    ):
        return
    async with conn.transaction():
        await conn.execute("set local search_path = public, pg_temp")
        relations = await _relations(conn, schema)
        functions = await _functions(conn, schema)
        await _shut_out(conn, relations, functions, everybody=False)


async def _patiently(conn: Connection, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` in a transaction, again while other sessions are in its way."""
    for attempt in range(ATTEMPTS):
        try:
            async with conn.transaction():
                await work()
        except CONTENDED as error:
            if attempt == ATTEMPTS - 1:
                raise errors.MigrationFailed(
                    f"Other sessions were in the way ({error}); run it again when it is quieter."
                ) from error
            await asyncio.sleep(PAUSE_SECONDS)
        except asyncpg.InsufficientPrivilegeError as error:
            raise errors.MigrationFailed(
                f"This database user may not set up the roles ({error}). Run `bursar migrate "
                "--roles` as the database's owner with CREATEROLE (a superuser gives it: alter "
                "role … createrole), or as a superuser."
            ) from error
        except (asyncpg.UndefinedObjectError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
            hint = getattr(error, "hint", None) or "Run `bursar migrate --roles`."
            raise errors.MigrationFailed(f"The database's roles: {error}. {hint}") from error
        else:
            return


async def _relations(conn: Connection, schema: Schema) -> list[asyncpg.Record]:
    return list(await conn.fetch(RELATIONS, schema.tables, list(rights.VIEWS)))


async def _functions(conn: Connection, schema: Schema) -> list[asyncpg.Record]:
    """Our functions. One that the host may have in another form is ours in our form alone."""
    forms = {form.partition("(")[0] for form in rights.FUNCTIONS if "(" in form}
    rows = await conn.fetch(FUNCTIONS, schema.functions)
    return [row for row in rows if row["name"] not in forms or row["signature"] in rights.FUNCTIONS]


async def _make_views(conn: Connection) -> None:
    """Make the views, or bring them up to date. Raises MigrationFailed where a name is taken."""
    if taken := await conn.fetchval(STANDS_IN_THE_WAY, list(rights.VIEWS), VIEW_MARK):
        raise errors.MigrationFailed(
            f"The schema has a {taken} that is not Bursar's, and Bursar makes a view of that name. "
            f"Rename yours first: alter table {taken} rename to old_{taken}."
        )
    for name, query in rights.VIEWS.items():
        await conn.execute(
            f"create or replace view {name} with (security_invoker = true) as {query}"
        )
        mark = VIEW_MARK.replace("'", "''")
        await conn.execute(f"comment on view {name} is '{mark}'")


async def _take_over(
    conn: Connection, relations: Sequence[asyncpg.Record], functions: Sequence[asyncpg.Record]
) -> None:
    """Make the owner's role the owner of all, and its word needed for every row."""
    kinds = {"r": "table", "p": "table", "v": "view"}  # a sequence follows its table
    statements = [
        f"alter {kinds[row['kind']]} {row['name']} owner to {OWNER};"
        for row in relations
        if row["kind"] in kinds and row["owner"] != OWNER and row["name"] != HELD
    ]
    statements += [
        f"alter function {row['signature']} owner to {OWNER};"
        for row in functions
        if row["owner"] != OWNER
    ]
    statements += [
        f"alter table {row['name']} enable row level security, force row level security;"
        for row in relations
        if row["kind"] in "rp" and not row["closed"] and row["name"] != HELD
    ]
    if statements:
        await conn.execute("\n".join(statements))


async def _shut_out(
    conn: Connection,
    relations: Sequence[asyncpg.Record],
    functions: Sequence[asyncpg.Record],
    *,
    everybody: bool,
) -> None:
    """Take rights away: of the roles that the public reaches, or of everybody but the owner.

    What the host granted on the functions that are meant for it stays, unless to the public.
    """
    statements = []
    for row in await conn.fetch(TABLE_GRANTEES, [row["name"] for row in relations]):
        if everybody or row["grantee"] in WEB_ROLES:
            kind = "sequence" if row["kind"] == "S" else "table"
            statements.append(f"revoke all on {kind} {row['name']} from {row['grantee']};")
    for row in await conn.fetch(FUNCTION_GRANTEES, [row["signature"] for row in functions]):
        strict = everybody and row["signature"] not in rights.HOST_MAY_GRANT
        if strict or row["grantee"] in ("public", *WEB_ROLES):
            statements.append(f"revoke all on function {row['signature']} from {row['grantee']};")
    if statements:
        await conn.execute("\n".join(statements))


def _grants(tables: Sequence[str], functions: Sequence[str]) -> str:
    """Every GRANT, as one text."""
    lines = [
        f"grant {words} on table {table} to {role};"
        for table in tables
        for role, words in TABLES.get(table, rights.Rights()).by_role().items()
    ]
    lines += [
        f"grant {words} on table {table} to {GATEWAY};"
        for table, words in rights.GATEWAY_TABLES.items()
        if table in tables
    ]
    lines += [
        f"grant {words} on table {view} to {role};"
        for view in rights.VIEWS
        for role, words in rights.VIEW_RIGHTS.by_role().items()
    ]
    for signature in functions:
        name = signature.partition("(")[0]
        callers = rights.FUNCTIONS.get(signature, rights.FUNCTIONS.get(name, ()))
        lines += [f"grant execute on function {signature} to {role};" for role in callers]
    for sequence, roles in rights.SEQUENCES.items():
        lines += [f"grant usage on sequence {sequence} to {role};" for role in roles]
    lines.append(f"grant all on table {HELD} to {OWNER};")
    return "\n".join(lines)
