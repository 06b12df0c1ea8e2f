"""Money of subscriptions that comes late, goes back, or is credited, and its credits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar_sandbox.running import Sandbox
from subscribed import (
    FAILING,
    GOOD,
    finish_free,
    opened_cases,
    paid,
    refund,
    selling_plans,
    use,
)
from subscribers import Subscribers


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    async with selling_plans(sandbox, database_url, tmp_path) as here:
        yield here


async def test_downgrade_is_credited_and_takes_its_credits_back(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "pro")
    customer = payment.customer_id
    await use(shop, customer, 35)
    await shop.advance(days=10)
    await shop.change(await shop.subscription(customer), plan="basic")
    # The money for the rest of the period is the customer's again, and so the credits are not.
    pools = await shop.pools(customer)
    assert (pools["plan"], pools["owed"]) == (0, 15)
    assert await shop.features(customer) == {"history"}
    await shop.advance(days=22)
    assert await shop.balance(customer) == 20


@pytest.mark.parametrize("back", ["create_prorations", "always_invoice"])
@pytest.mark.parametrize("there", ["create_prorations", "always_invoice"])
async def test_going_up_and_down_again_mints_no_credits(
    shop: Subscribers, there: Any, back: Any
) -> None:
    payment = await shop.subscribe("ada", "team")
    customer = payment.customer_id
    row = await shop.subscription(customer)
    row = await shop.change(row, quantity=100, proration=there)
    row = await shop.change(row, quantity=1, proration=back)
    assert await shop.balance(customer) == 40
    await shop.advance(days=32)
    assert await shop.balance(customer) == 40
    assert (await shop.pools(customer))["owed"] == 0


async def test_a_year_that_is_credited_gives_no_later_months(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic", interval="year")
    customer = payment.customer_id
    await shop.advance(days=2)
    row = await shop.change(
        await shop.subscription(customer), interval="month", proration="always_invoice"
    )
    assert (row.interval, await shop.balance(customer)) == ("month", 20)
    await use(shop, customer, 20)
    await shop.advance(days=29)
    assert await shop.balance(customer) == 0
    await shop.advance(days=3)
    assert await shop.balance(customer) == 20


async def test_unpausing_after_a_renewal_is_paid_at_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.change(await shop.subscription(customer), "pause")
    await shop.advance(days=33)
    await shop.change(await shop.subscription(customer), "unpause")
    assert await shop.features(customer) == {"history"}
    assert await shop.balance(customer) == 20
    taken = [one.captured_minor for one in await paid(shop, customer)]
    assert [minor for minor in taken if minor] == [1500, 1500]


async def test_a_pause_ended_elsewhere_gives_nothing_that_was_not_paid(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    row = await shop.change(await shop.subscription(customer), "pause")
    await shop.advance(days=33)
    shop.world.stripe.v1.subscriptions.update(row.subscription_id, {"pause_collection": ""})
    await shop.hear()
    assert (await shop.subscription(customer)).status == "active"
    assert await shop.features(customer) == set()


async def test_trial_ended_early_with_a_bad_card_brings_no_allowance(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "trial", card=None)
    await finish_free(shop, payment)
    customer = payment.customer_id
    await shop.advance(days=1)
    await shop.use_card(customer, FAILING)
    row = await shop.subscription(customer)
    shop.world.stripe.v1.subscriptions.update(row.subscription_id, {"trial_end": "now"})
    await shop.advance(hours=2)
    assert (await shop.subscription(customer)).status == "past_due"
    assert await shop.balance(customer) <= 5


async def test_a_year_disputed_gives_no_later_months(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic", card="tok_createDispute", interval="year")
    customer = payment.customer_id
    await shop.advance(days=64, step=timedelta(days=16))
    assert await shop.balance(customer) == 0


async def test_part_refund_takes_nothing_of_what_was_paid_and_used(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await use(shop, payment.customer_id, 5)
    await shop.advance(days=32)
    await refund(shop, payment, 750)
    assert (await shop.pools(payment.customer_id))["owed"] == 0


async def test_refunds_of_a_period_with_an_upgrade_owe_what_was_used(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    row = await shop.subscription(customer)
    await shop.change(row, plan="pro", proration="always_invoice")
    await use(shop, customer, 40)
    await shop.advance(days=33)
    [base, change, _] = await paid(shop, customer)
    await refund(shop, base)
    await refund(shop, change)
    assert (await shop.pools(customer))["owed"] == 40


async def test_money_for_what_has_ended_is_a_case(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, FAILING)
    await shop.advance(days=33)
    await shop.use_card(customer, GOOD)
    await shop.change(await shop.subscription(customer), "cancel_now")
    [invoice] = [i for i in await shop.invoices(customer) if i.reason == "cycle"]
    await shop.advance(hours=1)
    shop.world.stripe.v1.invoices.pay(invoice.invoice_id)
    await shop.hear()
    assert await opened_cases(shop) == ["review"]


async def test_whole_coupon_gives_the_allowance(shop: Subscribers) -> None:
    v1 = shop.world.stripe.v1
    coupon = v1.coupons.create({"percent_off": 100, "duration": "forever", "id": "FREE"})
    payment = await shop.subscribe("ada", "basic", coupon=coupon.id, card=None)
    await shop.world.pay(payment)
    await shop.hear()
    assert ((await shop.world.payment(payment)).status, payment.amount_minor) == ("completed", 0)
    assert await shop.balance(payment.customer_id) == 20
    await shop.advance(days=32)
    assert await shop.balance(payment.customer_id) == 20


async def test_refunded_invoice_takes_its_allowance_back(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await refund(shop, payment, 750)
    assert await shop.balance(customer) == 10
    await refund(shop, await shop.world.payment(payment))
    assert await shop.balance(customer) == 0
    await shop.hear()
    assert (await shop.pools(customer))["owed"] == 0


async def test_refund_of_a_used_allowance_is_owed(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await use(shop, payment.customer_id, 15)
    await refund(shop, payment)
    pools = await shop.pools(payment.customer_id)
    assert (pools["plan"], pools["owed"]) == (0, 15)


async def test_refund_of_a_period_that_is_over_takes_no_unused_credits(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await use(shop, payment.customer_id, 5)
    await shop.advance(days=32)
    await refund(shop, payment)
    pools = await shop.pools(payment.customer_id)
    assert (pools["plan"], pools["owed"]) == (20, 5)


async def test_lost_messages_are_made_good_by_asking(shop: Subscribers) -> None:
    shop.way = lambda _events: []
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(hours=1)
    assert await shop.balance(payment.customer_id) == 20
    await shop.advance(days=33)
    assert [i.status for i in await shop.invoices(payment.customer_id)] == ["paid", "paid"]
    assert await shop.balance(payment.customer_id) == 20
