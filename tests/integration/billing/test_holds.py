"""Holds: reserved once for each key, settled once, and given back by their timer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from api_server import make_settings
from bursar import errors
from bursar.access.actors import Actor
from bursar.billing import customers, holds, uses
from bursar.billing.holds import Capture, Captured, Opened, Release, Reserve, Standing
from bursar.billing.uses import Done, Request, Return
from bursar.checks.audit import audit
from bursar.clock import ShiftedClock
from bursar.db import Connection
from bursar.entrypoints import worker
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from bursar.ledger.holds import find_hold
from bursar.messages import outbox
from bursar.wiring import Wiring, opened

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def wiring(database_url: str, clock: ShiftedClock) -> AsyncIterator[Wiring]:
    """A deployment without a provider to call, audited when the test ends."""
    async with opened(make_settings(database_url), clock=clock) as parts:
        yield parts
        async with parts.db.connection() as conn:
            assert await audit(conn) == []


@pytest.fixture
async def ada(wiring: Wiring) -> int:
    """The customer of a user with 100 purchased credits."""
    return await make_customer(wiring, "ada", 100)


async def make_customer(wiring: Wiring, user_id: str, amount: int) -> int:
    async with wiring.db.transaction() as conn:
        user = await customers.ensure_user(conn, user_id, at=wiring.clock.now())
    await post(wiring, user.customer_id, amount)
    return user.customer_id


async def post(wiring: Wiring, customer_id: int, amount: int, **fields: object) -> None:
    """Purchased credits without a payment, or what `fields` say."""
    async with wiring.db.transaction() as conn:
        number = await conn.fetchval("select count(*) from ledger_causes")
        one = {
            "customer_id": customer_id,
            "unit": "credit",
            "type": "adjustment",
            "amount": amount,
            "cause": Cause("test", str(number), "test"),
            **fields,
        }
        [made] = await entries.post(conn, [Posting(**one)], at=wiring.clock.now())  # type: ignore[arg-type]
    assert made.outcome == "posted"


def request(
    customer_id: int, key: str, *, by: str = "service", about: str = "", said: str | None = None
) -> Request:
    digest = f"{key} {about}".encode()
    return Request(
        customer_id=customer_id, principal=by, key=key, request_hash=digest, description=said
    )


async def reserve(
    wiring: Wiring,
    customer_id: int,
    amount: int,
    key: str = "open",
    *,
    by: str = "service",
    lasting: timedelta = HOUR,
    refuse_owing: bool = False,
) -> Opened | errors.Error:
    asked = request(customer_id, key, by=by, about=str(amount))

    async def work(conn: Connection) -> list[Opened | errors.Error]:
        wanted = [Reserve(asked, "credit", amount, lasting)]
        at = wiring.clock.now()
        return await holds.open(conn, wanted, at=at, refuse_owing=refuse_owing)

    [outcome] = await wiring.db.run(work)
    return outcome


async def reserved(wiring: Wiring, customer_id: int, amount: int, key: str = "open") -> int:
    outcome = await reserve(wiring, customer_id, amount, key)
    assert isinstance(outcome, Opened)
    return outcome.hold_id


async def capture(
    wiring: Wiring,
    customer_id: int,
    hold_id: int,
    amount: int | None = None,
    key: str = "capture",
    *,
    by: str = "service",
) -> Captured | errors.Error:
    asked = request(customer_id, key, by=by, about=f"{hold_id} {amount}")

    async def work(conn: Connection) -> list[Captured | errors.Error]:
        return await holds.capture(conn, [Capture(asked, hold_id, amount)], at=wiring.clock.now())

    [outcome] = await wiring.db.run(work)
    return outcome


async def release(
    wiring: Wiring, customer_id: int, hold_id: int, by: str = "service"
) -> Standing | errors.Error:
    async def work(conn: Connection) -> list[Standing | errors.Error]:
        return await holds.release(conn, [Release(customer_id, by, hold_id)], at=wiring.clock.now())

    [outcome] = await wiring.db.run(work)
    return outcome


async def balance(wiring: Wiring, customer_id: int) -> tuple[int, int, int]:
    """Spendable, held, owed."""
    async with wiring.db.connection() as conn:
        found = await balances.balance(conn, customer_id, "credit", at=wiring.clock.now())
    return found.spendable, found.held, found.owed


async def state(wiring: Wiring, customer_id: int, hold_id: int) -> str:
    async with wiring.db.connection() as conn:
        found = await find_hold(conn, customer_id, hold_id)
    assert found is not None
    return found.state


async def count_timers(wiring: Wiring) -> int:
    async with wiring.db.connection() as conn:
        found: int = await conn.fetchval("select count(*) from timers where kind = 'hold.lapse'")
    return found


async def test_a_hold_lapses_by_its_timer_and_returns_everything(
    wiring: Wiring, clock: ShiftedClock, ada: int
) -> None:
    number = await reserved(wiring, ada, 70)
    assert await worker.work_timers(wiring) == 0
    assert await balance(wiring, ada) == (30, 70, 0)
    clock.offset = HOUR
    assert await worker.work_timers(wiring) == 1
    assert await state(wiring, ada, number) == "lapsed"
    assert await balance(wiring, ada) == (100, 0, 0)
    assert await count_timers(wiring) == 0
    assert isinstance(await capture(wiring, ada, number), errors.HoldClosed)


async def test_whoever_asks_is_told_of_a_lapse_once(
    wiring: Wiring, clock: ShiftedClock, ada: int
) -> None:
    async with wiring.db.transaction() as conn:
        await outbox.subscribe(conn, "host:test", ["credits.*"], at=clock.now())
    number = await reserved(wiring, ada, 70)
    clock.offset = HOUR
    await worker.work_timers(wiring)
    await holds.lapse(wiring.db, {}, f"{ada}:{number}", clock)
    async with wiring.db.connection() as conn:
        told = await outbox.list_messages(conn)
    assert [message.topic for message in told] == ["credits.hold_lapsed"]


async def test_a_closed_hold_leaves_no_timer(wiring: Wiring, ada: int) -> None:
    first, second = await reserved(wiring, ada, 10, "a"), await reserved(wiring, ada, 10, "b")
    assert await count_timers(wiring) == 2
    assert isinstance(await capture(wiring, ada, first, 4), Captured)
    assert isinstance(await release(wiring, ada, second), Standing)
    assert await count_timers(wiring) == 0
    assert await balance(wiring, ada) == (96, 0, 0)


async def test_a_timer_that_comes_early_waits_for_the_end(wiring: Wiring, ada: int) -> None:
    number = await reserved(wiring, ada, 70)
    reference = f"{ada}:{number}"
    again = await holds.lapse(wiring.db, {}, reference, wiring.clock)
    async with wiring.db.connection() as conn:
        found = await find_hold(conn, ada, number)
    assert found is not None
    assert again == found.expires_at
    assert found.state == "held"


async def test_settling_after_the_allowance_ended_works_and_what_returns_expires(
    wiring: Wiring, clock: ShiftedClock
) -> None:
    bob = await make_customer(wiring, "bob", 10)
    ends = wiring.clock.now() + HOUR / 2
    plan = {"type": "subscription", "pool": "plan", "source": "sub:march", "expires_at": ends}
    await post(wiring, bob, 50, **plan)
    number = await reserved(wiring, bob, 60)
    clock.offset = HOUR * 3 / 4
    done = await capture(wiring, bob, number, 20)
    assert isinstance(done, Captured)
    # Twenty of the plan's fifty were used; thirty came back too late, ten purchased in time.
    assert (done.captured, done.returned, done.balance) == (20, 40, 10)
    assert await balance(wiring, bob) == (10, 0, 0)
    async with wiring.db.connection() as conn:
        rows = await conn.fetch(
            "select type, amount from ledger_postings where hold_id = $1 order by id", number
        )
    assert [(r["type"], r["amount"]) for r in rows] == [
        ("release", 60),
        ("usage", -20),
        ("expiry", -30),
    ]


async def test_a_repeat_is_told_what_the_first_was_told(wiring: Wiring, ada: int) -> None:
    first = await reserve(wiring, ada, 70)
    assert isinstance(first, Opened)
    settled = await capture(wiring, ada, first.hold_id, 20)
    assert isinstance(settled, Captured)
    await post(wiring, ada, 500)
    again = await reserve(wiring, ada, 70)
    assert isinstance(again, Opened)
    assert again.repeated
    told = ("hold_id", "unit", "amount", "expires_at", "balance")
    assert [getattr(again, name) for name in told] == [getattr(first, name) for name in told]
    repeat = await capture(wiring, ada, first.hold_id, 20)
    assert isinstance(repeat, Captured)
    assert (repeat.transaction_id, repeat.balance) == (settled.transaction_id, settled.balance)
    assert isinstance(await reserve(wiring, ada, 71), errors.IdempotencyKeyReused)
    other = await capture(wiring, ada, first.hold_id, 21)
    assert isinstance(other, errors.IdempotencyKeyReused)
    assert await balance(wiring, ada) == (580, 0, 0)


async def test_refusals_leave_everything_as_it_was(wiring: Wiring, ada: int) -> None:
    bob = await make_customer(wiring, "bob", 100)
    assert isinstance(await reserve(wiring, ada, 101), errors.InsufficientCredits)
    number = await reserved(wiring, ada, 50)
    more = await capture(wiring, ada, number, 51)
    assert isinstance(more, errors.CaptureExceedsHold)
    assert more.errors[0]["field"] == "amount"
    assert "50" in more.detail
    assert isinstance(await capture(wiring, bob, number), errors.NotFound)
    assert isinstance(await release(wiring, bob, number), errors.NotFound)
    assert await balance(wiring, ada) == (50, 50, 0)
    # The same key works once what was asked for can be.
    assert isinstance(await capture(wiring, ada, number, 50, "capture"), Captured)
    assert isinstance(await release(wiring, ada, number), errors.HoldClosed)
    assert isinstance(await capture(wiring, ada, number, 50, "another"), errors.HoldClosed)
    assert await balance(wiring, ada) == (50, 0, 0)


async def test_a_release_may_be_repeated_and_says_the_same(wiring: Wiring, ada: int) -> None:
    number = await reserved(wiring, ada, 50)
    first = await release(wiring, ada, number)
    await post(wiring, ada, 500)
    assert isinstance(first, Standing)
    assert (first.hold.state, first.balance) == ("released", 100)
    assert await release(wiring, ada, number) == first
    assert isinstance(await capture(wiring, ada, number), errors.HoldClosed)


async def test_what_the_backend_reserved_no_user_settles_for_less_or_releases(
    wiring: Wiring, ada: int
) -> None:
    number = await reserved(wiring, ada, 90)
    assert isinstance(await capture(wiring, ada, number, 1, by="user:ada"), errors.Denied)
    assert isinstance(await release(wiring, ada, number, by="user:ada"), errors.Denied)
    assert await state(wiring, ada, number) == "held"
    own = await reserve(wiring, ada, 5, "own", by="user:ada")
    assert isinstance(own, Opened)
    # Another member of the same team may not close it; they themselves and the backend may.
    assert isinstance(await capture(wiring, ada, own.hold_id, 2, by="user:eve"), errors.Denied)
    assert isinstance(await capture(wiring, ada, own.hold_id, 2, by="user:ada"), Captured)
    assert isinstance(await capture(wiring, ada, number, 90), Captured)


async def test_a_captured_hold_is_given_back_like_any_use(wiring: Wiring, ada: int) -> None:
    await post(wiring, ada, 20, type="bonus", pool="bonus", source="gift")
    number = await reserved(wiring, ada, 60)
    done = await capture(wiring, ada, number, 50)
    assert isinstance(done, Captured)

    async def give_back(key: str, amount: int | None) -> uses.Outcome:
        async with wiring.db.transaction() as conn:
            asked = Return(request(ada, key), done.transaction_id, amount)
            [outcome] = await uses.give_back(
                conn, [asked], by=Actor("service", None, None), at=wiring.clock.now()
            )
        return outcome

    part = await give_back("part", 35)
    assert isinstance(part, Done)
    assert part.balance == 105
    async with wiring.db.connection() as conn:
        pools = (await balances.balance(conn, ada, "credit", at=wiring.clock.now())).pools
    # The last taken comes back first: thirty that were bought, then five of the bonus.
    assert pools == {"plan": 0, "bonus": 5, "purchased": 100}
    assert isinstance(await give_back("more", 16), errors.ReversalExceedsUse)
    rest = await give_back("rest", None)
    assert isinstance(rest, Done)
    assert rest.balance == 120


async def test_who_owes_reserves_nothing_where_that_is_set(wiring: Wiring, ada: int) -> None:
    await post(wiring, ada, 10, type="bonus", pool="bonus", source="gift")
    await post(wiring, ada, -130, type="refund")
    assert await balance(wiring, ada) == (10, 0, 30)
    assert isinstance(await reserve(wiring, ada, 10, refuse_owing=True), errors.CreditsOwed)
    assert isinstance(await reserve(wiring, ada, 11, refuse_owing=True), errors.InsufficientCredits)
    assert isinstance(await reserve(wiring, ada, 10, refuse_owing=False), Opened)


async def test_a_refund_takes_no_hold_and_its_lapse_pays_what_is_owed(
    wiring: Wiring, clock: ShiftedClock, ada: int
) -> None:
    await reserved(wiring, ada, 80)
    await post(wiring, ada, -100, type="refund")
    assert await balance(wiring, ada) == (0, 80, 80)
    clock.offset = HOUR
    await worker.work_timers(wiring)
    assert await balance(wiring, ada) == (0, 0, 0)


@pytest.mark.parametrize("turn", range(4))
async def test_of_capture_release_and_lapse_at_once_one_wins(
    wiring: Wiring, clock: ShiftedClock, ada: int, turn: int
) -> None:
    number = await reserved(wiring, ada, 80)
    clock.offset = HOUR
    ways = [
        lambda: capture(wiring, ada, number, 30),
        lambda: release(wiring, ada, number),
        lambda: holds.lapse(wiring.db, {}, f"{ada}:{number}", wiring.clock),
    ]
    ways = [*ways[turn % 3 :], *ways[: turn % 3]]
    await asyncio.gather(*(way() for _ in range(4) for way in ways), worker.work_timers(wiring))
    ended = await state(wiring, ada, number)
    assert ended in ("settled", "released", "lapsed")
    assert await balance(wiring, ada) == ((70, 0, 0) if ended == "settled" else (100, 0, 0))
    await worker.work_timers(wiring)
    assert await count_timers(wiring) == 0


async def test_many_holds_in_one_call_answer_in_their_order(wiring: Wiring, ada: int) -> None:
    async with wiring.db.transaction() as conn:
        wanted = [
            Reserve(request(ada, f"k{amount}"), "credit", amount, HOUR) for amount in (60, 50, 40)
        ]
        made = await holds.open(conn, wanted, at=wiring.clock.now())
    assert [type(one) for one in made] == [Opened, errors.InsufficientCredits, Opened]
    numbers = [one.hold_id for one in made if isinstance(one, Opened)]
    async with wiring.db.transaction() as conn:
        captures = [
            Capture(request(ada, f"c{number}"), number, 10)
            for number in (numbers[0], 0, numbers[1])
        ]
        done = await holds.capture(conn, captures, at=wiring.clock.now())
    assert [type(one) for one in done] == [Captured, errors.NotFound, Captured]
    assert [one.hold_id for one in done if isinstance(one, Captured)] == numbers
    assert await balance(wiring, ada) == (80, 0, 0)


async def test_a_hold_outside_the_bounds_of_time_is_a_fault_of_the_caller(
    wiring: Wiring, ada: int
) -> None:
    for lasting in (timedelta(seconds=59), timedelta(days=7, seconds=1)):
        with pytest.raises(ValueError, match="out of bounds"):
            await reserve(wiring, ada, 1, lasting=lasting)
