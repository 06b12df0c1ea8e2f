"""Customers' own discounts, which only calls of older versions can give."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from billing_shop import Billing, item_of, previous
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox

OLD = "2024-11-20.acacia"


@pytest.fixture
def shop(checked_sandbox: Sandbox, client_for: Any) -> Billing:
    control_client.reset(checked_sandbox.base_url)
    return Billing(checked_sandbox.base_url, client_for(checked_sandbox).v1)


def coupon(shop: Billing, **fields: Any) -> str:
    return str(shop.v1.coupons.create({"percent_off": 20, "duration": "forever", **fields}).id)


def give(shop: Billing, customer_id: str, **fields: str) -> Any:
    """Update the customer with parameters that only older versions have."""
    return shop.v1.customers.update(customer_id, fields, {"stripe_version": OLD})


def test_discount_is_given_changed_and_taken_away(shop: Billing) -> None:
    customer = shop.customer()
    first, second = coupon(shop), coupon(shop, percent_off=30)
    types = shop.event_types(lambda: give(shop, customer.id, coupon=first))
    assert types == ["customer.discount.created", "customer.updated"]
    assert shop.v1.customers.retrieve(customer.id).discount.source.coupon == first
    assert shop.v1.coupons.retrieve(first).times_redeemed == 1

    told = shop.events(lambda: give(shop, customer.id, coupon=second))
    assert [event.type for event in told] == ["customer.discount.updated", "customer.updated"]
    assert previous(told[0])["source"] == {"coupon": first}
    assert told[0].data.object.source.coupon == second

    told = shop.events(lambda: shop.v1.customers.delete_discount(customer.id))
    assert [event.type for event in told] == ["customer.discount.deleted", "customer.updated"]
    assert told[0].data.object.source.coupon == second
    assert shop.v1.customers.retrieve(customer.id).discount is None
    with pytest.raises(stripe.InvalidRequestError, match="No active discount"):
        shop.v1.customers.delete_discount(customer.id)


def test_call_that_names_no_version_is_taken_for_an_old_one(shop: Billing) -> None:
    url, auth = f"{shop.url}/v1/customers", ("sk_test_without_version", "")
    made = httpx.post(url, data={"coupon": coupon(shop)}, auth=auth).json()
    assert made["discount"]["customer"] == made["id"]
    emptied = httpx.post(f"{url}/{made['id']}", data={"coupon": ""}, auth=auth).json()
    assert emptied["discount"] is None


@pytest.mark.parametrize("name", ["coupon", "promotion_code"])
def test_newer_versions_do_not_know_the_parameter(shop: Billing, name: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.v1.customers.create({name: coupon(shop)})
    assert (caught.value.code, caught.value.param) == ("parameter_unknown", name)


def test_worthless_coupon_gives_no_customer_a_discount(shop: Billing) -> None:
    customer = shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="No such coupon"):
        give(shop, customer.id, coupon="nothing")
    once = coupon(shop, max_redemptions=1)
    give(shop, customer.id, coupon=once)
    with pytest.raises(stripe.InvalidRequestError, match="used up"):
        give(shop, shop.customer().id, coupon=once)


def test_all_that_the_customer_is_billed_costs_less(shop: Billing) -> None:
    customer = shop.customer()
    give(shop, customer.id, coupon=coupon(shop))
    shop.v1.invoice_items.create({"customer": customer.id, "amount": 500, "currency": "usd"})
    wanted = {"customer": customer.id, "pending_invoice_items_behavior": "include"}
    assert shop.v1.invoices.create(wanted).total == 400
    subscription = shop.subscribe(customer, shop.plan(1000))
    [first] = shop.invoices(subscription)
    assert (first.subtotal, first.total, first.amount_paid) == (1000, 800, 800)
    shop.go_to(item_of(shop.again(subscription)).current_period_end + 7200)
    assert [invoice.total for invoice in shop.invoices(subscription)] == [800, 800]


def test_subscription_with_a_discount_goes_without_the_customers(shop: Billing) -> None:
    customer = shop.customer()
    give(shop, customer.id, coupon=coupon(shop))
    own = [{"coupon": coupon(shop, percent_off=50)}]
    subscription = shop.subscribe(customer, shop.plan(1000), discounts=own)
    assert [invoice.total for invoice in shop.invoices(subscription)] == [500]


def test_upgrade_gives_back_and_charges_what_the_discount_left(shop: Billing) -> None:
    customer = shop.customer()
    give(shop, customer.id, coupon=coupon(shop))
    subscription = shop.subscribe(customer, shop.plan(1000))
    item = {"id": item_of(subscription).id, "price": shop.plan(3000).id}
    change = {"items": [item], "proration_behavior": "always_invoice"}
    start = item_of(subscription).current_period_start
    preview = shop.v1.invoices.create_preview(
        {
            "subscription": subscription.id,
            "subscription_details": {**change, "proration_date": start},
        }
    )
    shop.v1.subscriptions.update(subscription.id, {**change, "proration_date": start})
    invoice = shop.invoices(subscription)[-1]
    assert (preview.total, invoice.total) == (1600, 1600)


def test_coupon_for_one_invoice_is_gone_after_it(shop: Billing) -> None:
    customer = shop.customer()
    give(shop, customer.id, coupon=coupon(shop, duration="once"))
    subscription = shop.subscribe(customer, shop.plan(1000))
    assert shop.v1.customers.retrieve(customer.id).discount is None
    shop.go_to(item_of(subscription).current_period_end + 7200)
    assert [invoice.total for invoice in shop.invoices(subscription)] == [800, 1000]


def test_checkout_of_a_subscription_says_that_it_does_not_play_it(shop: Billing) -> None:
    customer = shop.customer()
    give(shop, customer.id, coupon=coupon(shop))
    with pytest.raises(stripe.InvalidRequestError, match="does not play") as caught:
        shop.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer.id,
                "line_items": [{"price": shop.plan().id, "quantity": 1}],
                "success_url": "https://shop.example/thanks",
            }
        )
    assert caught.value.param == "customer"
