"""Grants and adjustments by hand: once for each key, with a line in the audit log for each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.access.audit_log import Entry
from bursar.billing import catalog, expiry, grants
from bursar.billing.catalog import Unit
from bursar.billing.grants import Done, Wanted
from bursar.checks.audit import audit
from bursar.clock import ShiftedClock
from bursar.db import Connection, Database
from bursar.ledger import balances, entries
from bursar.ledger.balances import Balance
from bursar.ledger.entries import Cause, Posting
from people import make_customer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADMIN = Actor("admin", None, None)
SOON, LATE = NOW + timedelta(days=1), NOW + timedelta(days=9)


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("page", "Pages", 0, {}, {})])


def wanted(customer_id: int, amount: int, key: str = "k", **fields: Any) -> Wanted:
    said = {"unit": None, "reason": "goodwill", "actor": ADMIN, "request_hash": b"h", **fields}
    return Wanted(customer_id=customer_id, amount=amount, key=key, **said)


async def grant(db: Database, one: Wanted, at: datetime = NOW) -> Done:
    async def work(conn: Connection) -> Done:
        return await grants.grant(conn, one, at=at)

    return await db.run(work)


async def adjust(db: Database, one: Wanted) -> Done:
    async def work(conn: Connection) -> Done:
        return await grants.adjust(conn, one, at=NOW)

    return await db.run(work)


async def balance(db: Database, customer_id: int, at: datetime = NOW) -> Balance:
    async with db.connection() as conn:
        return await balances.balance(conn, customer_id, "page", at=at)


async def log(db: Database) -> list[Entry]:
    """The audit log, the oldest line first."""
    async with db.connection() as conn:
        return (await audit_log.list_entries(conn, limit=100))[::-1]


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_a_grant_is_bonus_once_and_logged_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    first = await grant(db, wanted(ada, 50))
    again = await grant(db, wanted(ada, 50))
    assert (first.balance, first.unit, first.repeated) == (50, "page", False)
    assert (again.transaction_id, again.balance, again.repeated) == (
        first.transaction_id,
        50,
        True,
    )
    with pytest.raises(errors.IdempotencyKeyReused):
        await grant(db, wanted(ada, 50, request_hash=b"other"))
    assert (await balance(db, ada)).pools["bonus"] == 50
    [line] = await log(db)
    assert (line.actor, line.action, line.customer_id) == ("admin", "credits.granted", ada)
    assert line.subject == f"transaction:{first.transaction_id}"
    assert (line.reason, line.detail) == ("goodwill", {"unit": "page", "amount": 50})
    await assert_clean(db)


async def test_parallel_repeats_grant_and_log_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    done = await asyncio.gather(*(grant(db, wanted(ada, 50)) for _ in range(20)))
    assert [one.repeated for one in done].count(False) == 1
    assert len({one.transaction_id for one in done}) == 1
    assert (await balance(db, ada)).spendable == 50
    assert len(await log(db)) == 1


async def test_grants_with_different_ends_end_apart(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, wanted(ada, 5, "a", expires_at=LATE))
    await grant(db, wanted(ada, 7, "b", expires_at=SOON))
    await grant(db, wanted(ada, 9, "c"))
    assert (await balance(db, ada)).spendable == 21
    assert (await balance(db, ada, SOON)).spendable == 14
    assert (await balance(db, ada, LATE)).spendable == 9
    async with db.connection() as conn:
        ending = await balances.list_ending(conn, ada, at=NOW, limit=10)
        due = [row["reference"] for row in await conn.fetch("select * from timers order by due_at")]
    assert [(one.amount, one.ends_at) for one in ending] == [(7, SOON), (5, LATE)]
    clock = ShiftedClock(SOON - datetime.now(UTC))
    assert await expiry.expire(db, {}, due[0], clock) is None
    assert await expiry.expire(db, {}, due[1], clock) == LATE
    assert (await balance(db, ada)).spendable == 14
    await assert_clean(db)


async def test_an_end_that_has_passed_is_refused_but_a_repeat_is_answered(db: Database) -> None:
    ada = await make_customer(db, "ada")
    with pytest.raises(errors.Invalid, match="future"):
        await grant(db, wanted(ada, 5, expires_at=NOW))
    assert await log(db) == []
    first = await grant(db, wanted(ada, 5, expires_at=SOON))
    again = await grant(db, wanted(ada, 5, expires_at=SOON), at=LATE)
    assert (again.transaction_id, again.repeated) == (first.transaction_id, True)


async def owing(db: Database, customer_id: int, amount: int) -> None:
    refund = Posting(
        customer_id=customer_id,
        unit="page",
        type="refund",
        amount=-amount,
        cause=Cause("test", "refund", "refund"),
    )
    async with db.transaction() as conn:
        [posted] = await entries.post(conn, [refund], at=NOW)
    assert posted.outcome == "posted"


async def test_an_adjustment_upwards_pays_debt_first(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await owing(db, ada, 30)
    done = await adjust(db, wanted(ada, 50))
    assert done.balance == 20
    there = await balance(db, ada)
    assert (there.owed, there.pools["purchased"]) == (0, 20)


async def test_a_grant_pays_no_debt(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await owing(db, ada, 30)
    assert (await grant(db, wanted(ada, 50))).balance == 50
    assert (await balance(db, ada)).owed == 30


async def test_an_adjustment_downwards_goes_by_the_order_of_use(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await adjust(db, wanted(ada, 10, "up"))
    await grant(db, wanted(ada, 10, "gift"))
    assert (await adjust(db, wanted(ada, -12, "down"))).balance == 8
    assert (await balance(db, ada)).pools == {"plan": 0, "bonus": 0, "purchased": 8}
    assert [line.action for line in await log(db)] == [
        "credits.adjusted",
        "credits.granted",
        "credits.adjusted",
    ]
    await assert_clean(db)


async def test_an_adjustment_that_is_not_covered_is_refused_and_not_logged(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, wanted(ada, 10, "gift"))
    with pytest.raises(errors.InsufficientCredits, match="10"):
        await adjust(db, wanted(ada, -11))
    assert [line.action for line in await log(db)] == ["credits.granted"]
    assert (await adjust(db, wanted(ada, -10))).balance == 0


async def test_parallel_adjustments_never_take_more_than_there_is(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, wanted(ada, 10, "gift"))

    async def take(key: int) -> int:
        try:
            return (await adjust(db, wanted(ada, -3, f"take {key}"))).balance
        except errors.InsufficientCredits:
            return -1

    told = await asyncio.gather(*(take(key) for key in range(12)))
    assert sorted(told) == [-1] * 9 + [1, 4, 7]
    assert len(await log(db)) == 4
    await assert_clean(db)


async def test_a_key_of_a_grant_is_free_for_an_adjustment(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await grant(db, wanted(ada, 10))
    assert (await adjust(db, wanted(ada, -4))).balance == 6


async def test_the_house_and_strangers_are_nobody(db: Database) -> None:
    ada = await make_customer(db, "ada")

    async def found(**named: Any) -> int:
        async with db.transaction() as conn:
            return await grants.find_customer(conn, **named)

    assert await found(user_id="ada") == await found(customer_id=ada) == ada
    for nobody in ({"customer_id": 0}, {"customer_id": ada + 1000}, {"user_id": "eve"}):
        with pytest.raises(errors.NotFound):
            await found(**nobody)
