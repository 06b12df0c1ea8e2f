"""Changes of subscriptions: plans, quantities, settings; coupons and taxes over the periods."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from billing_shop import DAY, HOUR, Billing, item_of, previous
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox


@pytest.fixture
def shop(checked_sandbox: Sandbox, client_for: Any) -> Billing:
    """A shop at an empty sandbox, whose clock shows real time."""
    control_client.reset(checked_sandbox.base_url)
    return Billing(checked_sandbox.base_url, client_for(checked_sandbox).v1)


def half_way(shop: Billing, subscription: Any) -> None:
    """Let half of the period pass."""
    item = item_of(subscription)
    shop.go_to((item.current_period_start + item.current_period_end) // 2)


def switch(shop: Billing, subscription: Any, price: Any, **options: Any) -> Any:
    items = [{"id": item_of(subscription).id, "price": price.id}]
    return shop.v1.subscriptions.update(subscription.id, {"items": items, **options})


def test_upgrade_billed_at_once_charges_the_difference_for_the_time_left(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    half_way(shop, subscription)
    end = item_of(subscription).current_period_end
    events = shop.events(
        lambda: switch(shop, subscription, shop.plan(3000), proration_behavior="always_invoice")
    )
    types = [event.type for event in events]
    assert types.count("invoiceitem.created") == 2
    assert {"customer.subscription.updated", "invoice.paid"} <= set(types)
    changed = next(event for event in events if event.type == "customer.subscription.updated")
    was = previous(changed)["items"]["data"][0]
    assert (was["price"]["unit_amount"], was["id"]) == (1000, item_of(subscription).id)
    found = shop.again(subscription, "latest_invoice")
    assert item_of(found).current_period_end == end
    bill = found.latest_invoice
    assert (bill.billing_reason, bill.status) == ("subscription_update", "paid")
    assert 995 <= bill.amount_paid <= 1001
    assert sorted(line.amount < 0 for line in bill.lines.data) == [False, True]
    assert all(line.parent.subscription_item_details.proration for line in bill.lines.data)


def test_prorations_wait_for_the_next_invoice_by_default(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    half_way(shop, subscription)
    switch(shop, subscription, shop.plan(3000))
    assert len(shop.invoices(subscription)) == 1
    shop.go_to(item_of(subscription).current_period_end + 2 * HOUR)
    bill = shop.invoices(subscription)[1]
    assert len(bill.lines.data) == 3
    assert 3995 <= bill.amount_paid <= 4001


def test_change_without_proration_costs_nothing_until_the_period_ends(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    half_way(shop, subscription)
    switch(shop, subscription, shop.plan(3000), proration_behavior="none")
    shop.go_to(item_of(subscription).current_period_end + 2 * HOUR)
    assert [bill.amount_paid for bill in shop.invoices(subscription)] == [1000, 3000]


def test_downgrade_leaves_credit_that_the_next_invoice_takes(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(3000))
    half_way(shop, subscription)
    switch(shop, subscription, shop.plan(1000), proration_behavior="always_invoice")
    customer = shop.v1.customers.retrieve(subscription.customer)
    assert -1001 <= customer.balance <= -995
    bill = shop.invoices(subscription)[1]
    assert (bill.amount_due, bill.status, bill.ending_balance) == (0, "paid", customer.balance)
    shop.go_to(item_of(subscription).current_period_end + 2 * HOUR)
    assert shop.invoices(subscription)[2].amount_paid == 1000 + customer.balance


def test_monthly_to_yearly_begins_a_new_period_now(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    half_way(shop, subscription)
    found = switch(shop, subscription, shop.plan(10000, "year"), expand=["latest_invoice"])
    assert found.billing_cycle_anchor == item_of(found).current_period_start
    assert item_of(found).current_period_end - found.billing_cycle_anchor >= 365 * DAY
    assert 9499 <= found.latest_invoice.amount_paid <= 9505
    shop.advance(100 * DAY)
    assert len(shop.invoices(subscription)) == 2


def test_anchor_now_begins_a_new_period_now(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    half_way(shop, subscription)
    wanted = {"billing_cycle_anchor": "now", "expand": ["latest_invoice"]}
    found = shop.v1.subscriptions.update(subscription.id, wanted)
    assert item_of(found).current_period_start == found.billing_cycle_anchor
    assert 499 <= found.latest_invoice.amount_paid <= 501


def test_upgrade_with_a_declined_card_is_past_due_or_does_not_happen(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan(1000))
    half_way(shop, subscription)
    shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    dear = shop.plan(3000)
    now = {"proration_behavior": "always_invoice"}
    with pytest.raises(stripe.CardError):
        switch(shop, subscription, dear, payment_behavior="error_if_incomplete", **now)
    found = shop.again(subscription)
    assert (item_of(found).price.unit_amount, found.status) == (1000, "active")
    assert shop.v1.invoice_items.list({"customer": customer.id}).data == []
    found = switch(shop, subscription, dear, **now)
    assert (item_of(found).price.unit_amount, found.status) == (3000, "past_due")


def test_change_during_a_trial_costs_nothing(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000), trial_period_days=10)
    found = switch(shop, subscription, shop.plan(3000))
    assert (found.status, found.trial_end) == ("trialing", subscription.trial_end)
    assert shop.v1.invoice_items.list({"customer": found.customer}).data == []
    shop.advance(11 * DAY)
    assert [bill.amount_paid for bill in shop.invoices(subscription)] == [0, 3000]


def test_items_are_added_changed_and_removed_by_their_own_calls(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    other = shop.plan(500)
    item = shop.v1.subscription_items.create(
        {"subscription": subscription.id, "price": other.id, "quantity": 2}
    )
    assert (item.quantity, item.subscription) == (2, subscription.id)
    listed = shop.v1.subscription_items.list({"subscription": subscription.id}).data
    assert [one.id for one in listed] == [item_of(subscription).id, item.id]
    assert shop.v1.subscription_items.update(item.id, {"quantity": 3}).quantity == 3
    assert shop.v1.subscription_items.retrieve(item.id).quantity == 3
    assert shop.v1.subscription_items.delete(item.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscription_items.retrieve(item.id)
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscription_items.delete(item_of(subscription).id)
    assert len(shop.again(subscription)["items"].data) == 1


def test_canceled_with_proration_gives_credit_for_the_time_left(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    half_way(shop, subscription)
    found = shop.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    assert found.status == "canceled"
    bill = shop.invoices(subscription)[-1]
    assert -501 <= bill.total <= -499
    assert shop.v1.customers.retrieve(subscription.customer).balance == bill.total


@pytest.mark.parametrize(
    ("terms", "paid"),
    [
        ({"duration": "once"}, [2000, 2500, 2500, 2500]),
        ({"duration": "repeating", "duration_in_months": 3}, [2000, 2000, 2000, 2500]),
        ({"duration": "forever"}, [2000, 2000, 2000, 2000]),
    ],
)
def test_coupon_is_good_for_its_duration(
    shop: Billing, terms: dict[str, Any], paid: list[int]
) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 20, **terms})
    subscription = shop.subscribe(
        shop.customer(), shop.plan(2500), discounts=[{"coupon": coupon.id}], expand=["discounts"]
    )
    assert shop.v1.coupons.retrieve(coupon.id).times_redeemed == 1
    shop.advance(95 * DAY)
    bills = shop.invoices(subscription)
    assert [bill.amount_paid for bill in bills] == paid
    assert bills[0].total_discount_amounts[0].amount == 500
    kept = shop.again(subscription, "discounts").discounts
    assert [one.source.coupon for one in kept] == (
        [coupon.id] if terms["duration"] == "forever" else []
    )


def test_whole_coupon_makes_free_invoices_without_a_card(shop: Billing) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 100, "duration": "forever"})
    customer = shop.customer(None)
    subscription = shop.subscribe(customer, shop.plan(), discounts=[{"coupon": coupon.id}])
    assert subscription.status == "active"
    shop.advance(32 * DAY)
    assert [(bill.status, bill.total) for bill in shop.invoices(subscription)] == [
        ("paid", 0), ("paid", 0),
    ]  # fmt: skip
    assert shop.v1.payment_intents.list({"customer": customer.id}).data == []


def test_coupon_for_once_waits_out_a_trial(shop: Billing) -> None:
    coupon = shop.v1.coupons.create({"amount_off": 900, "currency": "usd", "duration": "once"})
    promotion = shop.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "NINE"}
    )
    subscription = shop.subscribe(
        shop.customer(),
        shop.plan(2900),
        trial_period_days=5,
        discounts=[{"promotion_code": promotion.id}],
    )
    shop.advance(45 * DAY)
    assert [bill.total for bill in shop.invoices(subscription)] == [0, 2000, 2900]


def test_discounts_come_and_go_with_an_update(shop: Billing) -> None:
    half = shop.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    subscription = shop.subscribe(shop.customer(), shop.plan(1000))
    update = {"discounts": [{"coupon": half.id}], "expand": ["discounts"]}
    found = shop.v1.subscriptions.update(subscription.id, update)
    kept = found.discounts[0]
    assert (kept.subscription, kept.source.coupon) == (subscription.id, half.id)
    again = {"discounts": [{"discount": kept.id}]}
    assert shop.v1.subscriptions.update(subscription.id, again).discounts == [kept.id]
    shop.advance(32 * DAY)
    assert shop.invoices(subscription)[-1].total == 500
    assert shop.v1.subscriptions.delete_discount(subscription.id).deleted
    assert shop.again(subscription).discounts == []
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.delete_discount(subscription.id)


def test_taxes_stand_on_every_invoice(shop: Billing) -> None:
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})
    within = shop.v1.tax_rates.create({"display_name": "VAT", "inclusive": True, "percentage": 25})
    on_top = shop.subscribe(shop.customer(), shop.plan(1000), default_tax_rates=[rate.id])
    included = shop.v1.subscriptions.create(
        {
            "customer": shop.customer().id,
            "items": [{"price": shop.plan(1000).id, "tax_rates": [within.id]}],
        }
    )
    shop.advance(32 * DAY)
    for bill in shop.invoices(on_top):
        assert (bill.subtotal, bill.total, bill.total_taxes[0].amount) == (1000, 1190, 190)
    for bill in shop.invoices(included):
        assert (bill.total, bill.total_excluding_tax, bill.amount_paid) == (1000, 800, 1000)


def test_automatic_tax_follows_the_customer_s_address(shop: Billing) -> None:
    customer = shop.customer(address={"country": "DE", "postal_code": "10115"})
    price = shop.plan(1000, tax_behavior="exclusive")
    subscription = shop.subscribe(
        customer, price, automatic_tax={"enabled": True}, expand=["latest_invoice"]
    )
    assert subscription.latest_invoice.total == 1190
    assert subscription.latest_invoice.automatic_tax.status == "complete"
    shop.v1.customers.update(customer.id, {"address": {"country": "AT", "postal_code": "1010"}})
    shop.advance(32 * DAY)
    assert shop.invoices(subscription)[-1].total == 1200


def test_settings_are_kept_and_told(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    wanted = {
        "description": "The big one",
        "metadata": {"team": "7"},
        "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        "cancellation_details": {"comment": "perhaps later", "feedback": "unused"},
    }
    events = shop.events(lambda: shop.v1.subscriptions.update(subscription.id, wanted))
    assert [event.type for event in events] == ["customer.subscription.updated"]
    assert previous(events[0]) == {
        "cancellation_details": {"comment": None, "feedback": None},
        "description": None,
        "metadata": {"team": None},
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    }
    assert shop.events(lambda: shop.v1.subscriptions.update(subscription.id, wanted)) == []


def test_invoice_of_a_subscription_may_get_more_items_while_it_is_a_draft(shop: Billing) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan(1000), discounts=[{"coupon": coupon.id}])
    shop.go_to(item_of(subscription).current_period_end + HOUR // 2)
    draft = shop.invoices(subscription)[-1]
    assert draft.status == "draft"
    shop.v1.invoice_items.create(
        {"customer": customer.id, "invoice": draft.id, "amount": 500, "currency": "usd"}
    )
    shop.advance(HOUR)
    assert shop.invoices(subscription)[-1].amount_paid == 1350
