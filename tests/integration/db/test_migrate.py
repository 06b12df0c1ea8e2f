"""Migrations and function files: applied once, in order, by one starter at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bursar import errors
from bursar.db.connections import connect
from bursar.db.migrate import Applied, migrate, open_books, pending

FIRST = "create table account (id int primary key, credits int not null default 0);\n"
FUNCTION = "create or replace function answer() returns int language sql as 'select 42';\n"


class Schema:
    """A folder of migrations and a package with function files, to be changed by a test."""

    def __init__(self, folder: Path) -> None:
        self.migrations = folder / "migrations"
        self.package = folder / "package"
        self.functions = self.package / "ledger" / "functions"
        self.migrations.mkdir()
        self.functions.mkdir(parents=True)
        self.migration("0001_accounts.sql", FIRST)

    def migration(self, name: str, text: str) -> None:
        (self.migrations / name).write_text(text)

    def function(self, name: str, text: str) -> None:
        (self.functions / name).write_text(text)

    async def apply(self, url: str, lines: list[str] | None = None) -> Applied:
        report = None if lines is None else lines.append
        return await migrate(url, report, migrations=self.migrations, package=self.package)

    async def pending(self, url: str) -> list[str]:
        conn = await connect(url)
        try:
            return await pending(conn, migrations=self.migrations, package=self.package)
        finally:
            await conn.close()


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    return Schema(tmp_path)


async def value(url: str, query: str) -> object:
    conn = await connect(url)
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()


async def test_files_are_applied_in_order_and_only_once(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration("0010_email.sql", "alter table account add column email text;")
    schema.migration("0002_rename.sql", "alter table account rename to member;")
    schema.migration("0010_email.sql", "alter table member add column email text;")
    schema.function("answer.sql", FUNCTION)
    lines: list[str] = []
    applied = await schema.apply(empty_database_url, lines)
    assert applied.migrations == ("0001_accounts.sql", "0002_rename.sql", "0010_email.sql")
    assert applied.functions == ("ledger/answer.sql",)
    assert lines == [f"applied {name}" for name in (*applied.migrations, *applied.functions)]
    assert await schema.apply(empty_database_url) == Applied((), ())


async def test_pending_names_what_is_missing_until_nothing_is(
    schema: Schema, empty_database_url: str
) -> None:
    schema.function("answer.sql", FUNCTION)
    assert await schema.pending(empty_database_url) == ["0001_accounts.sql", "ledger/answer.sql"]
    await schema.apply(empty_database_url)
    assert await schema.pending(empty_database_url) == []
    schema.migration("0002_more.sql", "create table more (id int);")
    schema.function("answer.sql", FUNCTION.replace("42", "43"))
    assert await schema.pending(empty_database_url) == ["0002_more.sql", "ledger/answer.sql"]


async def test_several_starters_at_once_apply_each_file_once(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration("0002_slow.sql", "insert into account values (1); select pg_sleep(0.2);")
    schema.function("answer.sql", FUNCTION)
    runs = await asyncio.gather(*(schema.apply(empty_database_url) for _ in range(6)))
    assert sorted(len(run.migrations) for run in runs) == [0, 0, 0, 0, 0, 2]
    assert sorted(len(run.functions) for run in runs) == [0, 0, 0, 0, 0, 1]
    assert await value(empty_database_url, "select count(*) from account") == 1


async def test_changed_applied_migration_is_refused(
    schema: Schema, empty_database_url: str
) -> None:
    await schema.apply(empty_database_url)
    schema.migration("0001_accounts.sql", FIRST + "-- an afterthought\n")
    schema.migration("0002_more.sql", "create table more (id int);")
    with pytest.raises(errors.MigrationFailed, match=r"0001_accounts.sql.*demo --fresh"):
        await schema.apply(empty_database_url)
    with pytest.raises(errors.MigrationFailed, match=r"0001_accounts.sql"):
        await schema.pending(empty_database_url)
    assert await value(empty_database_url, "select to_regclass('more')") is None


async def test_windows_line_ends_are_no_change(schema: Schema, empty_database_url: str) -> None:
    await schema.apply(empty_database_url)
    (schema.migrations / "0001_accounts.sql").write_bytes(FIRST.replace("\n", "\r\n").encode())
    assert await schema.apply(empty_database_url) == Applied((), ())


async def test_number_below_an_applied_one_is_refused(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration("0005_fifth.sql", "create table fifth (id int);")
    await schema.apply(empty_database_url)
    schema.migration("0003_late.sql", "create table late (id int);")
    with pytest.raises(errors.MigrationFailed, match=r"0003_late.sql"):
        await schema.apply(empty_database_url)


async def test_migrations_of_a_newer_release_are_left_alone(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration("0002_newer.sql", "create table newer (id int);")
    await schema.apply(empty_database_url)
    (schema.migrations / "0002_newer.sql").unlink()
    assert await schema.pending(empty_database_url) == []
    assert await schema.apply(empty_database_url) == Applied((), ())


async def test_failing_file_names_its_line_and_leaves_nothing_of_itself(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration(
        "0002_broken.sql", "create table half (id int);\n\ninsert into nowhere values (1);\n"
    )
    with pytest.raises(errors.MigrationFailed, match=r"0002_broken.sql, line 3: .*nowhere"):
        await schema.apply(empty_database_url)
    assert await value(empty_database_url, "select to_regclass('half')") is None
    assert await schema.pending(empty_database_url) == ["0002_broken.sql"]
    schema.migration("0002_broken.sql", "create table half (id int);")
    assert (await schema.apply(empty_database_url)).migrations == ("0002_broken.sql",)


async def test_marked_file_runs_outside_of_a_transaction(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration(
        "0002_index.sql",
        "-- no transaction\n"
        "drop index concurrently if exists account_credits;\n"
        "-- a remark; with a semicolon\n"
        "create index concurrently account_credits\n    on account (credits);\n",
    )
    await asyncio.gather(schema.apply(empty_database_url), schema.apply(empty_database_url))
    valid = "select indisvalid from pg_index where indexrelid = 'account_credits'::regclass"
    assert await value(empty_database_url, valid) is True
    assert await schema.pending(empty_database_url) == []


async def test_error_in_a_marked_file_names_the_line_in_the_file(
    schema: Schema, empty_database_url: str
) -> None:
    schema.migration(
        "0002_index.sql",
        "-- no transaction\n\ncreate index concurrently one\n  on account (credits);\n"
        "create index concurrently two\n  on account (nothing);\n",
    )
    with pytest.raises(errors.MigrationFailed, match=r"0002_index.sql, line 5: .*nothing"):
        await schema.apply(empty_database_url)
    assert await schema.pending(empty_database_url) == ["0002_index.sql"]


async def test_changed_function_is_applied_again(schema: Schema, empty_database_url: str) -> None:
    schema.function("answer.sql", FUNCTION)
    schema.function("other.sql", FUNCTION.replace("answer", "other"))
    await schema.apply(empty_database_url)
    schema.function("answer.sql", FUNCTION.replace("42", "43"))
    assert await schema.apply(empty_database_url) == Applied((), ("ledger/answer.sql",))
    assert await value(empty_database_url, "select answer()") == 43


async def test_functions_change_together_or_not_at_all(
    schema: Schema, empty_database_url: str
) -> None:
    schema.function("answer.sql", FUNCTION)
    await schema.apply(empty_database_url)
    schema.function("answer.sql", FUNCTION.replace("42", "43"))
    schema.function("zz_broken.sql", "create function broken() returns int")
    with pytest.raises(errors.MigrationFailed, match=r"ledger/zz_broken.sql"):
        await schema.apply(empty_database_url)
    assert await value(empty_database_url, "select answer()") == 42


@pytest.mark.parametrize("name", ["0001_again.sql", "2_short.sql", "0002-dash.sql"])
async def test_badly_numbered_file_is_refused(
    schema: Schema, empty_database_url: str, name: str
) -> None:
    schema.migration(name, "create table again (id int);")
    with pytest.raises(errors.MigrationFailed, match=name):
        await schema.apply(empty_database_url)


async def test_user_who_may_not_create_tables_is_told_whom_to_ask(
    schema: Schema, empty_database_url: str
) -> None:
    conn = await connect(empty_database_url)
    await conn.execute("revoke create on schema public from public")
    await conn.execute("set role pg_monitor")
    try:
        with pytest.raises(errors.MigrationFailed, match="owner"):
            await open_books(conn)
    finally:
        await conn.close()


async def test_the_product_s_own_schema_is_complete(database_url: str) -> None:
    conn = await connect(database_url)
    try:
        assert await pending(conn) == []
    finally:
        await conn.close()
    assert await migrate(database_url) == Applied((), ())


async def test_starters_at_the_same_moment_open_the_books_together(empty_database_url: str) -> None:
    conns = [await connect(empty_database_url) for _ in range(6)]
    try:
        await asyncio.gather(*(open_books(conn) for conn in conns))
        assert await conns[0].fetchval("select count(*) from schema_migrations") == 0
    finally:
        for conn in conns:
            await conn.close()
