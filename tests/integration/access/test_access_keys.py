"""API keys on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bursar import errors
from bursar.access import keys
from bursar.access.actors import Actor
from bursar.billing import customers
from bursar.db import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def user_key(db: Database, user_id: str = "ada") -> tuple[int, str]:
    async with db.transaction() as conn:
        await customers.ensure_user(conn, user_id, at=NOW)
        return await keys.create(conn, "user", user_id=user_id, at=NOW)


async def find(db: Database, secret: str) -> Actor | None:
    async with db.connection() as conn:
        return await keys.find_actor(conn, secret)


async def test_key_of_each_kind_names_its_actor(db: Database) -> None:
    user_id, user_secret = await user_key(db)
    async with db.transaction() as conn:
        service_id, service_secret = await keys.create(conn, "service", at=NOW)
        admin_id, admin_secret = await keys.create(conn, "admin", at=NOW)
    assert await find(db, user_secret) == Actor("user", "ada", user_id)
    assert await find(db, service_secret) == Actor("service", None, service_id)
    assert await find(db, admin_secret) == Actor("admin", None, admin_id)


def test_principal_never_is_a_key() -> None:
    assert Actor("user", "ada", 7).principal == Actor("user", "ada", 8).principal == "user:ada"
    assert Actor("service", None, 7).principal == "service"
    assert Actor("admin", "ada", None).principal == "admin"


async def test_secret_is_long_random_and_not_stored(db: Database) -> None:
    _, first = await user_key(db)
    _, second = await user_key(db)
    assert first != second
    assert first.startswith("bursar_user_")
    assert len(first.removeprefix("bursar_user_")) == 43
    async with db.connection() as conn:
        rows = await conn.fetch("select k::text as line, prefix from api_keys k")
    for row in rows:
        assert first not in row["line"]
        assert len(row["prefix"]) == len("bursar_user_") + keys.SHOWN_CHARACTERS


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "bursar_user_",
        "bursar_user_" + "a" * 43,
        "bursar_root_" + "a" * 43,
        "x" * 100_000,
        "bursar_user_" + "é" * 43,
        "bursar_user_" + "\x00" * 43,
        "bursar_user_\ud800",
    ],
)
async def test_unknown_or_malformed_key_is_nobody(db: Database, secret: str) -> None:
    assert await find(db, secret) is None


async def test_expired_key_is_nobody(db: Database) -> None:
    async with db.transaction() as conn:
        _, lasting = await keys.create(
            conn, "service", at=NOW, expires_at=datetime.now(UTC) + timedelta(hours=1)
        )
        _, over = await keys.create(
            conn, "service", at=NOW, expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )
    assert await find(db, lasting) is not None
    assert await find(db, over) is None


async def test_revoked_key_is_nobody_and_revoking_again_keeps_the_time(db: Database) -> None:
    key_id, secret = await user_key(db)
    async with db.transaction() as conn:
        await keys.revoke(conn, key_id, at=NOW)
        await keys.revoke(conn, key_id, at=NOW + timedelta(days=1))
        rows = await keys.list_keys(conn, user_id="ada")
    assert await find(db, secret) is None
    assert [row.revoked_at for row in rows] == [NOW]


async def test_revoking_an_unknown_key_says_so(db: Database) -> None:
    async with db.transaction() as conn:
        with pytest.raises(errors.NotFound):
            await keys.revoke(conn, 12345, at=NOW)


async def test_key_for_a_user_who_is_not_there_is_refused(db: Database) -> None:
    async with db.transaction() as conn:
        with pytest.raises(errors.NotFound):
            await keys.create(conn, "user", user_id="nobody", at=NOW)
        with pytest.raises(errors.Invalid):
            await keys.create(conn, "user", at=NOW)
        with pytest.raises(errors.Invalid):
            await keys.create(conn, "service", user_id="ada", at=NOW)


async def test_use_of_a_key_is_noted_seldom(db: Database) -> None:
    _, secret = await user_key(db)
    await find(db, secret)
    async with db.connection() as conn:
        first = (await keys.list_keys(conn))[0].last_used_at
    await find(db, secret)
    async with db.connection() as conn:
        assert (await keys.list_keys(conn))[0].last_used_at == first is not None


async def test_cache_answers_without_asking_until_its_seconds_are_over(db: Database) -> None:
    key_id, secret = await user_key(db)
    believing = keys.KeyCache(db, seconds=60)
    asking = keys.KeyCache(db, seconds=0)
    assert await believing.find_actor(secret) == await asking.find_actor(secret)
    async with db.transaction() as conn:
        await keys.revoke(conn, key_id, at=NOW)
    assert await believing.find_actor(secret) is not None
    assert await asking.find_actor(secret) is None
    assert keys.CACHE_SECONDS < 5


async def test_cache_is_bounded_and_keeps_no_unknown_key(db: Database) -> None:
    cache = keys.KeyCache(db, capacity=3)
    secrets = [(await user_key(db, f"user-{n}"))[1] for n in range(5)]
    for secret in secrets:
        assert await cache.find_actor(secret) is not None
    assert len(cache) == 3
    assert await cache.find_actor("bursar_user_" + "a" * 43) is None
    assert len(cache) == 3
