"""Database roles: each does what it is for and nothing else, and customers see their own rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from bursar import errors
from bursar.billing import catalog, customers
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.db import Database, rights, roles
from bursar.db.connections import Connection, PlainConnection
from bursar.db.embedded import EmbeddedServer
from bursar.db.migrate import migrate, pending
from bursar.db.schema_files import MIGRATIONS, PACKAGE, list_functions, list_migrations
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from login_roles import Logins, logins, refused, session
from postgres import Postgres

AT = datetime(2026, 3, 1, tzinfo=UTC)
APPEND_ONLY = [
    *("ledger_accounts", "ledger_causes", "ledger_postings", "ledger_entries", "holds"),
    *("audit_log", "inbox_keys", "inbox_messages"),
]


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with the roles set up, and two customers: ada has 7 credits, bob 9."""

    db: Database
    logins: Logins
    ada: int
    bob: int

    async def customer_role(self, customer_id: int) -> str:
        """The address of a role that is a customer's own."""
        name, url = await self.logins.make(rights.CUSTOMER)
        async with self.db.connection() as conn:
            await conn.execute("insert into customer_roles values ($1, $2)", name, customer_id)
        return url


async def give(db: Database, user_id: str, amount: int) -> int:
    async with db.transaction() as conn:
        user = await customers.ensure_user(conn, user_id, at=AT)
        posting = Posting(
            customer_id=user.customer_id,
            unit="credit",
            type="bonus",
            amount=amount,
            cause=Cause("test", user_id, "gift"),
            pool="bonus",
            description=f"for {user_id}",
        )
        await entries.post(conn, [posting], at=AT)
    return user.customer_id


@pytest.fixture
async def shop(db: Database, database_url: str) -> AsyncIterator[Shop]:
    async with logins(database_url) as made:
        unit = Unit("credit", "Credits", 0, {}, {})
        async with db.transaction() as conn:
            await catalog.put_units(conn, [unit])
        ada, bob = await give(db, "ada", 7), await give(db, "bob", 9)
        yield Shop(db, made, ada, bob)


async def rows(conn: PlainConnection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in await conn.fetch(query)]


async def test_a_customers_role_reads_its_own_rows_and_no_others(shop: Shop) -> None:
    await shop.customer_role(shop.bob)
    async with session(await shop.customer_role(shop.ada)) as conn:
        assert await rows(conn, "select user_id, unit, balance from credit_balances") == [
            ("ada", "credit", 7)
        ]
        assert await rows(
            conn, "select user_id, amount, type, description from credit_transactions"
        ) == [("ada", 7, "bonus", "for ada")]
        assert await rows(conn, "select distinct id, user_id from customers") == [(shop.ada, "ada")]
        for table in ("ledger_accounts", "ledger_postings", "ledger_entries"):
            found = await rows(conn, f"select distinct customer_id from {table}")
            assert found == [(shop.ada,)], table
        assert await rows(conn, "select id, session_id from payments") == []
        assert await rows(conn, "select * from holds") == []
        assert await rows(conn, "select customer_id from customer_roles") == [(shop.ada,)]


async def test_what_a_session_sets_changes_nothing_for_a_customers_role(shop: Shop) -> None:
    async with session(await shop.customer_role(shop.ada)) as conn:
        see = "select distinct customer_id from ledger_postings"
        for claim in (json.dumps({"sub": "bob"}), json.dumps({"sub": "bob", "role": "service"})):
            await conn.execute("select set_config('request.jwt.claims', $1, false)", claim)
            await conn.execute("set request.jwt.claim.sub = 'bob'")
            assert await rows(conn, see) == [(shop.ada,)]
        await conn.execute("set role bursar_customer")
        assert await rows(conn, see) == []
        await conn.execute("reset role")
        for role in (*rights.ROLES, "postgres"):
            if role != rights.CUSTOMER:
                with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.PostgresError)):
                    await conn.execute(f"set role {role}")
        assert await refused(conn, "set session authorization bursar_server") == "42501"
        await conn.execute("set row_security = off")
        assert await refused(conn, see) == "42501"
        await conn.execute("set row_security = on")
        await conn.execute("set search_path = pg_temp, public")
        assert await rows(conn, see) == [(shop.ada,)]


async def test_a_customers_role_writes_nothing_and_calls_nothing(shop: Shop) -> None:
    schema = roles.schema_of([*list_migrations(), *list_functions()], "")
    async with shop.db.connection() as owner:
        signatures = await owner.fetch(
            "select oid::regprocedure::text as form, proname::text as name from pg_proc"
            " where pronamespace = 'public'::regnamespace"
        )
        tables = [row["relname"] for row in await owner.fetch(OUR_TABLES)]
    async with session(await shop.customer_role(shop.ada)) as conn:
        for table in tables:
            for statement in (
                f"insert into {table} default values",
                f"delete from {table}",
                f"truncate {table}",
                f"lock table {table} in exclusive mode",
            ):
                assert await refused(conn, statement) == "42501"
            assert not await conn.fetchval(
                "select has_any_column_privilege($1, 'insert, update, references')", table
            ), table
        for row in signatures:
            if row["name"] in schema.functions:
                may = await conn.fetchval(
                    "select has_function_privilege($1, 'execute')", row["form"]
                )
                assert may == (row["name"] == "business_now"), row["form"]
        assert await refused(conn, "select add_credits('ada', 1, 'bonus')") == "42501"
        assert await refused(conn, "select use_credits('bob', 1)") == "42501"
        assert await refused(conn, "create table mine (id int)") == "42501"
        for secret in ("api_keys", "sessions", "sign_in_links", "invitations", "users", "members"):
            assert await refused(conn, f"select * from {secret}") == "42501"
        assert await refused(conn, "select snapshot from payments") == "42501"


async def test_a_role_that_is_mapped_to_nobody_sees_nothing(shop: Shop) -> None:
    async with session(await shop.logins.url_for(rights.CUSTOMER)) as conn:
        assert await rows(conn, "select * from credit_balances") == []
    async with shop.db.connection() as conn:
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute("insert into customer_roles values ('bursar_customer', 1)")


async def test_a_gateways_user_sees_the_customers_that_he_is_a_member_of(shop: Shop) -> None:
    async with shop.db.transaction() as conn:
        team = await conn.fetchval(
            "insert into customers (kind, name) values ('team', 'T') returning id"
        )
        await conn.execute("insert into members values ($1, 'ada', 'member')", team)
    async with session(await shop.logins.url_for(rights.GATEWAY)) as conn:
        see = "select id from customers order by id"
        assert await rows(conn, see) == []
        await conn.execute("""set request.jwt.claims = '{"sub": "ada", "role": "x"}'""")
        assert await rows(conn, see) == [(shop.ada,), (team,)]
        assert await rows(conn, "select user_id, balance from credit_balances") == [("ada", 7)]
        assert await rows(conn, "select user_id from members order by 1") == [("ada",), ("ada",)]
        await conn.execute("""set request.jwt.claims = '{"sub": "nobody"}'""")
        assert await rows(conn, see) == []
        assert await refused(conn, "select use_credits('ada', 1)") == "42501"
        await conn.execute("set request.jwt.claims = ''")
        assert await rows(conn, see) == []


@pytest.mark.parametrize("role", [rights.SERVER, rights.WORKER])
async def test_our_processes_only_add_to_ledger_audit_log_and_event_bytes(
    shop: Shop, role: str
) -> None:
    async with session(await shop.logins.url_for(role)) as conn:
        for table in APPEND_ONLY:
            column = await conn.fetchval(
                "select attname::text from pg_attribute where attrelid = $1::regclass"
                " and attnum = 1",
                table,
            )
            for statement in (
                f"update {table} set {column} = {column}",
                f"delete from {table}",
                f"truncate {table}",
            ):
                assert await refused(conn, statement) == "42501"
            if table.startswith("ledger_") or table == "holds":
                assert await refused(conn, f"insert into {table} default values") == "42501"
        assert await refused(conn, "select ledger_move(1, 1, 1, 1)") == "42501"
        assert await refused(conn, "alter table payments disable row level security") == "42501"
        assert await refused(conn, "drop table payments") == "42501"
        assert await refused(conn, "create table mine (id int)") == "42501"
        assert await refused(conn, f"set role {rights.OWNER}") == "42501"


async def test_the_worker_makes_no_keys_and_the_reader_reads_no_secrets(shop: Shop) -> None:
    async with session(await shop.logins.url_for(rights.WORKER)) as conn:
        for table in ("api_keys", "sessions", "sign_in_links"):
            assert await refused(conn, f"insert into {table} default values") == "42501"
            assert await refused(conn, f"select * from {table}") == "42501"
        assert await refused(conn, "insert into inbox_messages default values") == "42501"
    async with session(await shop.logins.url_for(rights.READER)) as conn:
        for query in (
            "select hash from api_keys",
            "select hash from invitations",
            "select payload from inbox_messages",
            "select headers from inbox_messages",
            "select payload from outbox_messages",
            "select * from sessions",
            "select * from sign_in_links",
            "select * from idempotency_keys",
        ):
            assert await refused(conn, query) == "42501"
        found = await rows(conn, "select user_id, balance from credit_balances order by 1")
        assert found == [("ada", 7), ("bob", 9)]
        assert await refused(conn, "update payments set amount_minor = 1") == "42501"
        assert await audit(conn) == []


OUR_TABLES = """
select c.relname::text as relname, c.relrowsecurity and c.relforcerowsecurity as closed,
    array(select polname::text from pg_policy where polrelid = c.oid order by 1) as policies,
    exists (select from pg_attribute where attrelid = c.oid and not attisdropped
        and attname in ('customer_id', 'user_id')) as has_customers,
    pg_get_userbyid(c.relowner)::text as owner
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 1
"""


async def test_every_table_has_its_line_its_owner_and_its_policies(shop: Shop) -> None:
    async with shop.db.connection() as conn:
        tables = {row["relname"]: row for row in await conn.fetch(OUR_TABLES)}
    held = tables.pop(rights.HELD)
    assert not held["closed"]
    assert set(rights.TABLES) == set(tables)
    for name, table in tables.items():
        assert table["closed"], name
        assert table["policies"], name
        assert table["owner"] == rights.OWNER, name
        reads_own = bool(rights.TABLES[name].customer)
        assert ("own_rows" in table["policies"]) == reads_own, name
    with_customers = {name for name, table in tables.items() if table["has_customers"]}
    assert {"payments", "ledger_entries", "holds", "members", "entitlements"} <= with_customers


async def test_a_second_run_changes_nothing_and_leaves_the_hosts_own_alone(shop: Shop) -> None:
    async with shop.db.connection() as conn:
        await conn.execute("create table mine (id int); grant select on mine to public")
        await conn.execute(
            "create function add_credits(p_user_id uuid, p_amount int) returns int"
            " language sql as 'select 1'"
        )
        what = (
            "select jsonb_agg(jsonb_build_array(relname, relowner, relacl::text) order by relname)"
            " from pg_class where relnamespace = 'public'::regnamespace"
        )
        how = "select jsonb_agg(jsonb_build_array(oid, polname) order by oid) from pg_policy"
        functions = (
            "select jsonb_agg(jsonb_build_array(oid::regprocedure::text, proowner, proacl::text)"
            " order by oid) from pg_proc where pronamespace = 'public'::regnamespace"
        )
        before = [await conn.fetchval(query) for query in (what, how, functions)]
        runs = [migrate(shop.logins.url, with_roles=True) for _ in range(3)]
        await asyncio.gather(*runs)
        assert [await conn.fetchval(query) for query in (what, how, functions)] == before


async def test_databases_of_one_server_may_set_their_roles_up_at_once(
    postgres: Postgres, schema_template: str
) -> None:
    with (
        postgres.database(schema_template) as first,
        postgres.database(schema_template) as second,
        postgres.database("template0") as third,
    ):
        urls = [first, second, third] * 2
        await asyncio.gather(*(migrate(url, with_roles=True) for url in urls))
        for url in (first, second, third):
            async with session(url) as conn:
                assert await conn.fetchval(
                    "select count(*) from pg_class where relowner = 'bursar_owner'::regrole"
                    " and relnamespace = 'public'::regnamespace and relkind = 'r'"
                ) == len(rights.TABLES)


async def test_what_a_later_release_brings_is_kept_up_by_a_plain_migrate(
    shop: Shop, tmp_path: Path
) -> None:
    package = tmp_path / "bursar"
    copytree(PACKAGE, package, ignore=lambda _, names: [n for n in names if n.endswith(".py")])
    (package / "ledger" / "functions" / "move_end.sql").write_text(
        "create or replace function ledger_move_end(p_id int) returns int language sql\n"
        "security definer set search_path = public, pg_temp as 'select 42';\n"
        "create or replace function ledger_later() returns int language sql as 'select 43';\n"
    )
    folder = tmp_path / "migrations"
    copytree(MIGRATIONS, folder)
    (folder / "9000_later.sql").write_text(
        "create table later (customer_id bigint);\nalter table payments add column later int;\n"
    )
    said: list[str] = []
    url = shop.logins.url
    applied = await migrate(url, said.append, migrations=folder, package=package)
    assert applied.migrations == ("9000_later.sql",)
    assert "gave the database roles their rights" in said
    async with session(await shop.logins.url_for(rights.SERVER)) as conn:
        assert await conn.fetchval("select ledger_move_end(1)") == 42
        assert await refused(conn, "select ledger_later()") == "42501"
        assert await refused(conn, "select * from later") == "42501"
        assert await conn.fetch("select later from payments") == []
        assert await pending(conn, migrations=folder, package=package) == []
    async with shop.db.connection() as conn:
        table = {row["relname"]: row for row in await conn.fetch(OUR_TABLES)}["later"]
        assert (table["owner"], table["closed"], table["policies"]) == (
            rights.OWNER,
            True,
            ["all_rows"],
        )
    said.clear()
    await migrate(url, said.append, migrations=folder, package=package)
    assert said == []


async def test_an_old_databases_schema_is_closed_to_strangers(database_url: str) -> None:
    async with session(database_url) as conn:
        await conn.execute("grant create on schema public to public")
    async with (
        logins(database_url) as made,
        session(await made.url_for(rights.SERVER)) as server,
    ):
        shadow = "create function ledger_find() returns int language sql as 'select 1'"
        assert await refused(server, shadow) == "42501"
        assert await refused(server, "create table mine (id int)") == "42501"


async def test_rights_that_somebody_gave_by_hand_are_taken_back(shop: Shop) -> None:
    name, url = await shop.logins.make()
    async with shop.db.connection() as conn:
        await conn.execute(f"grant select, update (name) on customers to {name}, bursar_reader")
        await conn.execute(f"grant execute on function ledger_move to {name}, public")
        await conn.execute(f"grant execute on function use_credits(text, bigint, text) to {name}")
        await conn.execute("grant execute on function use_credits(text, bigint, text) to public")
        await conn.execute("alter table payments no force row level security")
        await conn.execute("drop policy own_rows on holds")
        await conn.execute("create policy hosts on holds for select to public using (false)")
    await migrate(shop.logins.url, with_roles=True)
    async with session(url) as conn:
        assert await refused(conn, "select * from customers") == "42501"
        assert await refused(conn, "select ledger_move(1, 1, 1, 1)") == "42501"
        assert not await conn.fetchval("select use_credits('nobody', 1)")
    async with session(await shop.logins.url_for(rights.WORKER)) as conn:
        assert await refused(conn, "select use_credits('nobody', 1)") == "42501"
    async with shop.db.connection() as conn:
        tables = {row["relname"]: row for row in await conn.fetch(OUR_TABLES)}
    assert tables["payments"]["closed"]
    assert tables["holds"]["policies"] == ["all_rows", "claimed_rows", "hosts", "own_rows"]


async def test_what_a_run_did_not_come_to_the_next_one_does(shop: Shop) -> None:
    async with shop.db.connection() as conn:
        # As if it had died between the files and the rights.
        await conn.execute(
            "update schema_functions set checksum = 'old' where name = $1", roles.BOOK
        )
        await conn.execute("revoke select on payments from bursar_server")
    await migrate(shop.logins.url)
    async with session(await shop.logins.url_for(rights.SERVER)) as conn:
        assert await conn.fetch("select * from payments") == []


async def test_roles_are_set_up_while_a_shop_is_busy(db: Database, database_url: str) -> None:
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("credit", "Credits", 0, {}, {})])
    busy = True

    async def sell(number: int) -> int:
        done = 0
        while busy:

            async def work(conn: Connection, user_id: str = f"{number}:{done}") -> None:
                await conn.execute("select add_credits($1, 1, 'bonus')", user_id)
                await conn.execute(
                    "insert into timers (kind, reference, due_at, created_at)"
                    " values ('test', $1, now(), now())",
                    user_id,
                )
                await conn.execute("select use_credits($1, 1)", user_id)

            await db.run(work)
            done += 1
        return done

    sellers = [asyncio.create_task(sell(number)) for number in range(4)]
    await asyncio.sleep(0.1)
    await migrate(database_url, with_roles=True)
    busy = False
    sold = sum(await asyncio.gather(*sellers))
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from timers") == sold
        assert await audit(conn) == []


async def test_the_server_cannot_migrate_and_is_told_so(shop: Shop) -> None:
    with pytest.raises(errors.MigrationFailed, match="may not create tables"):
        await migrate(await shop.logins.url_for(rights.SERVER))


async def test_without_roles_a_migrate_makes_none(postgres: Postgres) -> None:
    with postgres.database("template0") as url:
        await migrate(url)
        async with session(url) as conn:
            assert not any(row["closed"] for row in await conn.fetch(OUR_TABLES))
            assert await conn.fetchval("select to_regclass('credit_balances')") is None


async def test_a_view_of_the_hosts_own_is_not_replaced(database_url: str) -> None:
    async with session(database_url) as conn:
        await conn.execute("create table credit_transactions (id int)")
        with pytest.raises(errors.MigrationFailed, match="rename to old_credit_transactions"):
            await migrate(database_url, with_roles=True)
        await conn.execute("alter table credit_transactions rename to old_credit_transactions")
        await migrate(database_url, with_roles=True)


async def test_a_database_owner_who_may_create_roles_needs_no_superuser(home: Path) -> None:
    # A server of its own: that no role is there yet is the point.
    with await asyncio.to_thread(EmbeddedServer.open, home, durable=False) as server:
        shop_url = urlunsplit(urlsplit(server.url)._replace(path="/shop"))
        async with session(server.url) as conn:
            made = Logins(shop_url, conn)
            weak, weak_url = await made.make()
            name, url = await made.make(attributes="createrole")
            await conn.execute(f"create database shop owner {weak}")
            with pytest.raises(errors.MigrationFailed, match="with CREATEROLE") as caught:
                await migrate(weak_url, with_roles=True)
            assert caught.value.detail.startswith("The schema is up to date; the roles are not")
            await conn.execute(f"alter database shop owner to {name}")
            await conn.execute(f"grant {weak} to {name}")
        await migrate(url, with_roles=True)
        await migrate(url, with_roles=True)
        async with session(url) as conn:
            assert await conn.fetchval("select count(*) from users") == 0
            owners = await rows(conn, "select distinct owner from (" + OUR_TABLES + ") t")
            assert (rights.OWNER,) in owners
            await conn.execute("insert into catalog_units (unit, name) values ('credit', 'C')")
            assert await conn.fetchval("select add_credits('ada', 5, 'bonus')") == 5
