"""Previews: what they show is what then happens, to the minor unit, and nothing is left of them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from plan_changes import (
    APRIL,
    DAY,
    MAY,
    MIDDLE,
    Plans,
    amounts,
    change,
    customer_on_clock,
    prorations,
    subscribed,
)

JUNE = MAY + 31 * DAY


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def plans(v1: Any) -> Plans:
    return Plans(v1)


def preview(v1: Any, subscription: Any, **details: Any) -> Any:
    wanted: dict[str, Any] = {"subscription": subscription.id}
    if details:
        wanted["subscription_details"] = details
    return v1.invoices.create_preview(wanted)


def switch(subscription: Any, price: str, **options: Any) -> dict[str, Any]:
    """The details of a change of the only item's price."""
    return {"items": [{"id": subscription["items"].data[0].id, "price": price}], **options}


def comes_to(invoice: Any) -> dict[str, Any]:
    """Everything of an invoice by which a preview is judged."""
    return {
        "amount_due": invoice.amount_due,
        "discounts": [part.amount for part in invoice.total_discount_amounts],
        "lines": [
            (line.amount, line.description, line.period.start, line.period.end, line.quantity)
            for line in invoice.lines.data
        ],
        "subtotal": invoice.subtotal,
        "taxes": [(tax.amount, tax.taxable_amount) for tax in invoice.total_taxes],
        "total": invoice.total,
    }


def test_preview_is_an_invoice_that_is_not_there(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    shown = preview(v1, subscription)
    assert shown.id.startswith("upcoming_in_")
    assert {line.id[:7] for line in shown.lines.data} == {"il_tmp_"}
    assert (shown.billing_reason, shown.status, shown.number) == ("upcoming", "draft", None)
    assert (shown.created, shown.next_payment_attempt) == (MAY, MAY + 3600)
    with pytest.raises(stripe.InvalidRequestError) as gone:
        v1.invoices.retrieve(shown.id)
    assert gone.value.http_status == 404


def test_next_invoice_is_as_previewed(v1: Any, plans: Plans) -> None:
    subscription, clock = subscribed(v1, plans.monthly(1000))
    shown = preview(v1, subscription)
    assert [(line.period.start, line.period.end) for line in shown.lines.data] == [(MAY, JUNE)]
    v1.test_helpers.test_clocks.advance(clock, {"frozen_time": MAY + 7200})
    renewal = v1.invoices.list({"subscription": subscription.id}).data[0]
    assert comes_to(renewal) == comes_to(shown)


@pytest.mark.parametrize("tax", [None, True, False])
@pytest.mark.parametrize("percent", [None, 20])
@pytest.mark.parametrize(("old", "new"), [(1000, 2599), (3333, 1001)])
def test_change_that_is_billed_at_once_costs_what_was_previewed(
    v1: Any, plans: Plans, *, old: int, new: int, percent: int | None, tax: bool | None
) -> None:
    options: dict[str, Any] = {}
    if percent is not None:
        coupon = v1.coupons.create({"percent_off": percent, "duration": "forever"})
        options["discounts"] = [{"coupon": coupon.id}]
    if tax is not None:
        rate = {"display_name": "VAT", "percentage": 19, "inclusive": tax}
        options["default_tax_rates"] = [v1.tax_rates.create(rate).id]
    subscription, _ = subscribed(v1, plans.monthly(old), **options)
    details = switch(
        subscription,
        plans.monthly(new),
        proration_behavior="always_invoice",
        proration_date=MIDDLE - 12345,
    )
    shown = preview(v1, subscription, **details)
    after = v1.subscriptions.update(subscription.id, details)
    assert comes_to(v1.invoices.retrieve(after.latest_invoice)) == comes_to(shown)
    assert shown.parent.subscription_details.subscription_proration_date == MIDDLE - 12345


def test_change_that_waits_is_previewed_with_the_renewal(v1: Any, plans: Plans) -> None:
    subscription, clock = subscribed(v1, plans.monthly(1000))
    details = switch(subscription, plans.monthly(2000), proration_date=MIDDLE + 1)
    shown = preview(v1, subscription, **details)
    assert amounts(shown) == [-500, 1000, 2000]
    assert prorations(v1, subscription) == []
    v1.subscriptions.update(subscription.id, details)
    v1.test_helpers.test_clocks.advance(clock, {"frozen_time": MAY + 7200})
    renewal = v1.invoices.list({"subscription": subscription.id}).data[0]
    assert comes_to(renewal) == comes_to(shown)


def test_another_interval_is_previewed_as_it_is_billed(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    details = switch(subscription, plans.yearly(10000))
    shown = preview(v1, subscription, **details)
    assert amounts(shown) == [-500, 10000]
    after = v1.subscriptions.update(subscription.id, details)
    assert comes_to(v1.invoices.retrieve(after.latest_invoice)) == comes_to(shown)


def test_anchor_and_seats_are_previewed(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    item = subscription["items"].data[0].id
    shown = preview(
        v1,
        subscription,
        items=[{"id": item, "quantity": 5}],
        billing_cycle_anchor={"type": "now"},
    )
    assert amounts(shown) == [-500, 5000]
    assert v1.subscriptions.retrieve(subscription.id)["items"].data[0].quantity == 1


def test_end_of_a_trial_is_previewed(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000), trial_period_days=30)
    later = preview(v1, subscription)
    assert (later.total, later.created) == (1000, APRIL + 30 * DAY)
    now = preview(v1, subscription, trial_end="now")
    assert (now.total, now.created) == (1000, MIDDLE)
    assert now.lines.data[0].period.start == MIDDLE


def test_cancelling_now_shows_what_comes_back(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    shown = preview(v1, subscription, cancel_now=True)
    assert (amounts(shown), shown.total, shown.amount_due) == ([-500], -500, 0)
    assert shown.ending_balance == -500
    with pytest.raises(stripe.InvalidRequestError) as nothing:
        preview(v1, subscription, cancel_now=True, proration_behavior="none")
    assert nothing.value.code == "invoice_upcoming_none"


def test_subscription_that_ends_has_no_next_invoice(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    with pytest.raises(stripe.InvalidRequestError) as nothing:
        preview(v1, subscription, cancel_at_period_end=True)
    assert (nothing.value.code, nothing.value.http_status) == ("invoice_upcoming_none", 404)
    v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices"):
        v1.invoices.create_preview({"customer": subscription.customer})


def test_what_waits_when_a_subscription_ends_is_previewed(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    change(v1, subscription, plans.monthly(2000))
    v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert amounts(preview(v1, subscription)) == [-500, 1000]


def test_new_subscription_is_previewed_for_a_customer(v1: Any, plans: Plans) -> None:
    customer, _ = customer_on_clock(v1)
    coupon = v1.coupons.create({"percent_off": 10, "duration": "once"})
    wanted = {"items": [{"price": plans.monthly(1000), "quantity": 2}]}
    shown = v1.invoices.create_preview(
        {
            "customer": customer,
            "subscription_details": wanted,
            "discounts": [{"coupon": coupon.id}],
        }
    )
    assert (shown.subtotal, shown.total) == (2000, 1800)
    assert v1.subscriptions.list({"customer": customer}).data == []
    assert v1.coupons.retrieve(coupon.id).times_redeemed == 0
    made = v1.subscriptions.create(
        {"customer": customer, **wanted, "discounts": [{"coupon": coupon.id}]}
    )
    assert comes_to(v1.invoices.retrieve(made.latest_invoice)) == comes_to(shown)


def test_price_made_up_for_a_preview_is_not_kept(v1: Any, plans: Plans) -> None:
    customer, _ = customer_on_clock(v1)
    product = v1.products.create({"name": "Made up"}).id
    data = {"currency": "usd", "product": product, "unit_amount": 700}
    items = [{"price_data": {**data, "recurring": {"interval": "month"}}}]
    shown = v1.invoices.create_preview(
        {"customer": customer, "subscription_details": {"items": items}}
    )
    assert shown.total == 700
    assert v1.prices.list({"product": product}).data == []


def test_items_of_the_previews_own_stand_beside_those_that_wait(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    v1.invoice_items.create({"customer": subscription.customer, "amount": 50, "currency": "usd"})
    own = [{"amount": 70, "currency": "usd", "description": "Setup"}]
    wanted = {"subscription": subscription.id, "invoice_items": own}
    assert amounts(v1.invoices.create_preview(wanted)) == [50, 70, 1000]
    assert len(v1.invoice_items.list({"customer": subscription.customer}).data) == 1


def test_items_alone_make_a_preview(v1: Any) -> None:
    customer, _ = customer_on_clock(v1)
    own = [{"amount": 70, "currency": "eur"}]
    shown = v1.invoices.create_preview({"customer": customer, "invoice_items": own})
    assert (shown.currency, shown.total, shown.parent) == ("eur", 70, None)


def test_recurring_preview_leaves_out_what_comes_once(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    details = switch(subscription, plans.monthly(2000))
    wanted = {"subscription": subscription.id, "subscription_details": details}
    shown = v1.invoices.create_preview({**wanted, "preview_mode": "recurring"})
    assert amounts(shown) == [2000]


def test_credit_of_the_customer_pays_in_a_preview(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    v1.customers.update(subscription.customer, {"balance": -300})
    shown = preview(v1, subscription)
    assert (shown.starting_balance, shown.amount_due, shown.ending_balance) == (-300, 700, 0)


def test_preview_leaves_no_event(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    before = v1.events.list({"limit": 1}).data[0].id
    preview(v1, subscription, **switch(subscription, plans.monthly(2000)))
    made = v1.events.list({"ending_before": before, "limit": 100}).data
    assert {event.type for event in made} <= {"product.created", "price.created", "plan.created"}


def test_what_previews_cannot_show_is_refused(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    date = {"proration_date": MIDDLE}
    for wanted, param in [
        ({}, "customer"),
        ({"schedule": "sub_sched_1"}, "schedule"),
        ({"subscription": "sub_none"}, "subscription"),
        ({"subscription": subscription.id, "subscription_details": date}, None),
        ({"subscription": subscription.id, "customer": "cus_other"}, "subscription"),
    ]:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            v1.invoices.create_preview(wanted)
        assert refused.value.param == (param or "subscription_details[proration_date]")


def test_older_address_of_upcoming_invoices_is_gone(client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as gone:
        client.raw_request("get", "/v1/invoices/upcoming")
    assert gone.value.http_status == 404
