"""Subscriptions while the provider fails, is away, or loses its answers: money moves once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing import portal, subscription_changes
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions.rows import Subscription
from bursar.providers.stripe import Stripe
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers
from subscription_troubles import failing, money_of, opened_cases, replaying, untold, value
from worlds import SECRET_KEY, WEBHOOK_SECRET, free_port


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    # Subscriptions of other tests would renew as the clock moves.
    control_client.reset(sandbox.base_url)
    async with selling(sandbox, database_url, tmp_path, CATALOG) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


def wanted_of(row: Subscription, kind: subscription_changes.Kind, **wanted: Any) -> Wanted:
    return Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind=kind,
        requested_by="test",
        **wanted,
    )


async def request(shop: Subscribers, wanted: Wanted) -> Subscription:
    wiring = shop.world.wiring
    return await subscription_changes.request(
        wiring.db, wiring.providers, wanted, clock=wiring.clock
    )


FAULTS = ["api_500_after", "api_timeout_after"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_change_whose_answer_was_lost_is_found_made_and_costs_once(
    shop: Subscribers, fault: str
) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    async with failing(shop, "/v1/subscriptions", **{fault: 1.0}):
        after = await request(
            shop, wanted_of(row, "change", plan="pro", proration="always_invoice")
        )
    assert after.plan == "pro"
    assert await value(shop.world, "select state from subscription_changes") == "done"
    await shop.hear()
    charges, invoices = money_of(shop, row)
    assert charges == invoices
    assert len(charges) == 2
    assert await shop.balance(payment.customer_id) == 50


@pytest.mark.parametrize("fault", [*FAULTS, "api_timeout", "api_500"])
async def test_an_end_whose_answer_was_lost_comes_about(shop: Subscribers, fault: str) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    async with failing(shop, "/v1/subscriptions", **{fault: 1.0}):
        if fault in FAULTS:
            assert (await request(shop, wanted_of(row, "cancel"))).cancel_at is not None
        else:
            with pytest.raises(errors.ProviderUnknown):
                await request(shop, wanted_of(row, "cancel"))
    async with shop.world.wiring.db.transaction() as conn:
        await conn.execute("update timers set due_at = now() where kind = 'subscription.change'")
    await shop.world.work()
    assert await value(shop.world, "select state from subscription_changes") == "done"
    assert (await shop.subscription(payment.customer_id)).cancel_at == row.period_end


async def test_a_failure_replayed_under_the_key_does_not_hold_up_a_customer_for_a_day(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    change = wanted_of(row, "change", plan="pro", proration="always_invoice")
    with replaying(shop, "change_subscription") as provider:
        with pytest.raises(errors.ProviderUnknown):
            await request(shop, change)
        provider.fails = False
        # It works again, but what became of the first is open yet.
        with pytest.raises(errors.SubscriptionNotChangeable):
            await request(shop, change)
        await shop.advance(hours=1, step=timedelta(minutes=10))
        assert await value(shop.world, "select state from subscription_changes") == "refused"
        assert (await shop.subscription(payment.customer_id)).plan == "basic"
        assert money_of(shop, row) == ([1500], [1500])
        assert (await request(shop, change)).plan == "pro"
    await shop.hear()
    assert len(money_of(shop, row)[0]) == 2
    assert await shop.balance(payment.customer_id) == 50


async def test_a_declined_card_refuses_a_change_and_leaves_everything(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.use_card(payment.customer_id, "pm_card_chargeCustomerFail")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    change = wanted_of(row, "change", plan="pro", proration="always_invoice")
    with pytest.raises(errors.ProviderRejected):
        await request(shop, change)
    await shop.hear()
    assert await value(shop.world, "select state from subscription_changes") == "refused"
    assert (await shop.subscription(payment.customer_id)).plan == "basic"
    assert await shop.balance(payment.customer_id) == 20
    await shop.use_card(payment.customer_id, "pm_card_visa")
    assert (await request(shop, change)).plan == "pro"


async def test_a_preview_or_a_portal_that_fails_changes_nothing(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    wiring, change = shop.world.wiring, wanted_of(row, "change", plan="pro")
    for fault in ("api_500", "api_timeout"):
        async with failing(shop, "/v1/invoices", "/v1/billing_portal", **{fault: 1.0}):
            there = shop.world.wiring
            with pytest.raises(errors.ProviderUnknown):
                await subscription_changes.preview(
                    there.db, there.providers, change, clock=there.clock
                )
            with pytest.raises(errors.ProviderUnknown):
                await open_portal(shop, row.customer_id)
    told = await subscription_changes.preview(
        wiring.db, wiring.providers, change, clock=wiring.clock
    )
    assert told.currency == "usd"
    assert (await open_portal(shop, row.customer_id)).startswith(shop.world.sandbox.base_url)
    assert await value(shop.world, "select count(*) from subscription_changes") == 0
    assert (await shop.subscription(row.customer_id)) == row


async def open_portal(shop: Subscribers, customer_id: int) -> str:
    wiring = shop.world.wiring
    there = "http://127.0.0.1:8000/account"
    return await portal.open(wiring.db, wiring.provider("stripe"), customer_id, return_url=there)


async def test_a_message_waits_for_a_provider_that_is_away(shop: Subscribers) -> None:
    payment = await shop.world.open_checkout("ada", plan="basic")
    await shop.world.pay(payment)
    told = [e for e in await untold(shop) if e["type"].startswith("customer.subscription")]
    usual = shop.world.wiring
    nowhere = Stripe(
        secret_key=SECRET_KEY,
        webhook_secrets=[WEBHOOK_SECRET],
        base=f"http://127.0.0.1:{free_port()}",
        live=False,
        retries=0,
    )
    await shop.world.deliver(told)
    shop.world.wiring = replace(usual, providers={"stripe": nowhere})
    await shop.world.work()
    assert await shop.subscriptions(payment.customer_id) == []
    waiting = "select count(*) from inbox_queue"
    assert await value(shop.world, waiting) == len(told)
    await nowhere.close()
    shop.world.wiring = usual
    async with usual.db.transaction() as conn:
        await conn.execute("update inbox_queue set due_at = now()")
    await shop.world.work()
    assert await value(shop.world, waiting) == 0
    assert (await shop.subscription(payment.customer_id)).status == "active"
    assert await shop.balance(payment.customer_id) == 20


async def test_dunning_that_fails_ends_the_subscription_later_and_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, "pm_card_chargeCustomerFail")
    row = await shop.subscription(customer)
    with replaying(shop, "steer_subscription") as provider:
        await shop.advance(days=30)
        for _ in range(20):
            await shop.advance(hours=18)
            if await value(shop.world, "select count(*) from subscription_changes"):
                break
        assert provider.keys
        assert (await shop.subscription(customer)).status == "past_due"
        provider.fails = False
        await shop.advance(days=2, step=timedelta(hours=6))
        # Each try has a key of its own once the one before is known to have done nothing.
        assert (await shop.subscription(customer)).status == "canceled"
    assert await shop.balance(customer) == 0
    assert money_of(shop, row)[0] == [1500]
    assert await opened_cases(shop) == []
