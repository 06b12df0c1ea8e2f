"""The cache by tag: what it keeps, what it forgets and when, and what it never keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bursar.db import Connection, Database
from bursar.db.tags import TagCache, announce
from worlds import eventually

PATIENCE_SECONDS = 20


class Source:
    """Something that is loaded: it counts how often, and waits when told to."""

    def __init__(self, value: str = "old") -> None:
        self.value = value
        self.loads = 0
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def load(self) -> str:
        self.loads += 1
        value = self.value
        self.begun.set()
        await self.go_on.wait()
        return value


class Seconds:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


async def listening(cache: TagCache) -> TagCache:
    await asyncio.wait_for(cache.wait_until_hearing(), PATIENCE_SECONDS)
    return cache


@pytest.fixture
async def cache(db: Database) -> AsyncIterator[TagCache]:
    """A cache that hears."""
    made = TagCache(db.url)
    yield await listening(made)
    await made.close()


async def tell(db: Database, *tags: str) -> None:
    async with db.transaction() as conn:
        await announce(conn, tags)


async def forgotten(cache: TagCache) -> None:
    async def empty() -> bool:
        return len(cache) == 0

    await eventually(empty)


async def cut(db: Database, cache: TagCache) -> None:
    """End the listening connection at the server, and wait until the cache knows."""
    async with db.connection() as conn:
        # The test's own pool has one connection, which is this one.
        ended = await conn.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert len(ended) == 1

    async def gone() -> bool:
        return not cache.hearing

    await eventually(gone)


async def test_what_was_loaded_is_loaded_once(cache: TagCache) -> None:
    source = Source()
    assert [await cache.get("a", "k", source.load) for _ in range(3)] == ["old"] * 3
    assert source.loads == 1
    assert await cache.get("a", "another", source.load) == "old"
    assert source.loads == 2


async def test_a_change_is_heard_by_every_cache_and_drops_its_tag_alone(
    db: Database, cache: TagCache
) -> None:
    other = await listening(TagCache(db.url))
    try:
        source, stays = Source(), Source()
        for each in (cache, other):
            await each.get("a", "k", source.load)
            await each.get("a", "l", source.load)
            await each.get("b", "k", stays.load)
        await tell(db, "a")

        async def dropped() -> bool:
            return len(cache) == len(other) == 1

        await eventually(dropped)
        source.value = "new"
        assert await cache.get("a", "k", source.load) == "new"
        assert await other.get("a", "l", source.load) == "new"
        await cache.get("b", "k", stays.load)
        assert stays.loads == 2
    finally:
        await other.close()


async def test_a_change_that_is_undone_is_never_told(db: Database, cache: TagCache) -> None:
    source, marker = Source(), Source()
    await cache.get("a", "k", source.load)
    await cache.get("marker", "k", marker.load)

    async def undo(conn: Connection) -> None:
        await announce(conn, ["a"])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.run(undo)
    await tell(db, "marker")

    async def marked() -> bool:
        return len(cache) == 1

    await eventually(marked)
    await cache.get("a", "k", source.load)
    assert source.loads == 1


async def test_a_load_that_a_change_overtook_is_not_kept(db: Database, cache: TagCache) -> None:
    source = Source()
    source.go_on.clear()
    asked = asyncio.create_task(cache.get("a", "k", source.load))
    await source.begun.wait()
    # What it loads is read; now it changes, and the change is heard before the load ends.
    heard = Source()
    await cache.get("marker", "k", heard.load)
    await tell(db, "a", "marker")
    await forgotten(cache)
    source.value = "new"
    source.go_on.set()
    assert await asked == "old"
    assert await cache.get("a", "k", source.load) == "new"


async def test_a_load_that_fails_keeps_nothing(cache: TagCache) -> None:
    async def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await cache.get("a", "k", fail)
    assert await cache.get("a", "k", Source("later").load) == "later"


async def test_nothing_is_kept_past_its_time_though_nothing_was_heard(db: Database) -> None:
    now = Seconds()
    cache = await listening(TagCache(db.url, seconds=3, now=now))
    try:
        source = Source()
        await cache.get("a", "k", source.load)
        source.value = "new"
        now.at += 2.9
        assert await cache.get("a", "k", source.load) == "old"
        now.at += 0.1
        assert await cache.get("a", "k", source.load) == "new"
    finally:
        await cache.close()


async def test_the_age_of_a_value_counts_from_before_its_load(db: Database) -> None:
    now = Seconds()
    cache = await listening(TagCache(db.url, seconds=3, now=now))
    try:
        source = Source()

        async def slow() -> str:
            value = await source.load()
            now.at += 2
            return value

        await cache.get("a", "k", slow)
        source.value = "new"
        now.at += 1
        assert await cache.get("a", "k", source.load) == "new"
    finally:
        await cache.close()


async def test_without_its_connection_nothing_is_answered_from_memory(
    db: Database, cache: TagCache
) -> None:
    source = Source()
    await cache.get("a", "k", source.load)
    source.go_on.clear()
    source.begun.clear()
    late = asyncio.create_task(cache.get("a", "late", source.load))
    await source.begun.wait()
    await cut(db, cache)
    assert len(cache) == 0
    source.go_on.set()
    await late
    assert len(cache) == 0, "a load from before the cut was kept"
    source.value = "new"
    assert await cache.get("a", "k", source.load) == "new"


async def test_a_cut_connection_is_made_anew_and_hears_again(db: Database, cache: TagCache) -> None:
    await cut(db, cache)
    await listening(cache)
    source = Source()
    await cache.get("a", "k", source.load)
    assert len(cache) == 1
    await tell(db, "a")
    await forgotten(cache)


async def test_a_connection_that_does_not_hear_itself_is_not_believed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler that gives each statement another session."""
    monkeypatch.setattr("bursar.db.tags.PROOF_SECONDS", 0.2)
    monkeypatch.setattr(TagCache, "_heard", lambda *_: None)
    cache = TagCache(db.url)
    try:
        source = Source()
        await cache.get("a", "k", source.load)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.wait_until_hearing(), 1)
        await cache.get("a", "k", source.load)
        assert source.loads == 2
        assert len(cache) == 0
    finally:
        await cache.close()


async def test_memory_is_bounded_and_the_oldest_goes_first(db: Database) -> None:
    cache = await listening(TagCache(db.url, capacity=3))
    try:
        source = Source()
        for number in range(5):
            await cache.get(f"t{number}", "k", source.load)
        assert len(cache) == 3
        await cache.get("t4", "k", source.load)
        assert source.loads == 5
        await cache.get("t0", "k", source.load)
        assert source.loads == 6
    finally:
        await cache.close()


async def test_a_cache_whose_server_is_away_asks_each_time() -> None:
    cache = TagCache("postgresql://nobody@127.0.0.1:9/nothing")
    try:
        source = Source()
        await cache.get("a", "k", source.load)
        await cache.get("a", "k", source.load)
        assert source.loads == 2
        assert not cache.hearing
    finally:
        await cache.close()
