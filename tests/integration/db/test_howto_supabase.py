"""The page for people from the Supabase guides does what it says, statement by statement."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from bursar.checks.audit import audit
from bursar.db import rights
from bursar.db.connections import PlainConnection
from bursar.db.embedded import EmbeddedServer
from bursar.db.migrate import migrate
from bursar_sandbox.running import Sandbox
from login_roles import Logins, refused, session
from tidy.sources import ROOT, text
from worlds import SECRET_KEY, WEBHOOK_SECRET

PAGE = ROOT / "docs" / "howto" / "supabase.md"
BLOCK = re.compile(r"^```(sql|sh)\n(.*?)^```", re.M | re.S)
STATEMENT = re.compile(r"(.+?;)(?:[ ]+-- (.+?))?\n", re.S)

# What Supabase has before anybody did anything, and what its guides make.
HOST = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public
    grant all on sequences to anon, authenticated, service_role;
"""
GUIDE = """
create table user_credits (user_id uuid primary key, credits integer not null);
create table credit_transactions (id uuid, user_id uuid, amount integer, type text);
create function add_credits(p_user_id uuid, p_amount integer, p_type text, p_payment text)
    returns integer language sql as 'select 0';
create function use_credits(p_user_id uuid, p_amount integer, p_description text)
    returns boolean language sql as 'select false';
insert into user_credits values ('2f6c9b1a-0000-4000-8000-000000000001', 12),
    ('2f6c9b1a-0000-4000-8000-000000000002', 0);
"""


def command(line: str, url: str, sandbox: Sandbox) -> None:
    """Run a command of the page for real."""
    program, *words = line.split()
    assert program == "bursar"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))},
        "DATABASE_URL": url,
        "BURSAR_SANDBOX": "1",
        "STRIPE_API_BASE": sandbox.base_url,
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bursar.entrypoints.cli", *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def claimed(conn: PlainConnection, statement: str, claim: str | None) -> None:
    """Run a statement and hold it to what stands behind it."""
    if claim == "refused" and conn.is_in_transaction():
        # The page's own transaction, which it ends by itself.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(statement)
        return
    if claim == "refused":
        assert await refused(conn, statement) == "42501"
        return
    said = await conn.fetchval(statement)
    if claim is not None:
        shown = str(said).lower() if isinstance(said, bool) else str(said)
        assert shown == claim, statement


def test_a_statement_ends_where_the_page_ends_it() -> None:
    block = "select 1;  -- 1\nselect 'a; b',\n  2;\nset x = 1;\n"
    assert STATEMENT.findall(block) == [
        ("select 1;", "1"),
        ("select 'a; b',\n  2;", ""),
        ("set x = 1;", ""),
    ]


async def test_every_block_of_the_page_does_what_it_says(home: Path, sandbox: Sandbox) -> None:
    # A server of its own: the page makes roles with names of everybody's.
    with await asyncio.to_thread(EmbeddedServer.open, home, durable=False) as server:
        async with session(server.url) as conn:
            await conn.execute(HOST)
            await conn.execute(GUIDE)
            claims = 0
            for kind, block in BLOCK.findall(text(PAGE)):
                if kind == "sh":
                    for line in block.splitlines():
                        await asyncio.to_thread(command, line, server.url, sandbox)
                    continue
                statements = STATEMENT.findall(block)
                assert "".join(statements[-1][0].split()) in "".join(block.split())
                for statement, claim in statements:
                    claims += bool(claim)
                    await claimed(conn, statement, claim or None)
            assert claims > 20
            assert await audit(conn) == []


async def test_an_owner_who_is_no_superuser_can_do_the_step_for_customers(home: Path) -> None:
    step = text(PAGE).partition("## 4.")[2].partition("Behind a gateway")[0]
    with await asyncio.to_thread(EmbeddedServer.open, home, durable=False) as server:
        url = urlunsplit(urlsplit(server.url)._replace(path="/shop"))
        async with session(server.url) as conn:
            name, owner_url = await Logins(url, conn).make(attributes="createrole")
            await conn.execute(f"create database shop owner {name}")
        await migrate(owner_url, with_roles=True)
        async with session(owner_url) as conn:
            await conn.execute("insert into catalog_units (unit, name) values ('credit', 'C')")
            await conn.execute("select add_credits('7d3f0c1e-ada', 100, 'bonus', null)")
            claims = 0
            for _, block in BLOCK.findall(step):
                for statement, claim in STATEMENT.findall(block):
                    claims += bool(claim)
                    await claimed(conn, statement, claim or None)
            assert claims == 6
            assert await conn.fetchval("select current_user") == name


async def test_what_is_new_is_shut_to_the_public_also_without_roles(home: Path) -> None:
    with await asyncio.to_thread(EmbeddedServer.open, home, durable=False) as server:
        async with session(server.url) as conn:
            await conn.execute(HOST)
            await conn.execute("create table mine (id int)")
            await asyncio.to_thread(_migrate, server.url)
            open_to_anon = await conn.fetch(
                "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
                " and relkind in ('r', 'S') and has_table_privilege('anon', oid, 'select')"
                " union all select proname::text from pg_proc"
                " where pronamespace = 'public'::regnamespace"
                " and has_function_privilege('anon', oid, 'execute')"
            )
            # The host's table, and a trigger's function, which nobody can call by hand.
            assert {row[0] for row in open_to_anon} <= {"mine", "ledger_refuse_change"}
            await conn.execute("set role anon")
            for table in rights.TABLES:
                assert await refused(conn, f"select * from {table}") == "42501"
            try:
                await conn.execute("select * from mine")
            except asyncpg.InsufficientPrivilegeError as error:
                raise AssertionError("the host's own table was touched") from error


def _migrate(url: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "bursar.entrypoints.cli", "migrate", "--json"],
        env={**os.environ, "DATABASE_URL": url},
        cwd=ROOT / "tests",
        capture_output=True,
        timeout=60,
        check=True,
    )
