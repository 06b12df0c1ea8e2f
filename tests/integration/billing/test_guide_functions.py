"""add_credits and use_credits: by SQL, once for each payment, never more than there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pytest

from bursar.billing import catalog, customers
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from worlds import World

RATED = Unit("page", "Pages", 0, {"usd": Decimal(1)}, {"usd": (100, 1000)})
PLAIN = Unit("bell", "Bells", 0, {}, {})


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Database]:
    """A database with two units, audited in the end; `page` is meant when none is named."""
    async with db.transaction() as conn:
        await catalog.put_units(conn, [PLAIN, RATED])
    yield db
    async with db.connection() as conn:
        assert await audit(conn) == []


async def add(db: Database, *said: object) -> int:
    async with db.transaction() as conn:
        places = ", ".join(f"${number}" for number in range(1, len(said) + 1))
        return int(await conn.fetchval(f"select add_credits({places})", *said))


async def use(db: Database, user_id: str, amount: int, *description: str) -> bool:
    async with db.transaction() as conn:
        places = "$1, $2, $3" if description else "$1, $2"
        query = f"select use_credits({places})"
        return bool(await conn.fetchval(query, user_id, amount, *description))


async def listed(db: Database, user_id: str) -> list[tuple[str, int, str | None]]:
    async with db.connection() as conn:
        user = await customers.find_user(conn, user_id)
        assert user is not None
        rows = await balances.list_postings(
            conn, user.customer_id, unit=None, before=None, limit=100
        )
    return [(row.type, row.amount, row.description) for row in rows]


async def pools(db: Database, user_id: str) -> dict[str, int]:
    async with db.connection() as conn:
        user = await customers.find_user(conn, user_id)
        assert user is not None
        at = SystemClock().now()
        return (await balances.balance(conn, user.customer_id, "page", at=at)).pools


async def test_the_same_payment_adds_once_whoever_tells_of_it(shop: Database) -> None:
    told = await asyncio.gather(*(add(shop, "ada", 10, "purchase", "pi_1") for _ in range(12)))
    assert told == [10] * 12
    assert await listed(shop, "ada") == [("adjustment", 10, "purchase pi_1")]
    assert await add(shop, "ada", 3, "bonus", "pi_1") == 13
    assert await add(shop, "ada", 10, "purchase", "pi_2") == 23
    assert await use(shop, "ada", 20, "a job")
    assert await add(shop, "ada", 10, "purchase", "pi_1") == 3


async def test_without_a_payment_every_call_counts(shop: Database) -> None:
    assert await add(shop, "ada", 5, "bonus", None) == 5
    assert await add(shop, "ada", 5, "bonus") == 10
    assert [row[2] for row in await listed(shop, "ada")] == ["bonus", "bonus"]


async def test_each_type_goes_where_it_belongs(shop: Database) -> None:
    for amount, kind in enumerate(
        ("purchase", "bonus", "subscription", "refund", "adjustment"), start=1
    ):
        await add(shop, "ada", 10**amount, kind, None)
    assert await pools(shop, "ada") == {"plan": 1000, "bonus": 100, "purchased": 110010}
    assert [row[:2] for row in await listed(shop, "ada")] == [
        ("adjustment", 100000),
        ("refund", 10000),
        ("subscription", 1000),
        ("bonus", 100),
        ("adjustment", 10),
    ]


async def test_a_payment_told_with_other_figures_is_refused(shop: Database) -> None:
    await add(shop, "ada", 10, "purchase", "pi_1")
    for user_id, amount in (("ada", 11), ("bob", 10)):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="added credits before"):
            await add(shop, user_id, amount, "purchase", "pi_1")
    assert await add(shop, "ada", 10, "purchase", "pi_1") == 10
    async with shop.connection() as conn:
        assert await customers.find_user(conn, "bob") is None


async def test_a_payment_that_brought_credits_by_itself_adds_none_again(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    paid = await world.payment(payment)
    bought = await world.balance(payment.customer_id)
    assert bought > 0
    # The default unit of the shop's catalogue is another than the pack's.
    for reference in (paid.session_id, paid.payment_intent_id):
        assert await add(world.wiring.db, "ada", 5, "purchase", reference) == 0
    assert await add(world.wiring.db, "ada", 5, "purchase", "pi_of_somebody_else") == 5
    assert await world.balance(payment.customer_id) == bought


async def test_use_takes_all_or_nothing(shop: Database) -> None:
    await add(shop, "ada", 10, "purchase", None)
    assert not await use(shop, "ada", 11, "too much")
    assert await use(shop, "ada", 4, "a job")
    assert await use(shop, "ada", 6)
    assert not await use(shop, "ada", 1)
    assert [row for row in await listed(shop, "ada") if row[0] == "usage"] == [
        ("usage", -6, None),
        ("usage", -4, "a job"),
    ]


async def test_two_callers_racing_for_the_last_credits_do_not_both_get_them(
    shop: Database,
) -> None:
    for left in (3, 2, 1):
        await add(shop, "ada", left, "purchase", None)
        took = await asyncio.gather(*(use(shop, "ada", left) for _ in range(8)))
        assert sum(took) == 1
    assert await pools(shop, "ada") == {"plan": 0, "bonus": 0, "purchased": 0}


async def test_a_user_is_made_on_first_sight_by_adding_and_not_by_using(shop: Database) -> None:
    assert not await use(shop, "ada", 1)
    async with shop.connection() as conn:
        assert await customers.find_user(conn, "ada") is None
    await asyncio.gather(*(add(shop, "ada", 1, "bonus", None) for _ in range(8)))
    async with shop.connection() as conn:
        found = await conn.fetch(
            "select c.kind, m.role from users u join customers c on c.user_id = u.id"
            " join members m on m.customer_id = c.id and m.user_id = u.id"
        )
    assert [tuple(row) for row in found] == [("personal", "owner")]
    assert await pools(shop, "ada") == {"plan": 0, "bonus": 8, "purchased": 0}


async def test_added_credits_pay_what_is_owed_first(shop: Database) -> None:
    await add(shop, "ada", 1, "bonus", None)
    async with shop.transaction() as conn:
        user = await customers.find_user(conn, "ada")
        assert user is not None
        posting = Posting(
            customer_id=user.customer_id,
            unit="page",
            type="refund",
            amount=-30,
            cause=Cause("test", "owing", "refund"),
        )
        await entries.post(conn, [posting], at=SystemClock().now())
    assert await add(shop, "ada", 20, "bonus", None) == 21
    assert await add(shop, "ada", 20, "purchase", None) == 21
    assert await add(shop, "ada", 20, "purchase", None) == 31


async def test_the_clock_of_business_decides_what_has_ended(shop: Database) -> None:
    await add(shop, "ada", 5, "bonus", None)
    async with shop.transaction() as conn:
        user = await customers.find_user(conn, "ada")
        assert user is not None
        at = SystemClock().now()
        ends = await conn.fetchval("select now() + interval '1 day'")
        posting = Posting(
            customer_id=user.customer_id,
            unit="page",
            type="bonus",
            amount=100,
            cause=Cause("test", "dated", "gift"),
            pool="bonus",
            source="dated",
            expires_at=ends,
        )
        await entries.post(conn, [posting], at=at)
        await conn.execute("update business_clock set ahead_seconds = 90000")
    assert not await use(shop, "ada", 6)
    assert await add(shop, "ada", 1, "bonus", None) == 6
    async with shop.transaction() as conn:
        await conn.execute("update business_clock set ahead_seconds = 0")
    assert await use(shop, "ada", 100)


@pytest.mark.parametrize(
    "said",
    [
        (None, 1, "bonus", None),
        ("", 1, "bonus", None),
        ("a" * 129, 1, "bonus", None),
        ("a\nb", 1, "bonus", None),
        ("ada", None, "bonus", None),
        ("ada", 0, "bonus", None),
        ("ada", -1, "bonus", None),
        ("ada", 10**12 + 1, "bonus", None),
        ("ada", 2**63 - 1, "bonus", None),
        ("ada", 1, None, None),
        ("ada", 1, "gift", None),
        ("ada", 1, "Purchase", None),
        ("ada", 1, "bonus", ""),
        ("ada", 1, "bonus", "p" * 256),
        ("ada", 1, "bonus", "pi\x01"),
    ],
)
async def test_bad_input_is_refused_with_a_hint(shop: Database, said: tuple[object, ...]) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError) as caught:
        await add(shop, *said)
    assert caught.value.sqlstate == "22023"
    assert caught.value.hint
    if said[2] == "bonus" and said[3] is None:
        with pytest.raises(asyncpg.InvalidParameterValueError) as caught:
            await use(shop, *said[:2])  # type: ignore[arg-type]
        assert caught.value.hint


async def test_a_description_is_bounded(shop: Database) -> None:
    await add(shop, "ada", 2, "bonus", None)
    assert await use(shop, "ada", 1, "x" * 500)
    for text in ("x" * 501, "a\tb"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="p_description"):
            await use(shop, "ada", 1, text)


async def test_a_shop_without_a_unit_is_told_what_to_do(db: Database) -> None:
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError) as caught:
        await add(db, "ada", 1, "bonus", None)
    assert "bursar catalog push" in str(caught.value.hint)


async def test_the_unit_is_the_one_that_the_api_means(shop: Database) -> None:
    for units in ([], [Unit("aaa", "A", 0, {}, {})], [Unit("bbb", "B", 0, RATED.per_minor, {})]):
        async with shop.transaction() as conn:
            await catalog.put_units(conn, units)
            meant = await catalog.default_unit(conn)
        await add(shop, "ada", 1, "bonus", None)
        async with shop.connection() as conn:
            last = await conn.fetchval("select unit from ledger_postings order by id desc limit 1")
        assert last == meant
