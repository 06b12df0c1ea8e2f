"""What nobody answered: lost calls, customers that are gone, sessions that no message closed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bursar import errors
from bursar.billing import cases, checkouts
from bursar.billing.payments import Payment
from bursar.entrypoints import worker
from worlds import World


class LaterClock:
    """The time, some while from now."""

    def __init__(self, world: World, later: timedelta) -> None:
        self._clock, self._later = world.wiring.clock, later

    def now(self) -> datetime:
        return self._clock.now() + self._later


async def timers(world: World) -> list[tuple[str, datetime]]:
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select reference, due_at from timers")
    return [(row["reference"], row["due_at"]) for row in rows]


async def check(world: World, payment: Payment, later: timedelta) -> datetime | None:
    clock = LaterClock(world, later)
    return await checkouts.check(world.wiring.db, world.wiring.providers, payment.reference, clock)


async def lose_the_answer(world: World, payment: Payment) -> None:
    """As if the provider's answer to the call had never come."""
    async with world.wiring.db.transaction() as conn:
        await conn.execute(
            "delete from provider_refs where kind = 'session' and ref = $1", payment.session_id
        )
        await conn.execute(
            "update payments set opening = 'unknown', session_id = null, session_url = null"
        )


async def test_an_open_session_is_looked_at_soon_later_and_after_its_end(world: World) -> None:
    payment = await world.open_checkout()
    assert payment.expires_at is not None
    soon, later = (payment.created_at + after for after in checkouts.CHECKED_OPEN)
    assert await timers(world) == [(payment.reference, soon)]
    assert await check(world, payment, timedelta(minutes=16)) == later
    end = payment.expires_at + checkouts.CHECK_AFTER
    assert await check(world, payment, timedelta(hours=3)) == end
    after = await check(world, payment, timedelta(hours=25))
    assert after is not None
    assert after > end


async def test_a_lost_webhook_costs_a_quarter_of_an_hour_and_not_a_day(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    [(_, due_at)] = await timers(world)
    assert due_at - payment.created_at <= timedelta(minutes=15)
    assert await check(world, payment, due_at - payment.created_at) is None
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 5


async def test_a_session_that_ends_soon_is_looked_at_no_later_for_it(world: World) -> None:
    payment = await world.open_checkout()
    short = payment.created_at + timedelta(minutes=30)
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update payments set expires_at = $1", short)
    assert await check(world, payment, timedelta(minutes=16)) == short + checkouts.CHECK_AFTER


async def test_a_paid_session_whose_webhooks_were_all_lost_is_found(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update timers set due_at = now()")
    await world.work()
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 5
    assert await timers(world) == []


async def test_a_session_that_is_still_open_is_looked_at_again(world: World) -> None:
    payment = await world.open_checkout()
    again = await check(world, payment, timedelta(hours=25))
    assert again is not None
    assert await check(world, payment, timedelta(days=31)) is None
    async with world.wiring.db.connection() as conn:
        assert [case.kind for case in await cases.list_cases(conn)] == ["unknown"]


async def test_a_lost_answer_is_asked_for_again_under_its_key(world: World) -> None:
    payment = await world.open_checkout()
    await lose_the_answer(world, payment)
    assert await check(world, payment, timedelta(minutes=3)) is None
    after = await world.payment(payment)
    assert (after.opening, after.session_id) == ("open", payment.session_id)


async def test_past_the_keys_life_it_is_found_by_our_reference(world: World) -> None:
    payment = await world.open_checkout()
    await lose_the_answer(world, payment)
    assert await check(world, payment, timedelta(hours=24)) is None
    after = await world.payment(payment)
    assert (after.opening, after.session_id) == ("open", payment.session_id)


async def test_what_the_provider_never_had_is_ended_and_not_repeated(world: World) -> None:
    payment = await world.open_checkout()
    await lose_the_answer(world, payment)
    reference = "7b7b7b7b-0000-4000-8000-000000000000"
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update payments set reference = $1::text::uuid", reference)
        await conn.execute(
            "update provider_refs set ref = $1 where ref = $2", reference, payment.reference
        )
    mine = replace(payment, reference=reference)
    assert await check(world, mine, timedelta(hours=24)) is None
    after = await world.payment(payment)
    assert (after.opening, after.status, after.session_id) == ("refused", "canceled", None)


async def test_a_customer_that_was_deleted_at_the_provider_is_made_anew(world: World) -> None:
    first = await world.open_checkout()
    session = world.stripe.v1.checkout.sessions.retrieve(str(first.session_id))
    world.stripe.v1.customers.delete(str(session.customer))
    second = await world.open_checkout()
    renewed = world.stripe.v1.checkout.sessions.retrieve(str(second.session_id))
    assert second.opening == "open"
    assert renewed.customer != session.customer


async def test_a_customer_that_the_provider_refuses_can_be_mended(world: World) -> None:
    async with world.wiring.db.transaction() as conn:
        await conn.execute("insert into users (id, email) values ('bob', 'no address at all')")
        await conn.execute("insert into customers (kind, user_id) values ('personal', 'bob')")
        await conn.execute(
            "insert into members select id, 'bob', 'owner' from customers where user_id = 'bob'"
        )
    with pytest.raises(errors.ProviderRejected):
        await world.open_checkout("bob")
    async with world.wiring.db.transaction() as conn:
        assert [
            tuple(row.values()) for row in await conn.fetch("select opening, state from payments")
        ] == [("refused", "canceled")]
        await conn.execute("update users set email = 'bob@example.com' where id = 'bob'")
    assert (await world.open_checkout("bob")).opening == "open"


async def test_an_event_whose_effect_failed_is_worked_again(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    async with world.wiring.db.connection() as conn:
        await conn.execute("alter table ledger_entries add constraint broken check (false)")
        await world.work()
        assert await world.balance(payment.customer_id) == 0
        await conn.execute("alter table ledger_entries drop constraint broken")
        await conn.execute("update inbox_queue set due_at = now()")
    await world.work()
    assert await world.balance(payment.customer_id) == 5


async def test_no_failure_ends_the_worker(world: World) -> None:
    stop = asyncio.Event()
    async with world.wiring.db.connection() as conn:
        await conn.execute("alter table inbox_queue rename to hidden")
    running = asyncio.create_task(worker.run(world.wiring, stop=stop))
    payment = await world.open_checkout()
    await world.pay(payment)
    await asyncio.sleep(0.5)
    assert not running.done()
    async with world.wiring.db.connection() as conn:
        await conn.execute("alter table hidden rename to inbox_queue")
    await world.deliver(await world.events_about(payment))
    for _ in range(200):
        if await world.balance(payment.customer_id) == 5:
            break
        await asyncio.sleep(0.05)
    stop.set()
    await running
    assert await world.balance(payment.customer_id) == 5
