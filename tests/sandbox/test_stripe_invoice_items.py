"""Invoice items: which invoice they wait for, and what they say of themselves there."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from plan_changes import MAY, Plans, amounts, change, customer_on_clock, prorations, subscribed


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def plans(v1: Any) -> Plans:
    return Plans(v1)


def add(v1: Any, customer: str, amount: int = 500, **options: Any) -> Any:
    wanted = {"customer": customer, "amount": amount, "currency": "usd"}
    return v1.invoice_items.create({**wanted, **options})


def test_item_of_a_subscription_waits_for_its_next_invoice(v1: Any, plans: Plans) -> None:
    subscription, clock = subscribed(v1, plans.monthly(1000))
    item = add(v1, subscription.customer, subscription=subscription.id, description="Setup")
    assert item.parent.subscription_details.subscription == subscription.id
    v1.test_helpers.test_clocks.advance(clock, {"frozen_time": MAY + 7200})
    renewal = v1.invoices.list({"subscription": subscription.id}).data[0]
    assert amounts(renewal) == [500, 1000]
    line = renewal.lines.data[0]
    assert line.parent.invoice_item_details.invoice_item == item.id
    assert line.parent.invoice_item_details.subscription == subscription.id
    assert line.subscription == subscription.id
    assert v1.invoice_items.retrieve(item.id).invoice == renewal.id


def test_invoice_of_another_kind_leaves_a_subscriptions_items_alone(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    customer = subscription.customer
    add(v1, customer, 500, subscription=subscription.id)
    add(v1, customer, 70)
    wanted = {"customer": customer, "pending_invoice_items_behavior": "include"}
    assert amounts(v1.invoices.create(wanted)) == [70]


def test_item_without_a_subscription_joins_the_next_invoice_there_is(v1: Any, plans: Plans) -> None:
    customer, _ = customer_on_clock(v1)
    add(v1, customer, 300)
    wanted = {"customer": customer, "items": [{"price": plans.monthly(1000)}]}
    made = v1.subscriptions.create(wanted)
    assert amounts(v1.invoices.retrieve(made.latest_invoice)) == [300, 1000]


def test_pending_items_are_listed_apart(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    change(v1, subscription, plans.monthly(2000))
    customer = subscription.customer
    pending = v1.invoice_items.list({"customer": customer, "pending": True}).data
    assert [item.amount for item in pending] == [1000, -500]
    assert v1.invoice_items.list({"customer": customer, "pending": False}).data == []


def test_proration_that_is_deleted_is_never_billed(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    change(v1, subscription, plans.monthly(2000))
    for item in prorations(v1, subscription):
        assert v1.invoice_items.delete(item.id).deleted
    preview = v1.invoices.create_preview({"subscription": subscription.id})
    assert amounts(preview) == [2000]


def test_discount_of_a_subscription_spares_what_is_not_discountable(v1: Any, plans: Plans) -> None:
    coupon = v1.coupons.create({"percent_off": 50, "duration": "forever"})
    subscription, _ = subscribed(v1, plans.monthly(1000), discounts=[{"coupon": coupon.id}])
    add(v1, subscription.customer, 300, subscription=subscription.id, discountable=False)
    add(v1, subscription.customer, 400, subscription=subscription.id)
    preview = v1.invoices.create_preview({"subscription": subscription.id})
    assert [sum(part.amount for part in line.discount_amounts) for line in preview.lines.data] == [
        0, 200, 500,
    ]  # fmt: skip
    assert preview.total == 1000


def test_item_has_taxes_of_its_own(v1: Any, plans: Plans) -> None:
    customer, _ = customer_on_clock(v1)
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False})
    item = add(v1, customer, 500, tax_rates=[rate.id])
    assert [one.id for one in item.tax_rates] == [rate.id]
    wanted = {"customer": customer, "pending_invoice_items_behavior": "include"}
    invoice = v1.invoices.create(wanted)
    assert (invoice.subtotal, invoice.total) == (500, 600)
    changed = v1.invoice_items.update(item.id, {"tax_rates": ""})
    assert changed.tax_rates == []
    assert v1.invoices.retrieve(invoice.id).total == 500


def test_unit_quantity_and_period_are_the_items_own(v1: Any) -> None:
    customer, _ = customer_on_clock(v1)
    item = v1.invoice_items.create(
        {
            "customer": customer,
            "currency": "usd",
            "unit_amount_decimal": "12.5",
            "quantity_decimal": "3",
            "period": {"start": MAY, "end": MAY + 60},
        }
    )
    # Three times 12.5 are 37.5, rounded half up.
    assert (item.amount, item.quantity, str(item.pricing.unit_amount_decimal)) == (38, 3, "12.5")
    assert (item.period.start, item.period.end) == (MAY, MAY + 60)
    changed = v1.invoice_items.update(item.id, {"quantity": 2, "discountable": False})
    assert (changed.amount, changed.discountable) == (25, False)


def test_items_for_the_wrong_subscription_are_refused(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    other, _ = customer_on_clock(v1)
    ended, _ = subscribed(v1, plans.monthly(1000))
    v1.subscriptions.cancel(ended.id)
    for customer, wanted, param in [
        (other, {"subscription": subscription.id}, "subscription"),
        (ended.customer, {"subscription": ended.id}, "subscription"),
        (subscription.customer, {"subscription": "sub_none"}, "subscription"),
        (subscription.customer, {"subscription": subscription.id, "currency": "eur"}, "currency"),
    ]:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            add(v1, customer, **wanted)
        assert refused.value.param == param
