"""Vouchers: redeemed as often as they may be, once by each user, whole or not at all."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar import errors
from bursar.billing import catalog, customers, expiry, vouchers
from bursar.billing.catalog import Unit
from bursar.billing.vouchers import NewVoucher, Redeemed, Voucher
from bursar.checks.audit import audit
from bursar.clock import ShiftedClock
from bursar.db import Connection, Database
from bursar.ledger import balances
from people import make_customer, make_user

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("page", "Pages", 0, {}, {})])


async def make(db: Database, code: str | None = None, **fields: Any) -> Voucher:
    wanted = NewVoucher(unit="page", code=code, **{"credits": 20, **fields})
    async with db.transaction() as conn:
        return await vouchers.create(conn, wanted, at=NOW)


async def redeem(
    db: Database, code: str, user_id: str = "ada", *, at: datetime = NOW
) -> Redeemed | errors.Error:
    """Redeem for the user's own account; a refusal undoes everything and comes back as a value."""
    user = await make_user(db, user_id)

    async def work(conn: Connection) -> Redeemed:
        return await vouchers.redeem(
            conn, code, user_id=user.id, customer_id=user.customer_id, at=at
        )

    try:
        return await db.run(work)
    except errors.Error as error:
        return error


async def bonus(db: Database, user_id: str = "ada", at: datetime = NOW) -> int:
    customer_id = await make_customer(db, user_id)
    async with db.connection() as conn:
        return (await balances.balance(conn, customer_id, "page", at=at)).pools["bonus"]


async def uses(db: Database, voucher: Voucher) -> tuple[int, int]:
    """The count that the voucher has, and how many uses there are."""
    async with db.connection() as conn:
        kept = (await vouchers.get_voucher(conn, voucher.id)).uses
        listed = await conn.fetchval(
            "select count(*) from voucher_uses where voucher_id = $1", voucher.id
        )
    return kept, listed


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_a_voucher_gives_bonus_credits_once(db: Database) -> None:
    voucher = await make(db, "WELCOME")
    got = await redeem(db, "WELCOME")
    assert isinstance(got, Redeemed)
    assert (got.expires_at, got.balance) == (None, 20)
    assert isinstance(await redeem(db, "WELCOME"), errors.VoucherRedeemed)
    assert isinstance(await redeem(db, "WELCOME", "bob"), Redeemed)
    assert (await bonus(db), await bonus(db, "bob")) == (20, 20)
    assert await uses(db, voucher) == (2, 2)
    await assert_clean(db)


@pytest.mark.parametrize(
    "typed",
    ["spring-2026", " SPRING 2026 ", "spring2026", "S-P-R-I-N-G 2026", "Spring\u20132026\u00a0"],
)
async def test_case_spaces_and_dashes_do_not_matter(db: Database, typed: str) -> None:
    await make(db, "SPRING-2026")
    assert isinstance(await redeem(db, typed), Redeemed)


async def test_codes_that_differ_in_dashes_alone_are_one(db: Database) -> None:
    first = await make(db, "SPRING-2026")
    with pytest.raises(errors.VoucherExists):
        await make(db, "SPRING2026")
    async with db.transaction() as conn:
        assert await vouchers.end(conn, first.id)
    with pytest.raises(errors.VoucherExists):
        await make(db, "SPR-ING2026")


async def test_made_codes_have_no_look_alikes_and_are_all_different(db: Database) -> None:
    made = [(await make(db)).code for _ in range(20)]
    assert len(set(made)) == 20
    assert all(re.fullmatch("(?:[2-9A-HJ-NP-Z]{4}-){3}[2-9A-HJ-NP-Z]{4}", code) for code in made)


async def test_unknown_ended_and_others_look_alike(db: Database) -> None:
    await make_user(db, "bob")
    await make(db, "FORBOB", user_id="bob")
    ended = await make(db, "ENDED")
    async with db.transaction() as conn:
        assert await vouchers.end(conn, ended.id)
        assert not await vouchers.end(conn, ended.id)
    told = [await redeem(db, code) for code in ("NOTHING", "FORBOB", "ENDED", "", "\u00df", "%")]
    assert {(type(one), str(one)) for one in told} == {(errors.NotFound, str(told[0]))}
    assert isinstance(await redeem(db, "FORBOB", "bob"), Redeemed)
    assert await bonus(db) == 0


async def test_a_voucher_is_valid_from_its_start_up_to_its_end(db: Database) -> None:
    await make(db, "ADVENT", starts_at=NOW, ends_at=NOW + DAY)
    just = timedelta(microseconds=1)
    early = await redeem(db, "ADVENT", at=NOW - just)
    assert isinstance(early, errors.VoucherNotValid)
    assert "2026-11-21 12:00" in early.detail
    late = await redeem(db, "ADVENT", at=NOW + DAY)
    assert isinstance(late, errors.VoucherNotValid)
    assert isinstance(await redeem(db, "ADVENT", at=NOW), Redeemed)
    assert isinstance(await redeem(db, "ADVENT", "bob", at=NOW + DAY - just), Redeemed)


async def test_credits_with_days_end_by_timer_and_at_read_alike(db: Database) -> None:
    voucher = await make(db, "TRYOUT", credits_days=7)
    await make(db, "STAYS", credits=5)
    got = await redeem(db, "TRYOUT")
    await redeem(db, "STAYS")
    assert isinstance(got, Redeemed)
    ends = NOW + 7 * DAY
    assert got.expires_at == ends
    assert await bonus(db, at=ends - timedelta(microseconds=1)) == 25
    assert await bonus(db, at=ends) == 5
    async with db.connection() as conn:
        timer = await conn.fetchrow("select kind, reference, due_at from timers")
        customer_id = await make_customer(db, "ada")
        [ending] = await balances.list_ending(conn, customer_id, at=NOW, limit=5)
    assert timer is not None
    assert (timer["kind"], timer["due_at"]) == (expiry.TIMER, ends)
    assert timer["reference"] == f"{customer_id}:page:bonus:voucher:{voucher.id}:ada"
    assert (ending.unit, ending.pool, ending.amount, ending.ends_at) == ("page", "bonus", 20, ends)
    clock = ShiftedClock(ends - datetime.now(UTC))
    assert await expiry.expire(db, {}, timer["reference"], clock) is None
    assert await bonus(db) == 5
    await assert_clean(db)


async def test_fifty_at_once_share_the_last_use_by_one(db: Database) -> None:
    voucher = await make(db, "LAST", uses_max=1)
    people = [f"user {number}" for number in range(50)]
    told = await asyncio.gather(*(redeem(db, "last", one) for one in people))
    kinds = Counter(type(one) for one in told)
    assert kinds == {Redeemed: 1, errors.VoucherUsedUp: 49}
    assert sum([await bonus(db, one) for one in people]) == 20
    assert await uses(db, voucher) == (1, 1)
    await assert_clean(db)


async def test_twenty_at_once_by_one_user_give_once(db: Database) -> None:
    voucher = await make(db, "ONCE", uses_max=100)
    told = await asyncio.gather(*(redeem(db, "ONCE") for _ in range(20)))
    kinds = Counter(type(one) for one in told)
    assert kinds == {Redeemed: 1, errors.VoucherRedeemed: 19}
    assert await bonus(db) == 20
    assert await uses(db, voucher) == (1, 1)
    await assert_clean(db)


async def test_whoever_used_the_last_one_is_told_so(db: Database) -> None:
    await make(db, "LAST", uses_max=1)
    await redeem(db, "LAST")
    assert isinstance(await redeem(db, "LAST"), errors.VoucherRedeemed)


async def test_a_redemption_that_is_undone_leaves_nothing(db: Database) -> None:
    voucher = await make(db, "UNDONE", uses_max=1, credits_days=7)
    user = await make_user(db, "ada")

    async def break_off(conn: Connection) -> None:
        await vouchers.redeem(conn, "UNDONE", user_id="ada", customer_id=user.customer_id, at=NOW)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        await db.run(break_off)
    assert await uses(db, voucher) == (0, 0)
    assert await bonus(db) == 0
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from timers") == 0
    assert isinstance(await redeem(db, "UNDONE"), Redeemed)


async def test_an_end_waits_for_a_redemption_that_runs(db: Database) -> None:
    """Ended in the middle of a redemption: that one counts, the next one finds nothing."""
    voucher = await make(db, "MEETS")
    user = await make_user(db, "ada")

    async def end() -> bool:
        async with db.transaction() as conn:
            return await vouchers.end(conn, voucher.id)

    async with db.transaction() as conn:
        await vouchers.redeem(conn, "MEETS", user_id="ada", customer_id=user.customer_id, at=NOW)
        ending = asyncio.create_task(end())
        await asyncio.sleep(0.2)
        assert not ending.done()
    assert await ending
    assert isinstance(await redeem(db, "MEETS", "bob"), errors.NotFound)
    assert (await bonus(db), await bonus(db, "bob")) == (20, 0)


async def test_a_team_gets_what_its_member_redeems_for_it(db: Database) -> None:
    voucher = await make(db, "TEAM")
    await make_user(db, "ada")
    async with db.transaction() as conn:
        team = await customers.make_team(conn, "ada", "Team", at=NOW)
        got = await vouchers.redeem(conn, "TEAM", user_id="ada", customer_id=team, at=NOW)
    assert got.balance == 20
    assert await bonus(db) == 0
    assert isinstance(await redeem(db, "TEAM"), errors.VoucherRedeemed)
    assert await uses(db, voucher) == (1, 1)
