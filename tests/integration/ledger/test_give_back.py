"""Uses given back: to where they came from, never more than was used, once, under races."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.checks.audit import audit
from bursar.db import Connection, Database, open_pool
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, GiveBack, GivenBack, Posted, Posting
from people import make_customer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, LATE = NOW + timedelta(days=1), NOW + timedelta(days=9)


async def post(db: Database, *postings: Posting, at: datetime = NOW) -> list[Posted]:
    async def work(conn: Connection) -> list[Posted]:
        return await entries.post(conn, postings, at=at)

    return await db.run(work)


def gift(customer_id: int, amount: int, source: str, expires_at: datetime | None) -> Posting:
    return Posting(
        customer_id=customer_id,
        unit="credit",
        type="bonus",
        amount=amount,
        cause=Cause("test", f"{customer_id}:{source}", "gift"),
        pool="bonus",
        source=source,
        expires_at=expires_at,
    )


async def use(db: Database, customer_id: int, amount: int, cause: str = "use") -> int:
    """The id of a use of `amount`."""
    posting = Posting(
        customer_id=customer_id,
        unit="credit",
        type="usage",
        amount=-amount,
        cause=Cause("test", f"{customer_id}:{cause}", "use"),
    )
    [posted] = await post(db, posting)
    assert posted.outcome == "posted"
    assert posted.posting_id is not None
    return posted.posting_id


def back(
    customer_id: int, use_id: int, amount: int | None, cause: str, **fields: object
) -> GiveBack:
    return GiveBack(
        **{  # type: ignore[arg-type]
            "customer_id": customer_id,
            "posting_id": use_id,
            "amount": amount,
            "cause": Cause("test", cause, "give_back"),
            **fields,
        }
    )


async def give_back(db: Database, *wanted: GiveBack, at: datetime = NOW) -> list[GivenBack]:
    async def work(conn: Connection) -> list[GivenBack]:
        return await entries.give_back(conn, wanted, at=at)

    return await db.run(work)


async def by_account(db: Database, customer_id: int) -> dict[str, int]:
    """What lies on each of a customer's accounts, by source."""
    async with db.connection() as conn:
        rows = await conn.fetch(
            "select source, balance from ledger_accounts where customer_id = $1 order by id",
            customer_id,
        )
    return {row["source"]: row["balance"] for row in rows}


async def spendable(db: Database, customer_id: int, at: datetime = NOW) -> int:
    async with db.connection() as conn:
        return (await balances.balance(conn, customer_id, "credit", at=at)).spendable


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_the_whole_use_goes_back_when_no_amount_is_named(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 10, "a", SOON), gift(ada, 10, "b", None))
    used = await use(db, ada, 15)
    [given_back] = await give_back(db, back(ada, used, None, "1", description="failed"))
    assert (given_back.outcome, given_back.balance, given_back.returnable) == ("posted", 20, 15)
    assert await by_account(db, ada) == {"a": 10, "b": 10}
    async with db.connection() as conn:
        [newest, *_] = await balances.list_postings(conn, ada, unit=None, before=None, limit=1)
        reverses = await conn.fetchval("select max(reverses) from ledger_postings")
    assert (newest.id, newest.type, newest.amount) == (given_back.posting_id, "usage", 15)
    assert (newest.balance_after, newest.description, reverses) == (20, "failed", used)
    await assert_clean(db)


async def test_the_last_taken_comes_back_first_as_if_less_had_been_used(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 10, "a", SOON), gift(ada, 10, "b", LATE), gift(ada, 10, "c", None))
    used = await use(db, ada, 25)
    expected = [
        (3, {"a": 0, "b": 0, "c": 8}),
        (4, {"a": 0, "b": 2, "c": 10}),
        (9, {"a": 1, "b": 10, "c": 10}),
        (9, {"a": 10, "b": 10, "c": 10}),
    ]
    for number, (amount, left) in enumerate(expected):
        [answer] = await give_back(db, back(ada, used, amount, str(number)))
        assert answer.outcome == "posted"
        assert await by_account(db, ada) == left
        assert answer.balance == sum(left.values())
    await assert_clean(db)


async def test_what_returns_to_an_ended_account_ends_at_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 10, "a", SOON), gift(ada, 10, "b", LATE), gift(ada, 10, "c", None))
    used = await use(db, ada, 25)
    [answer] = await give_back(db, back(ada, used, None, "1"), at=LATE)
    assert (answer.outcome, answer.balance, answer.returnable) == ("posted", 10, 25)
    assert await by_account(db, ada) == {"a": 0, "b": 0, "c": 10}
    async with db.connection() as conn:
        rows = await balances.list_postings(conn, ada, unit=None, before=None, limit=2)
    moved = [(row.type, row.amount, row.balance_after) for row in rows]
    assert moved == [("expiry", -20, 10), ("usage", 25, 10)]
    [again] = await give_back(db, back(ada, used, None, "1"), at=LATE)
    assert (again.outcome, again.posting_id) == ("repeated", answer.posting_id)
    [more] = await give_back(db, back(ada, used, 1, "2"), at=LATE)
    assert (more.outcome, more.returnable) == ("refused", 0)
    await assert_clean(db)


async def test_more_than_is_left_is_refused_and_leaves_its_cause_free(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 10, "a", None))
    used = await use(db, ada, 10)
    answers = await give_back(
        db,
        back(ada, used, 11, "1"),
        back(ada, used, 6, "2"),
        back(ada, used, 5, "3"),
        back(ada, used, 4, "1"),
        back(ada, used, None, "4"),
    )
    found = [(answer.outcome, answer.balance, answer.returnable) for answer in answers]
    assert found == [
        ("refused", 0, 10),
        ("posted", 6, 10),
        ("refused", 6, 4),
        ("posted", 10, 4),
        ("refused", 10, 0),
    ]
    await assert_clean(db)


async def test_a_cause_gives_back_once_and_answers_the_same(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 10, "a", None))
    used = await use(db, ada, 10)
    [first] = await give_back(db, back(ada, used, 4, "1", request_hash=b"h"))
    await use(db, ada, 3, "other")
    [again] = await give_back(db, back(ada, used, 4, "1", request_hash=b"h"))
    [other] = await give_back(db, back(ada, used, 5, "1", request_hash=b"x"))
    assert (again.outcome, again.posting_id, again.balance) == ("repeated", first.posting_id, 4)
    assert other.outcome == "reused"
    assert await spendable(db, ada) == 1
    await assert_clean(db)


async def test_only_a_use_of_the_customers_own_is_known(db: Database) -> None:
    ada, bob = await make_customer(db, "ada"), await make_customer(db, "bob")
    [granted] = await post(db, gift(ada, 10, "a", None))
    assert granted.posting_id is not None
    used = await use(db, ada, 10)
    [returned] = await give_back(db, back(ada, used, 2, "part"))
    assert returned.posting_id is not None
    for customer_id, posting_id in (
        (bob, used),
        (ada, granted.posting_id),
        (ada, returned.posting_id),
        (ada, used + 1000),
    ):
        [answer] = await give_back(db, back(customer_id, posting_id, 1, "1"))
        assert (answer.outcome, answer.posting_id) == ("unknown", None)
    await assert_clean(db)


async def test_parallel_reversals_never_exceed_the_use(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 100, "a", SOON), gift(ada, 20, "b", None))
    used = await use(db, ada, 100)
    answers = await asyncio.gather(
        *(give_back(db, back(ada, used, 15, str(number))) for number in range(20))
    )
    outcomes = [answer[0].outcome for answer in answers]
    assert (outcomes.count("posted"), outcomes.count("refused")) == (6, 14)
    assert await spendable(db, ada) == 110
    await assert_clean(db)


async def test_one_cause_in_parallel_gives_back_once(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 100, "a", None))
    used = await use(db, ada, 100)
    answers = await asyncio.gather(*(give_back(db, back(ada, used, 5, "1")) for _ in range(20)))
    outcomes = sorted(answer[0].outcome for answer in answers)
    assert outcomes == ["posted"] + ["repeated"] * 19
    assert len({(answer[0].posting_id, answer[0].balance) for answer in answers}) == 1
    assert await spendable(db, ada) == 5


async def test_a_reversal_that_waited_on_the_lock_sees_what_came_before(db: Database) -> None:
    ada = await make_customer(db, "ada")
    await post(db, gift(ada, 10, "a", None))
    used = await use(db, ada, 10)
    async with db.transaction() as first:
        await entries.give_back(first, [back(ada, used, 8, "1")], at=NOW)
        second = asyncio.create_task(give_back(db, back(ada, used, 8, "2")))
        await asyncio.sleep(0.2)
        assert not second.done()
    assert [(a.outcome, a.returnable) for a in await second] == [("refused", 2)]
    assert await spendable(db, ada) == 8
    await assert_clean(db)


async def test_crossed_batches_of_two_customers_do_not_deadlock(db: Database) -> None:
    ada, bob = await make_customer(db, "ada"), await make_customer(db, "bob")
    await post(db, gift(ada, 50, "a", None), gift(bob, 50, "a", None))
    used = {ada: await use(db, ada, 50), bob: await use(db, bob, 50)}

    async def both(number: int) -> None:
        pair = [back(who, used[who], 1, f"{who}:{number}") for who in (ada, bob)]
        if number % 2:
            pair.reverse()
        async with db.transaction() as conn:
            await entries.give_back(conn, pair, at=NOW)

    await asyncio.gather(*(both(number) for number in range(30)))
    assert [await spendable(db, who) for who in (ada, bob)] == [30, 30]
    await assert_clean(db)


@pytest.mark.parametrize("amount", [0, -1, 10**12 + 1])
async def test_amounts_out_of_bounds_are_our_own_bug(db: Database, amount: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        await give_back(db, back(1, 1, amount, "a"))


def model(sizes: list[int], used: int, returned: int) -> list[int]:
    """What should lie on accounts of `sizes` after a use of `used` less `returned`."""
    rest = used - returned
    left = []
    for size in sizes:
        taken = min(size, rest)
        left.append(size - taken)
        rest -= taken
    return left


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    share=st.floats(0.05, 1.0),
    parts=st.lists(st.integers(1, 30), max_size=6),
)
def test_any_parts_given_back_leave_what_a_smaller_use_would_have(
    database_url: str, sizes: list[int], share: float, parts: list[int]
) -> None:
    async def check() -> None:
        async with await open_pool(database_url) as db:
            async with db.connection() as conn:
                number = await conn.fetchval("select count(*) from customers")
            ada = await make_customer(db, f"ada{number}")
            gifts = [
                gift(ada, size, f"{place}", NOW + timedelta(days=place + 1))
                for place, size in enumerate(sizes)
            ]
            await post(db, *gifts)
            amount = max(1, int(sum(sizes) * share))
            used = await use(db, ada, amount)
            returned = 0
            for place, part in enumerate(parts):
                [answer] = await give_back(db, back(ada, used, part, f"{ada}:{place}"))
                fits = returned + part <= amount
                assert answer.outcome == ("posted" if fits else "refused")
                returned += part if fits else 0
            expected = model(sizes, amount, returned)
            assert list((await by_account(db, ada)).values()) == expected
            await assert_clean(db)

    asyncio.run(check())
