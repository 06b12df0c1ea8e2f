"""Timers: due by business time, lent by lease, set anew or dropped by who holds the lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bursar.db import Database
from bursar.messages import timers
from bursar.messages.timers import Timer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


async def schedule(db: Database, reference: str, due_at: datetime) -> None:
    async with db.transaction() as conn:
        await timers.schedule(conn, "look", reference, due_at=due_at, at=NOW)


async def claim(db: Database, at: datetime = NOW, seconds: float = 60) -> list[Timer]:
    async with db.transaction() as conn:
        return await timers.claim(conn, at=at, limit=10, lease_seconds=seconds)


async def test_a_timer_is_due_at_its_time_and_held_once(db: Database) -> None:
    await schedule(db, "a", LATER)
    assert await claim(db) == []
    assert [timer.reference for timer in await claim(db, LATER)] == ["a"]
    assert await claim(db, LATER) == []


async def test_the_earlier_of_two_times_counts(db: Database) -> None:
    await schedule(db, "a", LATER)
    await schedule(db, "a", NOW)
    await schedule(db, "a", LATER)
    assert [timer.reference for timer in await claim(db)] == ["a"]


async def test_a_lapsed_lease_is_lent_again_and_its_first_holder_drops_nothing(
    db: Database,
) -> None:
    await schedule(db, "a", NOW)
    [first] = await claim(db, seconds=0)
    [second] = await claim(db)
    async with db.transaction() as conn:
        assert not await timers.finish(conn, first)
        await timers.again(conn, first, due_at=LATER, reason="late")
        assert await timers.finish(conn, second)
    assert await claim(db, LATER) == []


async def test_set_anew_without_a_failure_its_tries_count_from_nought(db: Database) -> None:
    await schedule(db, "a", NOW)
    [first] = await claim(db)
    async with db.transaction() as conn:
        await timers.again(conn, first, due_at=NOW, reason="the provider was away")
    [second] = await claim(db)
    assert (first.attempts, second.attempts) == (1, 2)
    async with db.transaction() as conn:
        await timers.again(conn, second, due_at=LATER, reason=None)
    assert await claim(db) == []
    [third] = await claim(db, LATER)
    assert third.attempts == 1
