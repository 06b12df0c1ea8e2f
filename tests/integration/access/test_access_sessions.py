"""Sign-in links and sessions on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from bursar import errors
from bursar.access import sessions
from bursar.access.actors import Actor
from bursar.billing import customers
from bursar.db import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def link(db: Database, **options: object) -> str:
    async with db.transaction() as conn:
        await customers.ensure_user(conn, "ada", at=NOW)
        return await sessions.create_link(conn, "ada", **options)  # type: ignore[arg-type]


async def redeem(db: Database, token: str) -> sessions.SignedIn:
    async with db.transaction() as conn:
        return await sessions.redeem(conn, token)


async def find(db: Database, token: str) -> Actor | None:
    async with db.connection() as conn:
        return await sessions.find(conn, token)


async def test_link_signs_in_once(db: Database) -> None:
    token = await link(db)
    session_token, user_id, admin = await redeem(db, token)
    assert (user_id, admin) == ("ada", False)
    assert await find(db, session_token) == Actor("user", "ada", None)
    with pytest.raises(errors.Unauthenticated):
        await redeem(db, token)


async def test_link_is_redeemed_by_one_of_ten_at_once(db: Database) -> None:
    token = await link(db)
    results = await asyncio.gather(*(redeem(db, token) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, sessions.SignedIn) for result in results) == 1
    assert sum(isinstance(result, errors.Unauthenticated) for result in results) == 9


async def test_reusable_link_begins_a_new_session_each_time(db: Database) -> None:
    token = await link(db, reusable=True)
    first, second = await redeem(db, token), await redeem(db, token)
    assert first.session_token != second.session_token
    async with db.transaction() as conn:
        await sessions.drop_link(conn, token)
    with pytest.raises(errors.Unauthenticated):
        await redeem(db, token)


async def test_expired_unknown_and_absurd_links_are_refused(db: Database) -> None:
    expired = await link(db, seconds=0)
    for token in (expired, "", "unknown", "é\x00", "\ud800", "x" * 10_000):
        with pytest.raises(errors.Unauthenticated):
            await redeem(db, token)


async def test_admin_link_makes_an_admin(db: Database) -> None:
    signed_in = await redeem(db, await link(db, admin=True))
    assert signed_in.admin
    assert await find(db, signed_in.session_token) == Actor("admin", "ada", None)


async def test_link_for_nobody_is_refused(db: Database) -> None:
    async with db.transaction() as conn:
        with pytest.raises(errors.NotFound):
            await sessions.create_link(conn, "nobody")


async def test_ended_sessions_are_over(db: Database) -> None:
    first = await redeem(db, await link(db))
    second = await redeem(db, await link(db))
    third = await redeem(db, await link(db))
    async with db.transaction() as conn:
        await sessions.end(conn, first.session_token)
    assert await find(db, first.session_token) is None
    assert await find(db, second.session_token) is not None
    async with db.transaction() as conn:
        await sessions.end_all(conn, "ada")
    assert await find(db, third.session_token) is None


async def test_session_ends_with_its_time_and_is_forgotten_later(db: Database) -> None:
    ended = await redeem(db, await link(db))
    kept = await redeem(db, await link(db))
    async with db.transaction() as conn:
        await conn.execute(
            "update sessions set expires_at = now() - interval '2 days' where hash = $1",
            sessions.hash_secret(ended.session_token),
        )
    assert await find(db, ended.session_token) is None
    async with db.transaction() as conn:
        await sessions.forget_ended(conn)
        assert await conn.fetchval("select count(*) from sessions") == 1
    assert await find(db, kept.session_token) is not None


async def test_tokens_are_stored_as_hashes_only(db: Database) -> None:
    token = await link(db)
    session_token = (await redeem(db, token)).session_token
    async with db.connection() as conn:
        lines = await conn.fetch(
            "select l::text as line from sign_in_links l union all select s::text from sessions s"
        )
    assert len(lines) == 2
    assert not any(token in row["line"] or session_token in row["line"] for row in lines)


async def test_odd_session_tokens_are_nobody(db: Database) -> None:
    for token in ("", "unknown", "é", "\x00", "x" * 10_000):
        assert await find(db, token) is None
