"""Subscriptions from the checkout to their end: allowances, features and payments that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing.payments import Payment
from bursar_sandbox.running import Sandbox
from subscribed import (
    FAILING,
    GOOD,
    finish_free,
    opened_cases,
    paid,
    selling_plans,
    use,
)
from subscribers import Subscribers


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    async with selling_plans(sandbox, database_url, tmp_path) as here:
        yield here


async def test_paid_plan_brings_allowance_and_features_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    assert (payment.status, payment.captured_minor) == ("completed", 1500)
    row = await shop.subscription(payment.customer_id)
    assert (row.status, row.plan, row.plan_group) == ("active", "basic", "pages")
    assert await shop.balance(payment.customer_id) == 20
    assert await shop.features(payment.customer_id) == {"history"}
    await shop.world.deliver(await shop.events())
    await shop.world.work()
    assert await shop.balance(payment.customer_id) == 20


async def test_renewal_brings_the_next_allowance_and_ends_the_last(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=32)
    assert (await shop.subscription(payment.customer_id)).status == "active"
    assert [(i.reason, i.status) for i in await shop.invoices(payment.customer_id)] == [
        ("create", "paid"),
        ("cycle", "paid"),
    ]
    assert await shop.balance(payment.customer_id) == 20
    renewed = (await paid(shop, payment.customer_id))[-1]
    assert (renewed.kind, renewed.status, renewed.captured_minor) == ("invoice", "completed", 1500)


async def test_what_is_left_rolls_over_up_to_the_cap(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "saver")
    await use(shop, payment.customer_id, 2)
    await shop.advance(days=32)
    assert await shop.balance(payment.customer_id) == 20 + 15


async def test_trial_without_card_brings_trial_credits_and_then_ends(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "trial", card=None)
    await finish_free(shop, payment)
    customer = payment.customer_id
    row = await shop.subscription(customer)
    assert (row.status, (await shop.world.payment(payment)).status) == ("trialing", "completed")
    assert await shop.balance(customer) == 5
    assert await shop.features(customer) == {"history"}
    await shop.advance(days=15)
    assert (await shop.subscription(customer)).status == "canceled"
    assert await shop.balance(customer) == 0
    assert await shop.features(customer) == set()


async def test_nobody_has_a_second_trial(shop: Subscribers) -> None:
    first = await shop.subscribe("ada", "trial", card=None)
    await finish_free(shop, first)
    await shop.change(await shop.subscription(first.customer_id), "cancel_now")
    again = await shop.subscribe("ada", "trial")
    assert again.captured_minor == 2000
    assert await shop.balance(first.customer_id) == 30


async def test_trial_without_card_pauses_where_the_plan_says_so(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "patient", card=None)
    await finish_free(shop, payment)
    await shop.advance(days=15)
    row = await shop.subscription(payment.customer_id)
    assert (row.status, row.raw_status) == ("paused", "paused")


async def test_trial_with_card_goes_over_into_paid_periods(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "trial")
    await shop.use_card(payment.customer_id, GOOD)
    await shop.advance(days=15)
    assert (await shop.subscription(payment.customer_id)).status == "active"
    assert await shop.balance(payment.customer_id) == 30


async def test_upgrade_at_once_posts_the_difference(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.advance(days=10)
    row = await shop.subscription(customer)
    row = await shop.change(row, plan="pro", proration="always_invoice")
    assert (row.plan, await shop.balance(customer)) == ("pro", 50)
    assert await shop.features(customer) == {"history", "priority"}
    row = await shop.change(row, plan="basic", proration="always_invoice")
    row = await shop.change(row, plan="pro", proration="always_invoice")
    assert await shop.balance(customer) == 50


async def test_upgrade_paid_with_the_next_invoice_brings_its_difference_then(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.advance(days=10)
    await shop.change(await shop.subscription(customer), plan="pro")
    assert await shop.features(customer) == {"history", "priority"}
    assert await shop.balance(customer) == 20
    await shop.advance(days=22)
    # The new period's fifty, and the thirty that were paid for too late to be used in the old one.
    assert await shop.balance(customer) == 80


async def test_two_tabs_for_an_addon_are_one_session(shop: Subscribers) -> None:
    first = await shop.world.open_checkout("ada", plan="extra")
    second = await shop.world.open_checkout("ada", plan="extra")
    assert first.id == second.id


async def test_end_with_the_period_keeps_everything_until_then(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    row = await shop.change(await shop.subscription(customer), "cancel")
    assert (row.status, row.cancel_at_period_end) == ("active", True)
    await shop.advance(days=25)
    assert await shop.balance(customer) == 20
    assert await shop.features(customer) == {"history"}
    await shop.advance(days=7)
    assert (await shop.subscription(customer)).status == "canceled"
    assert await shop.balance(customer) == 0
    assert await shop.features(customer) == set()


async def test_end_that_is_taken_back_changes_nothing(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.change(await shop.subscription(customer), "cancel")
    await shop.advance(days=5)
    row = await shop.change(await shop.subscription(customer), "resume")
    assert row.cancel_at is None
    await shop.advance(days=27)
    assert (await shop.subscription(customer)).status == "active"
    assert await shop.balance(customer) == 20


async def test_end_now_takes_allowance_and_features_at_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    row = await shop.change(await shop.subscription(customer), "cancel_now")
    assert row.status == "canceled"
    assert await shop.balance(customer) == 0
    assert await shop.features(customer) == set()
    again = await shop.subscribe("ada", "basic")
    assert (again.status, await shop.balance(customer)) == ("completed", 20)


async def test_failed_renewal_is_a_failed_payment_and_recovers(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, FAILING)
    await shop.advance(days=32)
    row = await shop.subscription(customer)
    assert row.status == "past_due"
    failed = (await paid(shop, customer))[-1]
    assert (failed.kind, failed.status, failed.amount_minor) == ("invoice", "failed", 1500)
    # Within the grace both stay.
    assert await shop.balance(customer) == 20
    assert await shop.features(customer) == {"history"}
    await shop.use_card(customer, GOOD)
    await shop.advance(days=4)
    assert (await shop.subscription(customer)).status == "active"
    assert (await paid(shop, customer))[-1].status == "completed"
    assert await shop.balance(customer) == 20


async def test_grace_ends_allowance_and_features_of_what_is_owed(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, FAILING)
    await shop.advance(days=31)
    await shop.advance(days=3, hours=3)
    assert (await shop.subscription(customer)).status == "past_due"
    assert await shop.balance(customer) == 0
    assert await shop.features(customer) == set()


async def test_three_failures_end_the_subscription(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, FAILING)
    await shop.advance(days=45)
    row = await shop.subscription(customer)
    assert row.status == "canceled"
    [invoice] = [i for i in await shop.invoices(customer) if i.reason == "cycle"]
    assert invoice.attempts == 3


async def test_pause_gives_no_new_allowance_and_goes_on_later(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    row = await shop.change(await shop.subscription(customer), "pause")
    assert (row.status, row.raw_status) == ("paused", "active")
    assert await shop.features(customer) == set()
    await shop.advance(days=33)
    assert await shop.balance(customer) == 0
    await shop.change(await shop.subscription(customer), "unpause")
    await shop.advance(days=30)
    assert (await shop.subscription(customer)).status == "active"
    assert await shop.balance(customer) == 20


async def test_year_paid_brings_its_allowance_month_by_month(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic", interval="year")
    customer = payment.customer_id
    assert (payment.captured_minor, await shop.balance(customer)) == (15000, 20)
    await use(shop, customer, 13)
    await shop.advance(days=32)
    assert await shop.balance(customer) == 20
    await shop.advance(days=31, step=timedelta(days=31))
    assert await shop.balance(customer) == 20


async def test_year_paid_may_bring_all_at_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "yearly", interval="year")
    assert await shop.balance(payment.customer_id) == 600
    await shop.advance(days=40, step=timedelta(days=20))
    assert await shop.balance(payment.customer_id) == 600


async def test_seats_count_for_allowance_and_limit(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "team", quantity=3)
    customer = payment.customer_id
    assert (payment.captured_minor, await shop.balance(customer)) == (3000, 120)
    row = await shop.subscription(customer)
    await shop.change(row, quantity=5, proration="always_invoice")
    assert await shop.balance(customer) == 200


async def test_second_of_a_group_is_refused_and_an_addon_is_not(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    with pytest.raises(errors.AlreadySubscribed):
        await shop.subscribe("ada", "pro")
    await shop.subscribe("ada", "extra")
    assert await shop.balance(payment.customer_id) == 25
    assert await opened_cases(shop) == []


async def test_second_tab_gets_the_open_session(shop: Subscribers) -> None:
    first = await shop.world.open_checkout("ada", plan="basic")
    second = await shop.world.open_checkout("ada", plan="basic")
    assert (first.id, first.session_url) == (second.id, second.session_url)
    other = await shop.world.open_checkout("ada", plan="pro")
    assert other.id != first.id
    theirs = shop.world.stripe.v1.checkout.sessions.retrieve(str(first.session_id))
    assert theirs.status == "expired"


async def duplicated(shop: Subscribers) -> Payment:
    """Two live subscriptions of one group: one made at the provider, beside ours."""
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    theirs = shop.world.stripe.v1.subscriptions.retrieve(row.subscription_id)
    await shop.use_card(payment.customer_id, GOOD)
    wanted: Any = {"customer": str(theirs.customer), "items": [{"price": row.price_id}]}
    await shop.advance(minutes=5)
    shop.world.stripe.v1.subscriptions.create(wanted)
    await shop.hear()
    return payment


async def test_duplicate_is_a_case_for_a_person(shop: Subscribers) -> None:
    payment = await duplicated(shop)
    assert await opened_cases(shop) == ["duplicate"]
    second = (await shop.subscriptions(payment.customer_id))[1]
    await shop.change(second, "cancel_now")
    assert await opened_cases(shop) == []


async def test_duplicate_is_refunded_and_canceled_where_the_shop_says_so(
    shop: Subscribers,
) -> None:
    settings = shop.world.settings.model_copy(update={"duplicate_subscriptions": "cancel"})
    shop.world.wiring = replace(shop.world.wiring, settings=settings)
    payment = await duplicated(shop)
    await shop.hear()
    first, second = await shop.subscriptions(payment.customer_id)
    assert (first.status, second.status) == ("active", "canceled")
    statuses = sorted(one.status for one in await paid(shop, payment.customer_id))
    assert statuses == ["completed", "refunded"]
    assert await shop.balance(payment.customer_id) == 20
    assert await opened_cases(shop) == []


async def test_subscription_of_a_stranger_waits_for_its_owner(shop: Subscribers) -> None:
    v1 = shop.world.stripe.v1
    customer = v1.customers.create({"email": "eve@example.com"})
    method = v1.payment_methods.attach(GOOD, {"customer": customer.id})
    payment = await shop.world.open_checkout("ada", plan="basic")
    session = v1.checkout.sessions.retrieve(str(payment.session_id), {"expand": ["line_items"]})
    assert session.line_items is not None
    price = session.line_items.data[0].price
    assert price is not None
    wanted: Any = {
        "customer": customer.id,
        "items": [{"price": price.id}],
        "default_payment_method": method.id,
    }
    v1.subscriptions.create(wanted)
    await shop.hear()
    assert await opened_cases(shop) == ["unmatched"]
