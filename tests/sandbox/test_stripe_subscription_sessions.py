"""Checkout sessions in subscription mode, completed: what they begin."""

from __future__ import annotations

from typing import Any

import pytest

from billing_shop import DAY, Billing, item_of
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from stripe_shop import card, confirm_page


@pytest.fixture
def client(checked_sandbox: Sandbox, client_for: Any) -> Any:
    control_client.reset(checked_sandbox.base_url)
    return client_for(checked_sandbox)


@pytest.fixture
def shop(checked_sandbox: Sandbox, client: Any) -> Billing:
    """A shop at an empty sandbox, whose clock shows real time."""
    return Billing(checked_sandbox.base_url, client.v1)


def offer(shop: Billing, *prices: Any, **options: Any) -> Any:
    return shop.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": price.id, "quantity": 1} for price in prices],
            "success_url": "http://127.0.0.1:9/thanks",
            **options,
        }
    )


def test_paid_session_begins_an_active_subscription(shop: Billing, client: Any) -> None:
    data = {"metadata": {"plan": "pro"}, "description": "Pro for Ada"}
    session = offer(shop, shop.plan(2900), subscription_data=data, client_reference_id="ada")
    types = shop.event_types(lambda: confirm_page(client, session, card(shop.v1)))
    assert types.index("customer.subscription.created") < types.index("invoice.paid")
    assert types[-1] == "checkout.session.completed"
    done = shop.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["subscription", "invoice.payments"]}
    )
    assert (done.status, done.payment_status, done.payment_intent) == ("complete", "paid", None)
    subscription = done.subscription
    assert (subscription.status, subscription.metadata.plan) == ("active", "pro")
    assert subscription.description == "Pro for Ada"
    assert (done.invoice.status, done.invoice.amount_paid) == ("paid", 2900)
    assert done.invoice.billing_reason == "subscription_create"
    intent = done.invoice.payments.data[0].payment.payment_intent
    assert shop.v1.payment_intents.retrieve(intent).status == "succeeded"
    assert len(shop.v1.payment_intents.list({"customer": done.customer}).data) == 1
    shop.advance(32 * DAY)
    assert [bill.status for bill in shop.invoices(subscription)] == ["paid", "paid"]


def test_trial_session_saves_the_card_and_charges_it_later(shop: Billing, client: Any) -> None:
    session = offer(shop, shop.plan(2900), subscription_data={"trial_period_days": 14})
    assert session.amount_total == 0
    confirm_page(client, session, card(shop.v1))
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    assert (done.payment_status, done.subscription.status) == ("no_payment_required", "trialing")
    assert done.subscription.default_payment_method is not None
    assert shop.v1.invoices.retrieve(done.invoice).amount_paid == 0
    shop.advance(15 * DAY)
    assert shop.again(done.subscription).status == "active"
    assert shop.invoices(done.subscription)[-1].amount_paid == 2900


def test_coupon_tax_and_one_time_price_agree_with_the_invoice(shop: Billing, client: Any) -> None:
    price = shop.plan(3333)
    once = shop.v1.prices.create({"product": price.product, "currency": "usd", "unit_amount": 1999})
    coupon = shop.v1.coupons.create({"percent_off": 15, "duration": "once"})
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 7})
    session = shop.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [
                {"price": price.id, "quantity": 3, "tax_rates": [rate.id]},
                {"price": once.id, "quantity": 1},
            ],
            "discounts": [{"coupon": coupon.id}],
            "success_url": "http://127.0.0.1:9/thanks",
        }
    )
    confirm_page(client, session, card(shop.v1))
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice"]})
    bill = done.invoice
    assert bill.total == done.amount_total == bill.amount_paid
    assert bill.total_taxes[0].amount == done.total_details.amount_tax
    assert bill.total_discount_amounts[0].amount == done.total_details.amount_discount
    assert shop.v1.coupons.retrieve(coupon.id).times_redeemed == 1
    subscription = shop.v1.subscriptions.retrieve(done.subscription)
    assert item_of(subscription).quantity == 3
    shop.advance(32 * DAY)
    assert shop.invoices(subscription)[-1].total == 9999 + 700


def test_declined_session_begins_nothing(shop: Billing, client: Any) -> None:
    customer = shop.customer(None)
    session = offer(shop, shop.plan(), customer=customer.id)
    with pytest.raises(Exception, match="declined"):
        confirm_page(client, session, card(shop.v1, "4000000000000341"))
    assert shop.v1.subscriptions.list({"status": "all"}).data == []
    confirm_page(client, session, card(shop.v1))
    found = shop.v1.subscriptions.list({"customer": customer.id}).data
    assert [one.status for one in found] == ["active"]
