"""Holds in the ledger: legs, settling, what comes back and where, and that one end wins."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bursar.checks.audit import audit
from bursar.db import Connection, Database
from bursar.ledger import balances, entries, holds
from bursar.ledger.entries import Cause, Pool, Posted, Posting, PostingType
from bursar.ledger.holds import Closed, Closing
from people import make_customer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
ENDS = NOW + timedelta(hours=1)


@pytest.fixture
async def ada(db: Database) -> int:
    return await make_customer(db, "ada")


async def post(
    db: Database,
    customer_id: int,
    kind: PostingType,
    amount: int,
    *,
    pool: Pool = "purchased",
    source: str = "",
    expires_at: datetime | None = None,
    refuse_owing: bool = False,
    at: datetime = NOW,
) -> Posted:
    """A posting of a cause of its own."""

    async def work(conn: Connection) -> Posted:
        number = await conn.fetchval("select count(*) from ledger_causes")
        one = Posting(
            customer_id=customer_id,
            unit="credit",
            type=kind,
            amount=amount,
            cause=Cause("test", str(number), kind),
            pool=pool,
            source=source,
            expires_at=expires_at,
        )
        [posted] = await entries.post(conn, [one], at=at, refuse_owing=refuse_owing)
        return posted

    return await db.run(work)


async def give(db: Database, customer_id: int, amount: int) -> None:
    """Purchased credits, without a payment."""
    await post(db, customer_id, "adjustment", amount)


async def hold(db: Database, customer_id: int, amount: int) -> int:
    posted = await post(db, customer_id, "hold", -amount, expires_at=ENDS)
    assert posted.outcome == "posted"
    assert posted.posting_id is not None
    return posted.posting_id


async def close(db: Database, closing: Closing, *, at: datetime = NOW) -> Closed:
    async def work(conn: Connection) -> Closed:
        [closed] = await holds.close(conn, [closing], at=at)
        return closed

    return await db.run(work)


def capturing(customer_id: int, hold_id: int, amount: int, key: str = "k") -> Closing:
    cause = Cause("client", f"{customer_id}:{key}", "capture")
    digest = f"{hold_id}:{amount}".encode()
    return Closing(
        customer_id=customer_id, hold_id=hold_id, captured=amount, cause=cause, request_hash=digest
    )


async def standing(db: Database, customer_id: int, at: datetime = NOW) -> tuple[int, int, int]:
    """Spendable, held, owed."""
    async with db.connection() as conn:
        found = await balances.balance(conn, customer_id, "credit", at=at)
    return found.spendable, found.held, found.owed


async def pools(db: Database, customer_id: int, at: datetime = NOW) -> dict[str, int]:
    async with db.connection() as conn:
        return (await balances.balance(conn, customer_id, "credit", at=at)).pools


async def state(db: Database, customer_id: int, hold_id: int) -> str:
    async with db.connection() as conn:
        found = await holds.find_hold(conn, customer_id, hold_id)
    assert found is not None
    return found.state


async def movements(db: Database, customer_id: int, hold_id: int) -> list[tuple[str, int]]:
    """What closing a hold posted, in order."""
    async with db.connection() as conn:
        rows = await conn.fetch(
            "select type, amount from ledger_postings where customer_id = $1 and hold_id = $2"
            " order by id",
            customer_id,
            hold_id,
        )
    return [(row["type"], row["amount"]) for row in rows]


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []


async def of_three_pools(db: Database, customer_id: int) -> None:
    """Thirty each of plan (which ends), bonus (which ends later) and purchased."""
    await give(db, customer_id, 30)
    await post(
        db, customer_id, "bonus", 30, pool="bonus", source="gift", expires_at=NOW + timedelta(9)
    )
    await post(
        db, customer_id, "subscription", 30, pool="plan", source="sub:march", expires_at=ENDS
    )


async def test_a_hold_takes_out_of_the_balance_and_no_other_use_gets_it(
    db: Database, ada: int
) -> None:
    await give(db, ada, 100)
    await hold(db, ada, 70)
    assert await standing(db, ada) == (30, 70, 0)
    assert (await post(db, ada, "usage", -31)).outcome == "refused"
    assert (await post(db, ada, "hold", -31, expires_at=ENDS)).outcome == "refused"
    assert (await post(db, ada, "usage", -30)).outcome == "posted"
    await assert_clean(db)


async def test_legs_of_three_pools_settle_in_the_order_of_use(db: Database, ada: int) -> None:
    await of_three_pools(db, ada)
    number = await hold(db, ada, 80)
    assert await pools(db, ada) == {"plan": 0, "bonus": 0, "purchased": 10}
    closed = await close(db, capturing(ada, number, 45))
    assert (closed.outcome, closed.captured, closed.returned) == ("posted", 45, 35)
    assert closed.balance == 45
    # Plan whole, half of the bonus; the other half and what was bought came back.
    assert await pools(db, ada) == {"plan": 0, "bonus": 15, "purchased": 30}
    assert await standing(db, ada) == (45, 0, 0)
    assert await movements(db, ada, number) == [("release", 80), ("usage", -45)]
    assert await state(db, ada, number) == "settled"
    await assert_clean(db)


async def test_settling_works_after_the_allowance_ended_and_what_returns_expires(
    db: Database, ada: int
) -> None:
    await of_three_pools(db, ada)
    number = await hold(db, ada, 50)
    closed = await close(db, capturing(ada, number, 10), at=LATER)
    # Of the plan's 30 ten were used, and 20 came back to an account that has ended; the bonus's
    # twenty are there again.
    assert (closed.outcome, closed.captured, closed.returned) == ("posted", 10, 40)
    assert closed.balance == 60
    assert await pools(db, ada, at=LATER) == {"plan": 0, "bonus": 30, "purchased": 30}
    found = await movements(db, ada, number)
    assert found == [("release", 50), ("usage", -10), ("expiry", -20)]
    async with db.connection() as conn:
        assert (
            await conn.fetchval("select sum(balance) from ledger_accounts where pool='plan'") == 0
        )
    await assert_clean(db)


async def test_a_lapsed_hold_returns_everything_to_where_it_was(db: Database, ada: int) -> None:
    await of_three_pools(db, ada)
    number = await hold(db, ada, 80)
    closed = await close(db, Closing(customer_id=ada, hold_id=number, state="lapsed"))
    assert (closed.outcome, closed.captured, closed.returned) == ("posted", 0, 80)
    assert await pools(db, ada) == {"plan": 30, "bonus": 30, "purchased": 30}
    assert await state(db, ada, number) == "lapsed"
    again = await close(db, Closing(customer_id=ada, hold_id=number))
    assert (again.outcome, again.posting_id, again.balance) == (
        "repeated",
        closed.posting_id,
        closed.balance,
    )
    assert await state(db, ada, number) == "lapsed"
    await assert_clean(db)


async def test_a_refund_never_robs_a_hold_and_its_release_pays_the_debt(
    db: Database, ada: int
) -> None:
    await give(db, ada, 100)
    number = await hold(db, ada, 80)
    await post(db, ada, "refund", -100)
    # Twenty were there; eighty are owed while the hold keeps its eighty.
    assert await standing(db, ada) == (0, 80, 80)
    closed = await close(db, Closing(customer_id=ada, hold_id=number))
    assert (closed.outcome, closed.balance) == ("posted", 0)
    assert await standing(db, ada) == (0, 0, 0)
    await assert_clean(db)


async def test_a_capture_stays_whole_while_credits_are_owed_and_the_rest_pays(
    db: Database, ada: int
) -> None:
    await give(db, ada, 100)
    number = await hold(db, ada, 100)
    await post(db, ada, "refund", -70)
    closed = await close(db, capturing(ada, number, 60))
    assert (closed.outcome, closed.captured, closed.returned, closed.balance) == (
        "posted",
        60,
        40,
        0,
    )
    assert await standing(db, ada) == (0, 0, 30)
    await assert_clean(db)


async def test_bonus_that_comes_back_pays_no_debt(db: Database, ada: int) -> None:
    await post(db, ada, "bonus", 50, pool="bonus", source="gift")
    number = await hold(db, ada, 50)
    await post(db, ada, "refund", -70)
    await close(db, Closing(customer_id=ada, hold_id=number))
    assert await standing(db, ada) == (50, 0, 70)
    await assert_clean(db)


async def test_who_owes_reserves_nothing_where_that_is_forbidden(db: Database, ada: int) -> None:
    await post(db, ada, "bonus", 50, pool="bonus", source="gift")
    await post(db, ada, "refund", -1)
    asked = {"expires_at": ENDS, "refuse_owing": True}
    assert (await post(db, ada, "hold", -10, **asked)).outcome == "owing"  # type: ignore[arg-type]
    assert (await post(db, ada, "hold", -51, **asked)).outcome == "refused"  # type: ignore[arg-type]
    await give(db, ada, 1)
    assert (await post(db, ada, "hold", -10, **asked)).outcome == "posted"  # type: ignore[arg-type]
    await assert_clean(db)


async def test_more_than_is_held_a_closed_hold_and_a_foreign_one_are_refused(
    db: Database, ada: int
) -> None:
    bob = await make_customer(db, "bob")
    await give(db, ada, 100)
    number = await hold(db, ada, 50)
    assert (await close(db, capturing(ada, number, 51))).outcome == "refused"
    assert (await close(db, capturing(bob, number, 50))).outcome == "unknown"
    foreign = await close(db, Closing(customer_id=bob, hold_id=number))
    assert foreign.outcome == "unknown"
    assert await standing(db, ada) == (50, 50, 0)
    assert (await close(db, capturing(ada, number, 50))).outcome == "posted"
    assert (await close(db, capturing(ada, number, 50, "other"))).outcome == "closed"
    assert (await close(db, capturing(ada, number, 49))).outcome == "reused"
    await assert_clean(db)


async def test_thirty_parallel_captures_of_one_cause_have_one_effect(
    db: Database, ada: int
) -> None:
    await give(db, ada, 100)
    number = await hold(db, ada, 80)
    closing = capturing(ada, number, 30)
    closed = await asyncio.gather(*(close(db, closing) for _ in range(30)))
    outcomes = [one.outcome for one in closed]
    assert (outcomes.count("posted"), outcomes.count("repeated")) == (1, 29)
    assert {(c.posting_id, c.balance, c.captured, c.returned) for c in closed} == {
        (closed[0].posting_id, 70, 30, 50)
    }
    assert await standing(db, ada) == (70, 0, 0)
    await assert_clean(db)


@pytest.mark.parametrize("first", range(6))
async def test_of_capture_release_and_lapse_at_once_one_wins(
    db: Database, ada: int, first: int
) -> None:
    await of_three_pools(db, ada)
    number = await hold(db, ada, 80)
    ways = [
        capturing(ada, number, 45),
        Closing(customer_id=ada, hold_id=number),
        Closing(customer_id=ada, hold_id=number, state="lapsed"),
    ]
    ways = [*ways[first % 3 :], *ways[: first % 3]] * 3
    closed = await asyncio.gather(*(close(db, way) for way in ways))
    assert [one.outcome for one in closed].count("posted") == 1
    won = ways[[one.outcome for one in closed].index("posted")]
    if won.captured:
        assert await state(db, ada, number) == "settled"
        assert await standing(db, ada) == (45, 0, 0)
    else:
        assert await state(db, ada, number) == won.state
        assert await standing(db, ada) == (90, 0, 0)
    await assert_clean(db)


async def test_holds_of_two_customers_close_in_any_order_without_a_deadlock(db: Database) -> None:
    ada, bob = await make_customer(db, "ada"), await make_customer(db, "bob")
    pairs = []
    for _ in range(10):
        for customer_id in (ada, bob):
            await give(db, customer_id, 10)
        pairs.append((await hold(db, ada, 10), await hold(db, bob, 10)))

    async def both(turned: bool, mine: int, other: int) -> list[Closed]:
        async with db.transaction() as conn:
            closings = [
                Closing(customer_id=ada, hold_id=mine),
                Closing(customer_id=bob, hold_id=other),
            ]
            return await holds.close(conn, closings[::-1] if turned else closings, at=NOW)

    found = await asyncio.gather(
        *(both(turned, *pair) for pair in pairs for turned in (False, True))
    )
    assert [one.outcome for pair in found for one in pair].count("posted") == 20
    assert await standing(db, ada) == await standing(db, bob) == (100, 0, 0)
    await assert_clean(db)
