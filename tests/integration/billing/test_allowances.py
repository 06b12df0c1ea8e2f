"""Allowances: what was paid for once per period, whatever plans were tried; ends and what moves on.
Ends of all kinds of dated credits: by timer and at read alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from bursar.billing import allowances, expiry, handlers
from bursar.billing.allowances import Allowance, Closed, Closing, Period, Rollover
from bursar.checks.audit import audit
from bursar.db import Connection, Database
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from bursar.messages import timers
from people import make_customer

T = TypeVar("T")

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = NOW + timedelta(days=30)
NEXT_END = END + timedelta(days=31)
LATER = timedelta(microseconds=1)


class StoppedClock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def period(customer_id: int, name: str = "2026-11") -> Period:
    return Period(customer_id, "page", "sub_1", name)


async def grant(
    db: Database, customer_id: int, *targets: int, at: datetime = NOW, ends_at: datetime = END
) -> list[int]:
    """Grant targets one after the other; returns what each brought."""
    brought = []
    for target in targets:
        one = Allowance(period=period(customer_id), target=target, ends_at=ends_at)
        brought += await run(db, lambda conn, one=one: allowances.grant(conn, [one], at=at))
    return brought


async def run(db: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    return await db.run(work)


async def close(
    db: Database, customer_id: int, *, cap: int | None = None, at: datetime = END
) -> Closed:
    rollover = Rollover(period(customer_id, "2026-12"), NEXT_END, cap) if cap is not None else None
    closing = Closing(period(customer_id), rollover)
    [closed] = await run(db, lambda conn: allowances.close(conn, [closing], at=at))
    return closed


async def use(db: Database, customer_id: int, amount: int, key: str = "use") -> None:
    posting = Posting(
        customer_id=customer_id,
        unit="page",
        type="usage",
        amount=-amount,
        cause=Cause("test", f"{customer_id}:{key}", "use"),
    )
    [posted] = await run(db, lambda conn: entries.post(conn, [posting], at=NOW))
    assert posted.outcome == "posted"


async def plan_at(db: Database, customer_id: int, at: datetime) -> int:
    async with db.connection() as conn:
        return (await balances.balance(conn, customer_id, "page", at=at)).pools["plan"]


async def movements(db: Database, customer_id: int) -> list[tuple[str, int]]:
    """Type and amount of every posting, the oldest first."""
    async with db.connection() as conn:
        rows = await balances.list_postings(conn, customer_id, unit=None, before=None, limit=100)
    return [(row.type, row.amount) for row in reversed(rows)]


async def work_timers(db: Database, at: datetime) -> int:
    """Do what the worker does with timers that are due; returns how many were."""
    clock = StoppedClock(at)
    async with db.transaction() as conn:
        due = await timers.claim(conn, at=at, limit=50, lease_seconds=60)
    for timer in due:
        again = await handlers.TIMERS[timer.kind](db, {}, timer.reference, clock)
        async with db.transaction() as conn:
            if again is None:
                assert await timers.finish(conn, timer)
            else:
                await timers.again(conn, timer, due_at=again, reason=None)
    return len(due)


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_toggling_plans_brings_the_greatest_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    assert await grant(db, ada, 100, 300, 100, 300) == [100, 200, 0, 0]
    assert await plan_at(db, ada, NOW) == 300
    assert await movements(db, ada) == [("subscription", 100), ("subscription", 200)]
    await assert_clean(db)


async def test_targets_of_one_call_count_by_the_greatest(db: Database) -> None:
    ada = await make_customer(db, "ada")
    told = [Allowance(period=period(ada), target=n, ends_at=END) for n in (100, 300, 200)]
    brought = await run(db, lambda conn: allowances.grant(conn, told, at=NOW))
    assert sum(brought) == 300
    assert await plan_at(db, ada, NOW) == 300
    await assert_clean(db)


async def test_parallel_grants_of_a_period_bring_it_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    brought = await asyncio.gather(*(grant(db, ada, 100 * (1 + n % 3)) for n in range(12)))
    assert sum(sum(one) for one in brought) == 300
    assert await plan_at(db, ada, NOW) == 300
    await assert_clean(db)


async def test_periods_and_customers_do_not_mix(db: Database) -> None:
    ada, bob = await make_customer(db, "ada"), await make_customer(db, "bob")
    told = [
        Allowance(period=period(bob), target=5, ends_at=END),
        Allowance(period=period(ada), target=7, ends_at=END),
        Allowance(period=period(ada, "2026-12"), target=9, ends_at=NEXT_END),
    ]
    assert await run(db, lambda conn: allowances.grant(conn, told, at=NOW)) == [5, 7, 9]
    assert await plan_at(db, ada, NOW) == 16
    assert await plan_at(db, ada, END) == 9
    assert await plan_at(db, bob, NOW) == 5


async def test_a_period_that_is_over_gets_nothing(db: Database) -> None:
    ada = await make_customer(db, "ada")
    assert await grant(db, ada, 100, at=END, ends_at=END) == [0]
    await grant(db, ada, 100)
    assert await grant(db, ada, 300, at=END) == [0]
    assert await movements(db, ada) == [("subscription", 100)]


async def test_end_by_timer_and_at_read_agree(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    await use(db, ada, 30)
    assert await work_timers(db, END - LATER) == 0
    assert await plan_at(db, ada, END - LATER) == 70
    assert await plan_at(db, ada, END) == 0
    assert await work_timers(db, END) == 1
    assert await plan_at(db, ada, END) == 0
    expected = [("subscription", 100), ("usage", -30), ("expiry", -70)]
    assert await movements(db, ada) == expected
    assert await work_timers(db, NEXT_END) == 0
    await assert_clean(db)


async def test_what_was_used_up_leaves_nothing_to_end(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 30)
    await use(db, ada, 30)
    assert await work_timers(db, END) == 1
    assert await movements(db, ada) == [("subscription", 30), ("usage", -30)]


async def test_a_timer_that_runs_twice_ends_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    reference = period(ada).account.reference
    clock = StoppedClock(END)
    acts = (expiry.expire(db, {}, reference, clock) for _ in range(8))
    assert await asyncio.gather(*acts) == [None] * 8
    assert await movements(db, ada) == [("subscription", 100), ("expiry", -100)]
    await assert_clean(db)


async def test_grace_moves_the_end_and_the_timer_follows(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    grace = END + timedelta(hours=72)
    ends = await run(db, lambda c: allowances.extend(c, [period(ada)], ends_at=grace, at=NOW))
    assert ends == [grace]
    assert await work_timers(db, END) == 1
    assert await plan_at(db, ada, grace - LATER) == 100
    assert await work_timers(db, grace - LATER) == 0
    assert await work_timers(db, grace) == 1
    assert await movements(db, ada) == [("subscription", 100), ("expiry", -100)]


async def test_what_has_ended_does_not_come_back(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    late = END + timedelta(days=3)
    moved = await run(db, lambda c: allowances.extend(c, [period(ada)], ends_at=late, at=END))
    assert moved == [END]
    assert await plan_at(db, ada, END) == 0


async def test_no_end_moves_into_the_past_and_unknown_periods_have_none(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    both = [period(ada), period(ada, "never")]
    past = NOW - timedelta(days=1)
    assert await run(db, lambda c: allowances.extend(c, both, ends_at=past, at=NOW)) == [NOW, None]
    assert await plan_at(db, ada, NOW - LATER) == 100
    assert await plan_at(db, ada, NOW) == 0


async def test_closing_moves_on_up_to_the_cap_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    await use(db, ada, 30)
    for at in (END, END, END + timedelta(days=1)):
        assert await close(db, ada, cap=50, at=at) == Closed(ended=70, moved=50)
    assert await movements(db, ada) == [
        ("subscription", 100),
        ("usage", -30),
        ("expiry", -70),
        ("subscription", 50),
    ]
    assert await plan_at(db, ada, NEXT_END - LATER) == 50
    assert await plan_at(db, ada, NEXT_END) == 0
    await assert_clean(db)


@pytest.mark.parametrize(("used", "cap", "moved"), [(90, 50, 10), (100, 50, 0), (30, 0, 0)])
async def test_what_moves_on_is_left_and_allowed(
    db: Database, used: int, cap: int, moved: int
) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    await use(db, ada, used)
    assert await close(db, ada, cap=cap) == Closed(ended=100 - used, moved=moved)
    assert await plan_at(db, ada, END) == moved


async def test_the_timer_before_the_closing_makes_no_difference(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    assert await work_timers(db, END) == 1
    assert await close(db, ada, cap=40, at=END + timedelta(hours=1)) == Closed(100, 40)
    assert await plan_at(db, ada, END + timedelta(hours=1)) == 40
    await assert_clean(db)


async def test_timer_and_closings_at_once_move_on_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    reference, clock = period(ada).account.reference, StoppedClock(END)
    closings = (close(db, ada, cap=40) for _ in range(6))
    acts = (expiry.expire(db, {}, reference, clock) for _ in range(6))
    told = await asyncio.gather(*closings, *acts)
    assert told == [Closed(100, 40)] * 6 + [None] * 6
    assert await plan_at(db, ada, END) == 40
    await assert_clean(db)


async def test_closing_early_ends_at_once_and_the_rest_of_the_grace_is_void(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    assert await close(db, ada, at=NOW + timedelta(days=1)) == Closed(ended=100, moved=0)
    assert await plan_at(db, ada, NOW + timedelta(days=1)) == 0
    assert await work_timers(db, END) == 1
    assert await movements(db, ada) == [("subscription", 100), ("expiry", -100)]


async def test_what_moved_on_is_no_part_of_the_next_target(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    await close(db, ada, cap=40)
    coming = Allowance(period=period(ada, "2026-12"), target=100, ends_at=NEXT_END)
    brought = await run(db, lambda conn: allowances.grant(conn, [coming], at=END))
    assert brought == [100]
    assert await plan_at(db, ada, END) == 140


async def test_nothing_moves_into_a_period_that_is_over(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, ada, 100)
    assert await close(db, ada, cap=40, at=NEXT_END) == Closed(ended=100, moved=0)
    assert await movements(db, ada) == [("subscription", 100), ("expiry", -100)]


async def test_a_closing_of_a_period_without_credits_does_nothing(db: Database) -> None:
    ada = await make_customer(db, "ada")
    assert await close(db, ada, cap=40) == Closed(0, 0)
    assert await movements(db, ada) == []


@pytest.mark.parametrize("name", ["", "a:b"])
def test_a_subscription_has_a_name_that_stays_apart(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Period(1, "page", name, "2026-11")
