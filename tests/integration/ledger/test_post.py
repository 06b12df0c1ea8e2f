"""The ledger's one function: what it gives and takes, once, under races and in batches."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bursar.checks.audit import audit
from bursar.db import Database
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from people import make_customer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def posting(customer_id: int, amount: int, cause: str, **fields: object) -> Posting:
    kind = "usage" if amount < 0 else "purchase"
    return Posting(
        **{  # type: ignore[arg-type]
            "customer_id": customer_id,
            "unit": "credit",
            "type": kind,
            "amount": amount,
            "cause": Cause("test", cause, kind),
            **fields,
        }
    )


async def post(db: Database, *postings: Posting) -> list[entries.Posted]:
    async def work(conn: asyncpg.Connection) -> list[entries.Posted]:
        return await entries.post(conn, postings, at=NOW)

    return await db.run(work)


async def balance(db: Database, customer_id: int, at: datetime = NOW) -> balances.Balance:
    async with db.connection() as conn:
        return await balances.balance(conn, customer_id, "credit", at=at)


async def assert_clean(db: Database) -> None:
    """Every invariant holds, but that purchases here have no payment behind them."""
    async with db.connection() as conn:
        found = await audit(conn)
    assert [finding for finding in found if finding.check != "credits_have_evidence"] == []


async def test_two_grants_to_one_account_in_one_batch_both_count(db: Database) -> None:
    ada = await make_customer(db, "ada")
    answers = await post(db, posting(ada, 100, "a"), posting(ada, 250, "b"))
    assert [(a.outcome, a.balance) for a in answers] == [("posted", 100), ("posted", 350)]
    assert (await balance(db, ada)).spendable == 350
    await assert_clean(db)


async def test_a_cause_posts_once_and_answers_the_same(db: Database) -> None:
    ada = await make_customer(db, "ada")
    first = await post(db, posting(ada, 100, "a", request_hash=b"h"))
    await post(db, posting(ada, 40, "b"))
    again = await post(db, posting(ada, 100, "a", request_hash=b"h"))
    assert again[0].outcome == "repeated"
    assert (again[0].posting_id, again[0].balance) == (first[0].posting_id, 100)
    other = await post(db, posting(ada, 100, "a", request_hash=b"x"))
    assert other[0].outcome == "reused"
    assert (await balance(db, ada)).spendable == 140
    await assert_clean(db)


async def test_a_cause_twice_in_one_batch_posts_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    answers = await post(db, posting(ada, 100, "a"), posting(ada, 100, "a"))
    assert [a.outcome for a in answers] == ["posted", "repeated"]
    assert (await balance(db, ada)).spendable == 100


async def test_parallel_posts_of_one_cause_post_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    answers = await asyncio.gather(*(post(db, posting(ada, 100, "a")) for _ in range(20)))
    outcomes = sorted(answer[0].outcome for answer in answers)
    assert outcomes == ["posted"] + ["repeated"] * 19
    assert (await balance(db, ada)).spendable == 100
    await assert_clean(db)


async def test_parallel_uses_never_overdraw(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, posting(ada, 100, "buy"))
    answers = await asyncio.gather(*(post(db, posting(ada, -10, f"use{n}")) for n in range(30)))
    outcomes = [answer[0].outcome for answer in answers]
    assert outcomes.count("posted") == 10
    assert outcomes.count("refused") == 20
    assert (await balance(db, ada)).spendable == 0
    await assert_clean(db)


async def test_a_refused_use_leaves_its_cause_free(db: Database) -> None:
    ada = await make_customer(db, "ada")
    assert (await post(db, posting(ada, -10, "use")))[0].outcome == "refused"
    await post(db, posting(ada, 10, "buy"))
    assert (await post(db, posting(ada, -10, "use")))[0].outcome == "posted"
    await assert_clean(db)


async def test_a_reader_who_waited_on_the_lock_sees_the_truth(db: Database) -> None:
    """The second poster begins before the first commits, and waits: its balance counts both."""
    ada = await make_customer(db, "ada")
    async with db.transaction() as first:
        await entries.post(first, [posting(ada, 100, "a")], at=NOW)
        second = asyncio.create_task(post(db, posting(ada, 1, "b")))
        await asyncio.sleep(0.2)
        assert not second.done()
    answer = await second
    assert (answer[0].outcome, answer[0].balance) == ("posted", 101)
    assert (await balance(db, ada)).spendable == 101
    await assert_clean(db)


async def test_a_use_that_waited_on_the_lock_does_not_overdraw(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, posting(ada, 100, "buy"))
    async with db.transaction() as first:
        await entries.post(first, [posting(ada, -80, "a")], at=NOW)
        second = asyncio.create_task(post(db, posting(ada, -80, "b")))
        await asyncio.sleep(0.2)
    assert [(a.outcome, a.balance) for a in await second] == [("refused", 20)]
    await assert_clean(db)


async def test_use_walks_plan_then_bonus_then_purchased_soonest_first(db: Database) -> None:
    ada = await make_customer(db, "ada")
    soon, late = NOW + timedelta(days=1), NOW + timedelta(days=9)
    await post(
        db,
        posting(ada, 10, "p"),
        posting(ada, 10, "b2", type="bonus", pool="bonus", source="g2", expires_at=late),
        posting(ada, 10, "b1", type="bonus", pool="bonus", source="g1", expires_at=soon),
        posting(ada, 10, "s", type="subscription", pool="plan", source="s:1", expires_at=late),
        posting(ada, -25, "use"),
    )
    left = await balance(db, ada)
    assert left.pools == {"plan": 0, "bonus": 5, "purchased": 10}
    # What is left of the bonus is the later one: a day on, nothing has expired.
    assert (await balance(db, ada, soon)).pools["bonus"] == 5
    await assert_clean(db)


async def test_expired_credits_are_neither_seen_nor_used(db: Database) -> None:
    ada = await make_customer(db, "ada")
    gone = NOW - timedelta(seconds=1)
    bonus = posting(ada, 10, "b", type="bonus", pool="bonus", source="g", expires_at=gone)
    await post(db, bonus)
    assert (await balance(db, ada)).spendable == 0
    assert (await post(db, posting(ada, -1, "use")))[0].outcome == "refused"


async def test_what_can_not_be_taken_back_is_owed_and_the_next_purchase_pays_it(
    db: Database,
) -> None:
    ada = await make_customer(db, "ada")
    await post(db, posting(ada, 1000, "a"), posting(ada, 1000, "b"), posting(ada, -1200, "use"))
    taken = await post(db, posting(ada, -1000, "r", type="refund"))
    assert taken[0].balance == 0
    owing = await balance(db, ada)
    assert (owing.spendable, owing.owed) == (0, 200)
    bonus = posting(ada, 50, "gift", type="bonus", pool="bonus", source="gift")
    await post(db, bonus)
    assert (await balance(db, ada)).owed == 200
    await post(db, posting(ada, 500, "c"))
    after = await balance(db, ada)
    assert (after.pools["purchased"], after.pools["bonus"], after.owed) == (300, 50, 0)
    await assert_clean(db)


async def test_crossed_batches_of_two_customers_do_not_deadlock(db: Database) -> None:
    ada, bob = await make_customer(db, "ada"), await make_customer(db, "bob")

    async def both(number: int) -> None:
        pair = [posting(ada, 1, f"a{number}"), posting(bob, 1, f"b{number}")]
        if number % 2:
            pair.reverse()
        async with db.transaction() as conn:
            await entries.post(conn, pair, at=NOW)

    await asyncio.gather(*(both(number) for number in range(40)))
    assert (await balance(db, ada)).spendable == 40
    assert (await balance(db, bob)).spendable == 40
    await assert_clean(db)


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_postings", "ledger_causes"])
async def test_the_ledger_is_append_only(db: Database, table: str) -> None:
    ada = await make_customer(db, "ada")
    await post(db, posting(ada, 1, "a"))
    for statement in (f"delete from {table}", f"update {table} set customer_id = 1"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            async with db.transaction() as conn:
                await conn.execute(statement)


@pytest.mark.parametrize("amount", [0, 10**12 + 1, -(10**12) - 1])
async def test_amounts_out_of_bounds_are_our_own_bug(db: Database, amount: int) -> None:
    ada = await make_customer(db, "ada")
    with pytest.raises(ValueError, match="out of bounds"):
        await post(db, posting(ada, amount, "a"))
