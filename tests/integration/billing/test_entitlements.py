"""Entitlements: which source counts, counting under a crowd, and answers from memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from bursar import errors
from bursar.billing import entitlements
from bursar.billing.entitlements import Grant, Source, SourceKind
from bursar.billing.rights import Entitled, Right
from bursar.db import Connection, Database, open_pool
from bursar.db.tags import TagCache, announce
from people import make_customer
from worlds import eventually

NOW = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
FAR = datetime(2030, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 20


def of(customer_id: int, source: str = "gift", kind: SourceKind = "grant") -> Source:
    return Source(customer_id, kind, source)


async def give(
    db: Database, source: Source, *rights: Right, ends_at: datetime | None = None, **more: Any
) -> None:
    starts_at = more.get("starts_at", NOW)
    async with db.transaction() as conn:
        given = [Grant(source, right, starts_at, ends_at) for right in rights]
        await entitlements.grant(conn, given, at=NOW)


async def end(db: Database, source: Source, *, at: datetime = NOW) -> None:
    async with db.transaction() as conn:
        await entitlements.end(conn, [source], at=at)


async def check(db: Database, customer_id: int, feature: str, *, at: datetime = NOW) -> Entitled:
    async with db.connection() as conn:
        return await entitlements.check(conn, customer_id, feature, at=at)


async def consume(
    db: Database, customer_id: int, feature: str, amount: int = 1, *, at: datetime = NOW
) -> Entitled:
    async def work(conn: Connection) -> Entitled:
        return await entitlements.consume(conn, customer_id, feature, amount, at=at)

    return await db.run(work)


@pytest.fixture
async def ada(db: Database) -> int:
    return await make_customer(db, "ada")


async def test_who_has_nothing_may_nothing(db: Database, ada: int) -> None:
    assert await check(db, ada, "history") == Entitled("history", False, 0, 0, 0, None)
    with pytest.raises(errors.NotEntitled):
        await consume(db, ada, "history")
    async with db.connection() as conn:
        assert await entitlements.limit(conn, ada, "history", at=NOW) is None
        assert await entitlements.list_for(conn, ada, at=NOW) == []


async def test_a_feature_without_a_number_is_on_and_not_counted(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("history"))
    assert await check(db, ada, "history") == Entitled("history", True, None, 0, None, None)
    await consume(db, ada, "history", 10**12)
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from entitlement_counts") == 0


async def test_what_one_customer_has_is_not_anothers(db: Database, ada: int) -> None:
    bob = await make_customer(db, "bob")
    await give(db, of(ada), Right("exports", 5))
    await give(db, of(bob), Right("exports", 5))
    await consume(db, ada, "exports", 5)
    assert (await check(db, bob, "exports")).left == 5
    await end(db, of(ada))
    assert (await check(db, bob, "exports")).allowed


async def test_the_greatest_of_the_sources_that_run_counts(db: Database, ada: int) -> None:
    await give(db, of(ada, "small"), Right("exports", 5))
    await give(db, of(ada, "large"), Right("exports", 50, "day"))
    await give(db, of(ada, "ended"), Right("exports", 900), ends_at=NOW)
    await give(db, of(ada, "later"), Right("exports", 700), starts_at=NOW + timedelta(days=1))
    found = await check(db, ada, "exports")
    assert (found.limit, found.resets_at) == (50, datetime(2026, 2, 1, tzinfo=UTC))
    assert (await check(db, ada, "exports", at=NOW + timedelta(days=1))).limit == 700
    await give(db, of(ada, "on"), Right("exports"))
    assert (await check(db, ada, "exports")).limit is None
    await end(db, of(ada, "on"))
    await end(db, of(ada, "large"))
    assert (await check(db, ada, "exports")).limit == 5


async def test_a_source_says_its_last_word_and_keeps_its_beginning(db: Database, ada: int) -> None:
    await give(db, of(ada, "p", "plan"), Right("exports", 5), ends_at=NOW + timedelta(days=1))
    await give(
        db,
        of(ada, "p", "plan"),
        Right("exports", 9),
        ends_at=FAR,
        starts_at=NOW + timedelta(hours=1),
    )
    assert (await check(db, ada, "exports")).limit == 9
    assert (await check(db, ada, "exports", at=NOW + timedelta(days=2))).limit == 9
    # One that had ended begins anew when it says so.
    await end(db, of(ada, "p", "plan"), at=NOW + timedelta(days=3))
    await give(db, of(ada, "p", "plan"), Right("exports", 9), starts_at=NOW + timedelta(days=5))
    assert not (await check(db, ada, "exports", at=NOW + timedelta(days=4))).allowed
    assert (await check(db, ada, "exports", at=NOW + timedelta(days=5))).allowed


async def test_a_limit_of_nothing_is_no_entitlement(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("exports", 0))
    assert not (await check(db, ada, "exports")).allowed
    with pytest.raises(errors.NotEntitled):
        await consume(db, ada, "exports")


async def test_of_fifty_at_once_the_last_ten_are_consumed_by_ten(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("exports", 30, "month"))
    await consume(db, ada, "exports", 20)

    async def one() -> bool:
        try:
            await consume(db, ada, "exports")
        except errors.LimitReached:
            return False
        return True

    passed = await asyncio.gather(*(one() for _ in range(50)))
    assert sum(passed) == 10
    found = await check(db, ada, "exports")
    assert (found.used, found.left, found.allowed) == (30, 0, False)


async def test_the_first_of_all_to_consume_meet_at_no_row_and_still_count(
    db: Database, ada: int
) -> None:
    await give(db, of(ada), Right("exports", 10))
    outcomes = await asyncio.gather(
        *(consume(db, ada, "exports", 3) for _ in range(8)), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, errors.LimitReached)]
    assert len(refused) == 5
    assert (await check(db, ada, "exports")).used == 9


async def test_what_is_refused_is_not_counted_and_says_what_is_left(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("exports", 10, "month"))
    await consume(db, ada, "exports", 8)
    with pytest.raises(errors.LimitReached, match=r"2 of 10 .* 2026-02-01T00:00:00Z"):
        await consume(db, ada, "exports", 3)
    with pytest.raises(errors.LimitReached):
        await consume(db, ada, "exports", 10**12)
    assert (await consume(db, ada, "exports", 2)).left == 0


@pytest.mark.parametrize(
    ("per", "last", "first"),
    [
        ("month", datetime(2026, 1, 31, 23, 59, 59, 999999, UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("day", datetime(2026, 3, 28, 23, 59, 59, 999999, UTC), datetime(2026, 3, 29, tzinfo=UTC)),
        ("month", datetime(2027, 12, 31, 23, 59, 59, 0, UTC), datetime(2028, 1, 1, tzinfo=UTC)),
    ],
)
async def test_counting_begins_anew_when_the_period_ends_in_utc(
    db: Database, ada: int, per: Any, last: datetime, first: datetime
) -> None:
    await give(db, of(ada), Right("exports", 2, per))
    async with db.connection() as conn:
        # Whatever zone the server thinks in: in this one the periods begin at other instants.
        name = await conn.fetchval("select current_database()")
        await conn.execute(f"alter database {name} set timezone to 'America/New_York'")
    fresh = await consume_elsewhere(db.url, ada, 2, at=last)
    assert (fresh.left, fresh.resets_at) == (0, first)
    with pytest.raises(errors.LimitReached):
        await consume_elsewhere(db.url, ada, 1, at=last)
    assert (await consume_elsewhere(db.url, ada, 1, at=first)).left == 1
    assert (await check(db, ada, "exports", at=last)).left == 0


async def consume_elsewhere(url: str, customer_id: int, amount: int, *, at: datetime) -> Entitled:
    """Consume on a new connection, which has the database's present settings."""
    async with await open_pool(url) as other:
        return await consume(other, customer_id, "exports", amount, at=at)


async def test_a_standing_limit_never_begins_anew(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("exports", 2))
    await consume(db, ada, "exports", 2)
    with pytest.raises(errors.LimitReached):
        await consume(db, ada, "exports", at=NOW + timedelta(days=4000))


async def test_a_day_and_a_month_that_begin_together_are_counted_apart(
    db: Database, ada: int
) -> None:
    first = datetime(2026, 2, 1, 9, tzinfo=UTC)
    await give(db, of(ada), Right("exports", 90, "month"))
    await consume(db, ada, "exports", 80, at=first)
    await give(db, of(ada), Right("exports", 50, "day"))
    assert (await check(db, ada, "exports", at=first)).left == 50


async def test_a_lowered_limit_leaves_nothing_and_never_less(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("exports", 90))
    await consume(db, ada, "exports", 80)
    await give(db, of(ada), Right("exports", 50))
    found = await check(db, ada, "exports")
    assert (found.used, found.left, found.allowed) == (80, 0, False)


async def test_everything_is_listed_with_what_is_left(db: Database, ada: int) -> None:
    await give(db, of(ada), Right("history"), Right("exports", 5), Right("api_calls", 9, "day"))
    await consume(db, ada, "api_calls", 4)
    await consume(db, ada, "exports")
    async with db.connection() as conn:
        listed = await entitlements.list_for(conn, ada, at=NOW)
    assert [(each.feature, each.used, each.left) for each in listed] == [
        ("api_calls", 4, 5),
        ("exports", 1, 4),
        ("history", 0, None),
    ]


# Memory


@pytest.fixture
async def caches(db: Database) -> AsyncIterator[list[TagCache]]:
    """Two, as two processes have them."""
    made = [TagCache(db.url), TagCache(db.url)]
    for cache in made:
        await asyncio.wait_for(cache.wait_until_hearing(), PATIENCE_SECONDS)
    yield made
    for cache in made:
        await cache.close()


async def known(
    db: Database, cache: TagCache, customer_id: int, feature: str, *, at: datetime = NOW
) -> Entitled:
    return await entitlements.check_known(db, cache, customer_id, feature, at=at)


async def heard_all(db: Database, caches: list[TagCache]) -> None:
    """Return once the caches heard all that was told so far, for words come in their order."""

    numbers = count()

    async def load() -> int:
        return next(numbers)

    before = [await cache.get("marker", "marker", load) for cache in caches]
    async with db.transaction() as conn:
        await announce(conn, ["marker"])

    async def told() -> bool:
        now = [await cache.get("marker", "marker", load) for cache in caches]
        return all(new > old for new, old in zip(now, before, strict=True))

    await eventually(told)
    for cache in caches:
        cache.drop("marker")


async def test_memory_says_what_the_database_says(
    db: Database, ada: int, caches: list[TagCache]
) -> None:
    await give(db, of(ada), Right("history"), Right("exports", 5, "month"), Right("none", 0))
    await consume(db, ada, "exports", 2)
    for feature in ("history", "exports", "none", "unknown"):
        for _ in range(2):
            assert await known(db, caches[0], ada, feature) == await check(db, ada, feature)
    await consume(db, ada, "exports", 3)
    assert not (await known(db, caches[0], ada, "exports")).allowed


async def test_a_feature_that_is_taken_away_is_refused_by_every_process(
    db: Database, ada: int, caches: list[TagCache]
) -> None:
    await give(db, of(ada), Right("history"))
    await heard_all(db, caches)
    for cache in caches:
        assert (await known(db, cache, ada, "history")).allowed
        assert len(cache) == 1
    await end(db, of(ada))

    async def dropped() -> bool:
        return [len(cache) for cache in caches] == [0, 0]

    await eventually(dropped)
    for cache in caches:
        assert not (await known(db, cache, ada, "history")).allowed


async def test_a_feature_taken_away_while_nothing_is_heard_is_refused_too(
    db: Database, ada: int, caches: list[TagCache]
) -> None:
    await give(db, of(ada), Right("history"))
    for cache in caches:
        assert (await known(db, cache, ada, "history")).allowed
    async with db.connection() as conn:
        await conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    # The word of it goes nowhere; what counts is that nobody believes their memory without it.
    await end(db, of(ada))

    async def refused() -> bool:
        found = [await known(db, cache, ada, "history") for cache in caches]
        return not any(each.allowed for each in found)

    await eventually(refused, seconds=10)


async def test_nobody_is_told_when_nothing_changed(
    db: Database, ada: int, caches: list[TagCache]
) -> None:
    await give(db, of(ada), Right("history"))
    bob = await make_customer(db, "bob")
    await heard_all(db, caches)
    for customer_id in (ada, bob):
        await known(db, caches[0], customer_id, "history")
    await give(db, of(ada), Right("history"))
    await end(db, of(ada, "unknown"))
    await heard_all(db, caches)
    assert len(caches[0]) == 2
    await give(db, of(bob), Right("history"))
    await heard_all(db, caches)
    assert len(caches[0]) == 1


async def test_memory_ends_with_what_ends_by_itself(
    db: Database, ada: int, caches: list[TagCache]
) -> None:
    later = NOW + timedelta(seconds=1)
    await give(db, of(ada), Right("history"), ends_at=later)
    await give(db, of(ada, "more"), Right("exports"), starts_at=later)
    assert (await known(db, caches[0], ada, "history")).allowed
    assert not (await known(db, caches[0], ada, "exports")).allowed
    assert not (await known(db, caches[0], ada, "history", at=later)).allowed
    assert (await known(db, caches[0], ada, "exports", at=later)).allowed
