"""Subscriptions that are begun, changed and told of by many at once, in whatever order: one end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing import asking, checkouts, customers, refunds, subscription_changes
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints import worker
from bursar.providers.recurring import SubscriptionFact
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers
from subscription_troubles import (
    Between,
    Held,
    Slow,
    charges_of,
    invoices_of,
    opened_cases,
    slow,
    theirs,
    through,
    troubles,
    work_in_parallel,
)
from worlds import eventually, free_port, serving

HERE = "http://127.0.0.1:8000/account"


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    # Subscriptions of other tests would renew as the clock moves.
    control_client.reset(sandbox.base_url)
    async with selling(sandbox, database_url, tmp_path, CATALOG) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


class Overtaken(Between):
    """Somebody asks how the subscription stands between our question and the change itself."""

    def __init__(self, shop: Subscribers, row: Subscription) -> None:
        super().__init__(shop.world.wiring.provider("stripe"))
        self.shop, self.row = shop, row

    async def change_subscription(self, *asked: Any) -> SubscriptionFact:
        wiring = self.shop.world.wiring
        await asking.read(wiring.db, self._provider, self.row, clock=wiring.clock)
        found: SubscriptionFact = await self._provider.change_subscription(*asked)
        return found


async def postings(shop: Subscribers, customer_id: int) -> list[tuple[str, int]]:
    async with shop.world.wiring.db.connection() as conn:
        found = await conn.fetch(
            "select type, amount from ledger_postings where customer_id = $1 order by id",
            customer_id,
        )
    return [(row["type"], row["amount"]) for row in found]


async def test_twenty_subscribes_at_once_are_one_session_and_one_payment(
    shop: Subscribers,
) -> None:
    await shop.world.user("ada")
    answers = await asyncio.gather(
        *(shop.world.open_checkout("ada", plan="basic") for _ in range(20)), return_exceptions=True
    )
    # A provider may say that the very same is being opened just now; whoever asks again gets it.
    away = (errors.ProviderUnavailable, errors.ProviderUnknown)
    assert all(isinstance(answer, (Payment, *away)) for answer in answers), answers
    opened = [answer for answer in answers if isinstance(answer, Payment)]
    opened.append(await shop.world.open_checkout("ada", plan="basic"))
    assert len({(payment.id, payment.session_id) for payment in opened}) == 1
    sessions = shop.world.stripe.v1.checkout.sessions.list({"limit": 100}).data
    assert len([s for s in sessions if s.client_reference_id == opened[0].reference]) == 1
    await shop.world.pay(opened[0])
    await shop.hear()
    [row] = await shop.subscriptions(opened[0].customer_id)
    assert charges_of(shop, theirs(shop, row)) == [1500]
    assert await shop.balance(opened[0].customer_id) == 20


async def test_two_plans_of_a_group_begun_at_once_leave_one_to_pay(shop: Subscribers) -> None:
    user = await shop.world.user("ada")
    await asyncio.gather(
        *(
            shop.world.open_checkout("ada", plan=plan)
            for plan in ("basic", "pro", "basic", "pro", "basic", "pro")
        ),
        return_exceptions=True,
    )
    async with shop.world.wiring.db.connection() as conn:
        ids = await conn.fetch(
            "select session_id from payments where customer_id = $1 and session_id is not null",
            user.customer_id,
        )
    v1 = shop.world.stripe.v1
    statuses = [v1.checkout.sessions.retrieve(row["session_id"]).status for row in ids]
    assert statuses.count("open") <= 1, statuses
    last = await shop.world.open_checkout("ada", plan="pro")
    await shop.world.pay(last)
    await shop.hear()
    assert [row.plan for row in await shop.subscriptions(user.customer_id)] == ["pro"]
    assert await opened_cases(shop) == []
    assert await shop.balance(user.customer_id) == 50


@pytest.mark.parametrize("paid", [False, True], ids=["open", "paid"])
async def test_a_checkout_that_opens_after_another_of_its_group_is_closed_at_once(
    shop: Subscribers, paid: bool
) -> None:
    """It was begun first, and was not there yet to be closed when the other was opened."""
    world, usual = shop.world, shop.world.wiring
    await world.open_checkout("ada", plan="extra")
    slow = Slow(usual.provider("stripe"))
    world.wiring = through(usual, slow)
    first = asyncio.create_task(world.open_checkout("ada", plan="basic"))
    await slow.asked.wait()
    world.wiring = usual
    second = await world.open_checkout("ada", plan="pro")
    if paid:
        await world.pay(second)
        await shop.hear()
    slow.release.set()
    closed = await first
    sessions = world.stripe.v1.checkout.sessions
    assert sessions.retrieve(str(closed.session_id)).status == "expired"
    if not paid:
        assert sessions.retrieve(str(second.session_id)).status == "open"
        await world.pay(second)
    await shop.hear()
    assert (await world.payment(closed)).status in ("canceled", "expired")
    assert [row.plan for row in await shop.subscriptions(closed.customer_id)] == ["pro"]
    assert await shop.balance(closed.customer_id) == 50


async def test_two_plans_that_were_both_paid_are_found_as_a_duplicate(shop: Subscribers) -> None:
    """Paid between the refusal of a second and the closing of the first: both are stored at once,
    by workers who see nothing of each other."""
    first = await shop.subscribe("ada", "basic")
    row = await shop.subscription(first.customer_id)
    await shop.use_card(first.customer_id, "pm_card_visa")
    wanted: Any = {"customer": theirs(shop, row), "items": [{"price": row.price_id}]}
    for _ in range(3):
        shop.world.stripe.v1.subscriptions.create(wanted)
    with slow(shop, 1):
        new = [e for e in await shop.events() if e["id"] not in shop.heard]
        await shop.world.deliver(new)
        await work_in_parallel(shop)
    assert len(await shop.subscriptions(first.customer_id)) == 4
    assert await opened_cases(shop) == ["duplicate"] * 3
    assert await shop.balance(first.customer_id) == 80


async def test_ten_changes_at_once_are_one_and_cost_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    wiring = shop.world.wiring
    asked = Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind="change",
        plan="pro",
        proration="always_invoice",
        requested_by="test",
    )
    answers = await asyncio.gather(
        *(
            subscription_changes.request(wiring.db, wiring.providers, asked, clock=wiring.clock)
            for _ in range(10)
        ),
        return_exceptions=True,
    )
    # Each is told that it is so, or that somebody changes it at this moment.
    told = (Subscription, errors.SubscriptionNotChangeable)
    assert all(isinstance(answer, told) for answer in answers), answers
    done = [answer for answer in answers if isinstance(answer, Subscription)]
    assert {answer.plan for answer in done} == {"pro"}
    await shop.hear()
    charges = charges_of(shop, theirs(shop, row))
    assert (len(charges), charges[1]) == (2, 1500)
    assert len(invoices_of(shop, row)) == 2
    assert await shop.balance(payment.customer_id) == 50
    async with wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from subscription_changes") == 1


async def test_an_upgrade_and_a_downgrade_at_once_are_one_after_the_other(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    answers = await asyncio.gather(
        shop.change(row, plan="pro", proration="always_invoice"),
        shop.change(row, quantity=2, proration="always_invoice"),
        return_exceptions=True,
    )
    refused = [a for a in answers if isinstance(a, BaseException)]
    assert all(isinstance(error, errors.SubscriptionNotChangeable) for error in refused), refused
    await shop.hear()
    after = await shop.subscription(payment.customer_id)
    there = shop.world.stripe.v1.subscriptions.retrieve(row.subscription_id)
    item = there.to_dict()["items"]["data"][0]
    assert (after.price_id, after.quantity) == (item["price"]["id"], item["quantity"])
    made = 2 - len(refused)
    assert len(invoices_of(shop, row)) == 1 + made


async def test_answers_that_overtake_one_another_end_as_the_provider_has_it(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.advance(days=10)
    row = await shop.subscription(customer)
    ends = []
    for seed in range(4):
        # Stored in the middle, told in any order, each twice, by five workers.
        async with asyncio.TaskGroup() as group:
            before = {event["id"] for event in await shop.events()}
            plan = "pro" if seed % 2 == 0 else "basic"
            with slow(shop, seed):
                wiring = shop.world.wiring
                asked = Wanted(
                    customer_id=customer,
                    subscription_id=row.id,
                    kind="change",
                    plan=plan,
                    proration="always_invoice",
                    requested_by="test",
                )
                await subscription_changes.request(
                    wiring.db, wiring.providers, asked, clock=wiring.clock
                )
                new = [e for e in await shop.events() if e["id"] not in before] * 2
                random.Random(seed).shuffle(new)  # noqa: S311
                await shop.world.deliver(new)
                group.create_task(work_in_parallel(shop))
                await work_in_parallel(shop)
        after = await shop.subscription(customer)
        ends.append((after.plan, await shop.balance(customer)))
    # Up and down and up again: each time as the first time.
    assert ends[0] == ends[2] == ("pro", 50)
    assert ends[1] == ends[3]
    assert ends[1][0] == "basic"
    assert await troubles(shop) == []
    assert await opened_cases(shop) == []


async def test_an_older_answer_never_overwrites_a_newer_one(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.advance(days=10)
    row = await shop.subscription(customer)
    wiring = shop.world.wiring
    held = Held(wiring.provider("stripe"))
    [told] = [e for e in await shop.events() if e["type"] == "customer.subscription.created"]
    again = {**told, "id": "evt_told_once_more"}
    await shop.world.deliver([again])
    old = asyncio.create_task(worker.work_messages(through(wiring, held)))
    await held.asked.wait()
    # Nothing is invoiced for this change until the next period, so only the row tells of the plan.
    asked = Wanted(
        customer_id=customer,
        subscription_id=row.id,
        kind="change",
        plan="pro",
        requested_by="test",
    )
    newer = await subscription_changes.request(
        wiring.db, wiring.providers, asked, clock=wiring.clock
    )
    held.release.set()
    assert await old == 1
    after = await shop.subscription(customer)
    assert (after.plan, after.read_number) == ("pro", newer.read_number)
    assert await shop.features(customer) == {"history", "priority"}
    assert await shop.balance(customer) == 20
    assert await troubles(shop) == []


async def test_an_invoice_that_is_paid_is_not_taken_back_by_an_older_answer(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, "pm_card_chargeCustomerFail")
    await shop.advance(days=32)
    row = await shop.subscription(customer)
    assert row.status == "past_due"
    wiring = shop.world.wiring
    provider = wiring.provider("stripe")
    number = await asking.next_read(wiring.db)
    owed = await provider.fetch_subscription(subscription_id=row.subscription_id)
    await shop.use_card(customer, "pm_card_visa")
    await shop.advance(days=4)
    assert (await shop.subscription(customer)).status == "active"
    assert owed is not None
    for _ in range(2):
        told = asking.numbered([owed], number)
        await asking.take(wiring.db, told, clock=wiring.clock)
    assert (await shop.subscription(customer)).status == "active"
    assert [i.status for i in await shop.invoices(customer)] == ["paid", "paid"]
    assert await shop.balance(customer) == 20
    assert await shop.features(customer) == {"history"}


async def test_a_change_is_seen_though_somebody_asked_meanwhile(shop: Subscribers) -> None:
    """The later question was answered before the change was made: its answer is the older one."""
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    wiring = shop.world.wiring
    asked = Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind="change",
        plan="pro",
        proration="always_invoice",
        requested_by="test",
    )
    others = through(wiring, Overtaken(shop, row))
    after = await subscription_changes.request(
        wiring.db, others.providers, asked, clock=wiring.clock
    )
    assert after.plan == "pro"
    assert await shop.balance(payment.customer_id) == 50


async def test_one_message_worked_by_two_workers_at_once_counts_once(shop: Subscribers) -> None:
    payment = await shop.world.open_checkout("ada", plan="basic")
    await shop.world.pay(payment)
    [told] = [
        e
        for e in await shop.events()
        if e["id"] not in shop.heard and e["type"] == "customer.subscription.created"
    ]
    await shop.world.deliver([told])
    wiring = shop.world.wiring
    held = Held(wiring.provider("stripe"))
    # The first worker's lease runs out while it waits for an answer, and another takes over.
    first = asyncio.create_task(
        worker.work_messages(through(wiring, held, worker_lease_seconds=0.2))
    )
    await held.asked.wait()

    async def worked_off() -> bool:
        async with wiring.db.connection() as conn:
            return not await conn.fetchval("select exists (select from inbox_queue)")

    with serving(wiring.settings.model_copy(update={"port": free_port()})):
        await eventually(worked_off)
    held.release.set()
    await first
    await shop.world.work()
    assert await postings(shop, payment.customer_id) == [("subscription", 20)]
    assert await shop.balance(payment.customer_id) == 20
    async with wiring.db.connection() as conn:
        started = "select count(*) from outbox_messages where topic = 'subscription.started'"
        assert await conn.fetchval(started) <= 1
    assert await troubles(shop) == []


async def renewing(shop: Subscribers) -> tuple[Payment, list[dict[str, Any]]]:
    """A subscription at the moment of its renewal, of which nobody has heard yet."""
    payment = await shop.subscribe("ada", "basic")
    known = {event["id"] for event in await shop.events()}
    way, shop.way = shop.way, lambda _events: []
    await shop.advance(days=30, hours=23)
    async with shop.world.wiring.db.connection() as conn:
        await conn.execute("delete from timers where kind = 'subscription.check'")
    await shop.advance(days=1, hours=3)
    shop.way = way
    return payment, [event for event in await shop.events() if event["id"] not in known]


async def test_a_refund_beside_a_renewal_takes_back_its_own_period_only(
    shop: Subscribers,
) -> None:
    payment, told = await renewing(shop)
    wiring = shop.world.wiring
    wanted = refunds.Wanted(payment_id=payment.id, requested_by="admin")
    await shop.world.deliver(told)
    with slow(shop, 3):
        await asyncio.gather(
            refunds.request(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock),
            work_in_parallel(shop),
        )
    await shop.hear()
    assert (await shop.world.payment(payment)).status == "refunded"
    # Its period is over and its credits were not used: the next period's are paid for, and stay.
    pools = await shop.pools(payment.customer_id)
    assert (pools["plan"], pools["owed"]) == (20, 0)
    assert await troubles(shop) == []


async def test_an_end_beside_a_renewal_leaves_nothing_that_runs(shop: Subscribers) -> None:
    payment, told = await renewing(shop)
    row = await shop.subscription(payment.customer_id)
    await shop.world.deliver(told)
    with slow(shop, 4):
        wiring = shop.world.wiring
        wanted = Wanted(
            customer_id=row.customer_id,
            subscription_id=row.id,
            kind="cancel_now",
            requested_by="test",
        )
        await asyncio.gather(
            subscription_changes.request(wiring.db, wiring.providers, wanted, clock=wiring.clock),
            work_in_parallel(shop),
        )
    await shop.hear()
    assert (await shop.subscription(payment.customer_id)).status == "canceled"
    assert await shop.balance(payment.customer_id) == 0
    assert await shop.features(payment.customer_id) == set()
    assert invoices_of(shop, row) == [1500, 1500]
    assert await troubles(shop) == []


async def test_a_trial_begun_in_two_accounts_at_once_gives_its_credits_once(
    shop: Subscribers,
) -> None:
    world = shop.world
    user = await world.user("ada")
    async with world.wiring.db.transaction() as conn:
        team = await customers.make_team(conn, "ada", "Team", at=world.wiring.clock.now())
    accounts = (user.customer_id, team)
    opened = await asyncio.gather(
        *(
            checkouts.open(
                world.wiring.db,
                world.wiring.provider("stripe"),
                Order(
                    customer_id=account,
                    user=user,
                    plan="trial",
                    success_url=HERE,
                    cancel_url=HERE,
                ),
                clock=world.wiring.clock,
            )
            for account in accounts
        )
    )
    for payment in opened:
        await world.pay(payment)
    new = [e for e in await shop.events() if e["id"] not in shop.heard]
    await world.deliver(new)
    with slow(shop, 5):
        await work_in_parallel(shop)
    rows = [await shop.subscription(account) for account in accounts]
    assert {row.status for row in rows} == {"trialing"}
    assert sorted([await shop.balance(account) for account in accounts]) == [0, 5]
    async with world.wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from trials") == 1
