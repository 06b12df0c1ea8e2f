"""What changes of a subscription cost, reckoned by hand: all happen on a clock, to the second."""

from __future__ import annotations

from typing import Any

import pytest

from bursar_sandbox.running import Sandbox
from plan_changes import APRIL, MAY, MIDDLE, Plans, amounts, change, prorations, subscribed


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def plans(v1: Any) -> Plans:
    return Plans(v1)


def test_upgrade_in_the_middle_waits_for_the_next_invoice(v1: Any, plans: Plans) -> None:
    subscription, clock = subscribed(v1, plans.monthly(1000))
    change(v1, subscription, plans.monthly(2000, "Pro"))
    credit, charge = prorations(v1, subscription)
    assert (credit.amount, charge.amount) == (-500, 1000)
    assert credit.description == "Unused time on Basic after 16 Apr 2026"
    assert charge.description == "Remaining time on Pro after 16 Apr 2026"
    assert {(item.period.start, item.period.end) for item in (credit, charge)} == {(MIDDLE, MAY)}
    assert {(item.proration, item.discountable, item.invoice) for item in (credit, charge)} == {
        (True, False, None)
    }
    v1.test_helpers.test_clocks.advance(clock, {"frozen_time": MAY + 2 * 3600})
    renewal = v1.invoices.list({"subscription": subscription.id}).data[0]
    assert (renewal.billing_reason, amounts(renewal)) == ("subscription_cycle", [-500, 1000, 2000])
    assert (renewal.total, renewal.status) == (2500, "paid")
    assert v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data == []


def test_credit_names_the_line_that_it_gives_back(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    first = v1.invoices.retrieve(subscription.latest_invoice)
    change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    made = v1.invoices.list({"subscription": subscription.id}).data[0]
    details = made.lines.data[0].parent.subscription_item_details
    credited = details.proration_details.credited_items
    assert credited.invoice == first.id
    assert credited.invoice_line_items == [first.lines.data[0].id]
    item = v1.invoice_items.retrieve(details.invoice_item)
    assert item.proration_details.credited_items.type == "invoice_line_items"
    assert item.parent.subscription_details.subscription_item == details.subscription_item


def test_always_invoice_is_paid_at_once(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    made = v1.invoices.retrieve(after.latest_invoice)
    assert (made.billing_reason, made.status) == ("subscription_update", "paid")
    assert (amounts(made), made.total, made.amount_paid) == ([-500, 1000], 500, 500)
    assert prorations(v1, subscription, pending=True) == []
    item = after["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (APRIL, MAY)


def test_none_makes_neither(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="none")
    assert after.latest_invoice == subscription.latest_invoice
    assert prorations(v1, subscription) == []


def test_downgrade_leaves_credit_on_the_balance(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(3000))
    after = change(v1, subscription, plans.monthly(1000), proration_behavior="always_invoice")
    made = v1.invoices.retrieve(after.latest_invoice)
    assert (amounts(made), made.total, made.amount_due, made.status) == (
        [-1500, 500], -1000, 0, "paid",
    )  # fmt: skip
    assert v1.customers.retrieve(subscription.customer).balance == -1000


def test_more_seats_give_all_back_and_charge_all_anew(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    item = subscription["items"].data[0].id
    v1.subscriptions.update(subscription.id, {"items": [{"id": item, "quantity": 5}]})
    credit, charge = prorations(v1, subscription)
    assert (credit.amount, credit.quantity) == (-500, 1)
    assert (charge.amount, charge.quantity) == (2500, 5)
    assert charge.description == "Remaining time on 5 × Basic after 16 Apr 2026"


def test_another_interval_begins_a_new_period_and_is_billed_at_once(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    after = change(v1, subscription, plans.yearly(10000))
    made = v1.invoices.retrieve(after.latest_invoice)
    assert (amounts(made), made.total, made.status) == ([-500, 10000], 9500, "paid")
    item = after["items"].data[0]
    assert item.current_period_start == after.billing_cycle_anchor == MIDDLE
    assert item.current_period_end == MIDDLE + 365 * 24 * 3600
    assert [line.parent.subscription_item_details.proration for line in made.lines.data] == [
        True, False,
    ]  # fmt: skip


def test_another_interval_without_proration_charges_the_whole(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    after = change(v1, subscription, plans.yearly(10000), proration_behavior="none")
    assert amounts(v1.invoices.retrieve(after.latest_invoice)) == [10000]


def test_anchor_now_gives_back_what_is_left_and_bills_a_new_period(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    after = v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    made = v1.invoices.retrieve(after.latest_invoice)
    assert amounts(made) == [-500, 1000]
    assert after["items"].data[0].current_period_start == MIDDLE


def test_second_change_credits_what_the_first_has_charged(v1: Any, plans: Plans) -> None:
    subscription, clock = subscribed(v1, plans.monthly(1000))
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    v1.test_helpers.test_clocks.advance(clock, {"frozen_time": (MIDDLE + MAY) // 2})
    after = change(v1, after, plans.monthly(4000), proration_behavior="always_invoice")
    # A quarter of the month is left: half of the 10.00 comes back, a quarter of 40.00 is charged.
    assert amounts(v1.invoices.retrieve(after.latest_invoice)) == [-500, 1000]


def test_change_of_mind_before_the_invoice_credits_the_item_that_waits(
    v1: Any, plans: Plans
) -> None:
    basic = plans.monthly(1000)
    subscription, _ = subscribed(v1, basic)
    after = change(v1, subscription, plans.monthly(2000))
    charge = prorations(v1, subscription)[1]
    change(v1, after, basic)
    items = prorations(v1, subscription)
    assert [item.amount for item in items] == [-500, 1000, -1000, 500]
    assert items[2].proration_details.credited_items.type == "invoice_item"
    assert items[2].proration_details.credited_items.invoice_item == charge.id


def test_coupon_that_goes_on_counts_on_both_sides(v1: Any, plans: Plans) -> None:
    coupon = v1.coupons.create({"percent_off": 20, "duration": "forever"})
    subscription, _ = subscribed(v1, plans.monthly(1000), discounts=[{"coupon": coupon.id}])
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    made = v1.invoices.retrieve(after.latest_invoice)
    assert (amounts(made), made.total) == ([-400, 800], 400)
    assert [len(line.discounts) for line in made.lines.data] == [1, 1]
    assert [line.discount_amounts[0].amount for line in made.lines.data] == [0, 0]


def test_itemized_prorations_show_their_discounts(v1: Any, plans: Plans) -> None:
    coupon = v1.coupons.create({"percent_off": 20, "duration": "forever"})
    mode = {"type": "flexible", "flexible": {"proration_discounts": "itemized"}}
    subscription, _ = subscribed(
        v1, plans.monthly(1000), discounts=[{"coupon": coupon.id}], billing_mode=mode
    )
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    made = v1.invoices.retrieve(after.latest_invoice)
    assert (amounts(made), made.total) == ([-500, 1000], 400)
    assert [line.discount_amounts[0].amount for line in made.lines.data] == [-100, 200]


def test_coupon_of_the_first_invoice_alone_is_not_given_back_twice(v1: Any, plans: Plans) -> None:
    coupon = v1.coupons.create({"percent_off": 50, "duration": "once"})
    subscription, _ = subscribed(v1, plans.monthly(1000), discounts=[{"coupon": coupon.id}])
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    # 5.00 were charged, so 2.50 come back; the new price is charged in full.
    assert amounts(v1.invoices.retrieve(after.latest_invoice)) == [-250, 1000]


@pytest.mark.parametrize(
    ("inclusive", "total", "tax"), [(False, 595, [-95, 190]), (True, 500, [-80, 160])]
)
def test_tax_follows_credit_and_charge(
    v1: Any, plans: Plans, inclusive: bool, total: int, tax: list[int]
) -> None:
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": inclusive})
    subscription, _ = subscribed(v1, plans.monthly(1000), default_tax_rates=[rate.id])
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    made = v1.invoices.retrieve(after.latest_invoice)
    assert (amounts(made), made.total) == ([-500, 1000], total)
    assert [line.taxes[0].amount for line in made.lines.data] == tax


def test_credit_is_taxed_as_its_charge_was(v1: Any, plans: Plans) -> None:
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False})
    subscription, _ = subscribed(v1, plans.monthly(1000))
    v1.subscriptions.update(subscription.id, {"default_tax_rates": [rate.id]})
    after = change(v1, subscription, plans.monthly(2000), proration_behavior="always_invoice")
    made = v1.invoices.retrieve(after.latest_invoice)
    assert [[tax.amount for tax in line.taxes] for line in made.lines.data] == [[], [200]]
    assert made.total == 700


def test_yen_are_prorated_in_whole_ones(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(999, currency="jpy"))
    change(v1, subscription, plans.monthly(2000, currency="jpy"))
    assert [item.amount for item in prorations(v1, subscription)] == [-500, 1000]


def test_date_of_proration_is_the_callers(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(3000))
    day = APRIL + 10 * 24 * 3600
    change(v1, subscription, plans.monthly(6000), proration_date=day)
    assert [item.amount for item in prorations(v1, subscription)] == [-2000, 4000]


def test_nothing_is_prorated_while_it_is_tried(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000), trial_period_days=30)
    change(v1, subscription, plans.monthly(2000))
    assert prorations(v1, subscription) == []


def test_item_that_comes_is_charged_for_what_is_left(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    extra = plans.monthly(600, "Extra")
    v1.subscriptions.update(subscription.id, {"items": [{"price": extra}]})
    assert [item.amount for item in prorations(v1, subscription)] == [300]


def test_cancelled_subscription_gives_back_what_is_left_when_asked(v1: Any, plans: Plans) -> None:
    subscription, _ = subscribed(v1, plans.monthly(1000))
    v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    made = v1.invoices.list({"subscription": subscription.id}).data[0]
    assert (amounts(made), made.total) == ([-500], -500)
    assert v1.customers.retrieve(subscription.customer).balance == -500
