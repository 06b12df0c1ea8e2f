"""Limits: exact under parallel requests, exact about the pause, bounded in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from bursar import errors
from bursar.access import limits
from bursar.db import Database


@dataclass(frozen=True, slots=True)
class Rate:
    count: int
    seconds: float


async def take(db: Database, subject: str, rate: Rate | None) -> bool:
    async with db.connection() as conn:
        try:
            await limits.take(conn, "checkout", subject, rate)
        except errors.Throttled:
            return False
        return True


async def age(db: Database, seconds: float) -> None:
    """Let the windows have begun so much earlier."""
    async with db.transaction() as conn:
        await conn.execute(
            "update rate_limits set window_start = window_start - make_interval(secs => $1)",
            seconds,
        )


async def test_exactly_the_limit_passes_of_twenty_at_once(db: Database) -> None:
    passed = await asyncio.gather(*(take(db, "ada", Rate(5, 60)) for _ in range(20)))
    assert sum(passed) == 5


async def test_subjects_do_not_touch_each_other(db: Database) -> None:
    rate = Rate(1, 60)
    assert await take(db, "ada", rate)
    assert not await take(db, "ada", rate)
    assert await take(db, "bob", rate)


async def test_refused_requests_never_lengthen_the_window(db: Database) -> None:
    rate = Rate(2, 60)
    assert [await take(db, "ada", rate) for _ in range(5)] == [True, True, False, False, False]
    await age(db, 59)
    assert not await take(db, "ada", rate)
    await age(db, 1)
    assert [await take(db, "ada", rate) for _ in range(3)] == [True, True, False]


async def test_pause_is_the_rest_of_the_window(db: Database) -> None:
    rate = Rate(1, 60)
    await take(db, "ada", rate)
    await age(db, 50)
    async with db.connection() as conn:
        with pytest.raises(errors.Throttled) as refusal:
            await limits.take(conn, "checkout", "ada", rate)
    assert 9 <= refusal.value.retry_after_seconds <= 10


async def test_refusal_in_an_undone_transaction_stays_a_refusal(db: Database) -> None:
    rate = Rate(1, 60)
    assert await take(db, "ada", rate)
    for _ in range(2):
        with pytest.raises(errors.Throttled):
            async with db.transaction() as conn:
                await limits.take(conn, "checkout", "ada", rate)


async def test_raised_limit_applies_to_a_running_window(db: Database) -> None:
    assert [await take(db, "ada", Rate(1, 60)) for _ in range(4)] == [True, False, False, False]
    assert await take(db, "ada", Rate(5, 60))


async def test_limit_that_is_off_counts_nothing(db: Database) -> None:
    assert all([await take(db, "ada", None) for _ in range(20)])
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from rate_limits") == 0


async def test_old_counts_are_forgotten(db: Database) -> None:
    await take(db, "ada", Rate(1, 60))
    await age(db, limits.FORGET_SECONDS + 1)
    await take(db, "bob", Rate(1, 60))
    async with db.transaction() as conn:
        await limits.forget_ended(conn)
        assert await conn.fetchval("select array_agg(subject) from rate_limits") == ["bob"]


def test_process_limit_refuses_the_one_too_many() -> None:
    limit = limits.ProcessLimit(Rate(3, 60))
    for _ in range(3):
        limit.take("ada")
    with pytest.raises(errors.Throttled) as refusal:
        limit.take("ada")
    assert 59 <= refusal.value.retry_after_seconds <= 60
    limit.take("bob")


def test_process_limit_begins_anew_after_its_window() -> None:
    limit = limits.ProcessLimit(Rate(1, 0))
    for _ in range(3):
        limit.take("ada")
    assert len(limit) == 1


def test_process_limit_is_bounded_in_memory() -> None:
    limit = limits.ProcessLimit(Rate(1, 60), capacity=100)
    for subject in range(10_000):
        limit.take(subject)
    assert len(limit) == 100
    with pytest.raises(errors.Throttled):
        limit.take(9_999)


def test_process_limit_that_is_off_counts_nothing() -> None:
    limit = limits.ProcessLimit(None)
    limit.take("ada")
    assert len(limit) == 0
