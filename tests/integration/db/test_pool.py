"""The pool: transactions, repeated work, and failures by their name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from bursar import errors
from bursar.db import Connection, Database, open_pool
from bursar.db.connections import connect, describe
from bursar.db.pool import ATTEMPTS


@pytest.fixture
async def accounts(empty_database_url: str) -> AsyncIterator[Database]:
    """A database with two rows to fight over."""
    async with await open_pool(empty_database_url) as database:
        async with database.connection() as conn:
            await conn.execute("create table account (id int primary key, credits int not null)")
            await conn.execute("insert into account values (1, 100), (2, 100)")
        yield database


async def credits_of(database: Database, account: int) -> int:
    async with database.connection() as conn:
        return await conn.fetchval("select credits from account where id = $1", account)


async def test_transaction_commits_at_its_end(accounts: Database) -> None:
    async with accounts.transaction() as conn:
        await conn.execute("update account set credits = 1 where id = 1")
    assert await credits_of(accounts, 1) == 1


async def test_transaction_is_undone_by_an_error(accounts: Database) -> None:
    async def refuse() -> None:
        async with accounts.transaction() as conn:
            await conn.execute("update account set credits = 1 where id = 1")
            raise errors.Conflict

    with pytest.raises(errors.Conflict):
        await refuse()
    assert await credits_of(accounts, 1) == 100


async def test_transaction_is_read_committed_whatever_the_default(accounts: Database) -> None:
    async with accounts.connection() as conn:
        name = await conn.fetchval("select current_database()")
        await conn.execute(
            f"alter database {name} set default_transaction_isolation = 'serializable'"
        )
    async with await open_pool(accounts.url) as other, other.transaction() as conn:
        assert await conn.fetchval("show transaction_isolation") == "read committed"


async def test_connection_commits_each_statement(accounts: Database) -> None:
    async with accounts.connection() as conn:
        await conn.execute("update account set credits = 7 where id = 2")
        assert await credits_of(accounts, 2) == 7


async def test_deadlocked_work_is_run_again_as_a_whole(accounts: Database) -> None:
    runs = {1: 0, 2: 0}
    both_hold_one = asyncio.Barrier(2)

    def move(first: int, second: int):
        async def work(conn: Connection) -> str:
            runs[first] += 1
            change = "update account set credits = credits + 1 where id = $1"
            await conn.execute(change, first)
            if runs[first] == 1:
                await both_hold_one.wait()
            await conn.execute(change, second)
            return f"{first} then {second}"

        return accounts.run(work)

    answers = await asyncio.gather(move(1, 2), move(2, 1))
    assert answers == ["1 then 2", "2 then 1"]
    assert sorted(runs.values()) == [1, 2]
    assert [await credits_of(accounts, number) for number in (1, 2)] == [102, 102]


async def test_endless_contention_ends_as_unavailable(accounts: Database) -> None:
    runs = 0

    async def work(conn: Connection) -> None:
        nonlocal runs
        runs += 1
        await conn.execute("update account set credits = 0")
        await conn.execute("do $$ begin raise sqlstate '40001'; end $$")

    with pytest.raises(errors.Unavailable):
        await accounts.run(work)
    assert runs == ATTEMPTS
    assert await credits_of(accounts, 1) == 100


async def test_an_error_of_the_statement_is_neither_renamed_nor_repeated(
    accounts: Database,
) -> None:
    runs = 0

    async def work(conn: Connection) -> None:
        nonlocal runs
        runs += 1
        await conn.execute("insert into account values (1, 5)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await accounts.run(work)
    assert runs == 1


async def test_lost_connection_is_database_unavailable_and_the_pool_recovers(
    accounts: Database,
) -> None:
    async def work(conn: Connection) -> None:
        await conn.execute("update account set credits = 0")
        pid = await conn.fetchval("select pg_backend_pid()")
        async with accounts.connection() as other:
            await other.execute("select pg_terminate_backend($1)", pid)
        await conn.fetchval("select pg_sleep(5)")

    with pytest.raises(errors.DatabaseUnavailable):
        await accounts.run(work)
    assert await credits_of(accounts, 1) == 100


async def test_a_connection_closed_between_statements_is_database_unavailable(
    accounts: Database,
) -> None:
    async def work(conn: Connection) -> None:
        await conn.close()
        await conn.execute("select 1")

    with pytest.raises(errors.DatabaseUnavailable):
        await accounts.run(work)


async def test_nobody_listening_is_database_unavailable_and_the_password_is_not_told() -> None:
    url = "postgresql://bursar:very-secret@127.0.0.1:1/bursar?sslmode=disable"
    with pytest.raises(errors.DatabaseUnavailable) as caught:
        await open_pool(url)
    assert "127.0.0.1:1/bursar" in caught.value.detail
    assert "very-secret" not in caught.value.detail


async def test_unknown_database_is_misconfigured(accounts: Database) -> None:
    with pytest.raises(errors.Misconfigured, match="DATABASE_URL"):
        await open_pool(accounts.url.replace("bursar_test_", "missing_"))


async def test_read_only_database_is_misconfigured(accounts: Database) -> None:
    async with accounts.connection() as conn:
        name = await conn.fetchval("select current_database()")
        await conn.execute(f"alter database {name} set default_transaction_read_only = on")
    with pytest.raises(errors.Misconfigured, match="only accepts reads"):
        await open_pool(accounts.url)


@pytest.mark.parametrize(("cache", "kept"), [(0, 0), (100, 1)])
async def test_statements_stay_prepared_only_with_a_cache(
    accounts: Database, cache: int, kept: int
) -> None:
    async with (
        await open_pool(accounts.url, max_size=1, statement_cache=cache) as database,
        database.connection() as conn,
    ):
        await conn.fetch("select credits from account where id = $1", 1)
        statements = await conn.fetch("select statement from pg_prepared_statements")
        texts = [row["statement"] for row in statements]
        assert texts.count("select credits from account where id = $1") == kept


async def test_close_leaves_no_session_on_the_server(accounts: Database) -> None:
    count = "select count(*) from pg_stat_activity where datname = current_database()"
    conn = await connect(accounts.url)
    before = await conn.fetchval(count)
    database = await open_pool(accounts.url, min_size=3)
    assert await conn.fetchval(count) == before + 3
    await database.close()
    while await conn.fetchval(count) > before:  # the server notices in its own time
        await asyncio.sleep(0.01)
    await conn.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:p@h:5432/d?sslmode=require", "h:5432/d"),
        ("postgresql://u:p@h1:1,h2:2/d", "h1:1,h2:2/d"),
        ("postgresql://u:p?a/s@h/d", "the address in DATABASE_URL"),
        ("host=h password=p", "the address in DATABASE_URL"),
    ],
)
def test_described_address_never_holds_the_password(url: str, text: str) -> None:
    assert describe(url) == text
