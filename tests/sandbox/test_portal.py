"""The customer portal over plain HTTP, as a browser without script uses it: plans."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from bursar_sandbox.running import Sandbox
from portal_shop import BACK, DAY, PlanShop, day_of, leads_to, text_of


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> PlanShop:
    return PlanShop(checked_sandbox.base_url)


def test_the_first_page_says_what_is_paid_when_and_with_which_card(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    page = shop.portal(subscription.customer).get()
    assert page.status_code == 200
    told = text_of(page)
    ends = subscription["items"].data[0].current_period_end
    assert "Basic Active $15.00 a month" in told
    assert f"Next charge $15.00 on {day_of(ends)}, Visa ending in 4242." in told
    assert f'href="{BACK}"' in page.text
    assert "Back to shop.example" in told
    assert "Sandbox: plays Stripe." in told
    assert page.headers["cache-control"] == "no-store"
    assert "unsafe" not in page.headers["content-security-policy"]


def test_a_change_costs_what_its_page_has_said(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    choice = text_of(portal.get(f"/plans/{subscription.id}"))
    assert "Basic your plan $15.00 a month" in choice
    assert "Pro $30.00 a month" in choice
    quote = portal.quote(subscription.id, "Pro")
    told = text_of(quote)
    assert "From Basic, $15.00 a month" in told
    assert "To Pro, $30.00 a month" in told
    answer = portal.confirm(quote)
    assert leads_to(answer, "changed")
    after = shop.subscription(subscription.id)
    assert after["items"].data[0].price.id == shop.prices["Pro"]
    invoice = shop.v1.invoices.retrieve(after.latest_invoice)
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert f"Confirm and pay ${invoice.amount_paid / 100:.2f}" in told
    assert "Pro Active $30.00 a month" in text_of(portal.get())


def test_a_change_that_waits_says_so_and_charges_nothing_today(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(
        subscription.customer,
        {"subscription_update": {"proration_behavior": "create_prorations"}},
    )
    quote = portal.quote(subscription.id, "Pro")
    told = text_of(quote)
    assert "Nothing is charged today." in told
    assert "Confirm the change" in told
    assert leads_to(portal.confirm(quote), "changed")
    after = shop.subscription(subscription.id)
    assert after.latest_invoice == subscription.latest_invoice
    coming = shop.v1.invoices.create_preview({"subscription": subscription.id})
    assert f"Next invoice ${coming.amount_due / 100:.2f}" in told
    assert f"Next charge ${coming.amount_due / 100:.2f}" in text_of(portal.get())


def test_a_quote_that_is_true_no_more_is_shown_anew(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    quote = portal.quote(subscription.id, "Pro")
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    shop.v1.subscriptions.update(subscription.id, {"discounts": [{"coupon": coupon.id}]})
    answer = portal.confirm(quote)
    assert answer.status_code == 409
    assert "The amounts have changed since. You were not charged." in text_of(answer)
    assert shop.subscription(subscription.id)["items"].data[0].price.id == shop.prices["Basic"]
    assert leads_to(portal.confirm(answer), "changed")
    assert shop.subscription(subscription.id)["items"].data[0].price.id == shop.prices["Pro"]


def test_a_change_whose_charge_is_refused_changes_nothing(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    method = shop.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": subscription.customer}
    )
    shop.v1.subscriptions.update(subscription.id, {"default_payment_method": method.id})
    portal = shop.portal(subscription.customer)
    invoices = len(shop.v1.invoices.list({"customer": subscription.customer}).data)
    answer = portal.confirm(portal.quote(subscription.id, "Pro"))
    assert answer.status_code == 402
    told = text_of(answer)
    assert "You were not charged." in told
    assert "Your plan has not changed." in told
    after = shop.subscription(subscription.id)
    assert after["items"].data[0].price.id == shop.prices["Basic"]
    assert after.status == "active"
    assert len(shop.v1.invoices.list({"customer": subscription.customer}).data) == invoices


def test_pressing_twice_changes_once(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    quote = portal.quote(subscription.id, "Pro")
    assert leads_to(portal.confirm(quote), "changed")
    assert leads_to(portal.confirm(quote), "changed")
    assert len(shop.v1.invoices.list({"customer": subscription.customer}).data) == 2


def test_quantities_change_where_the_seller_lets_them(shop: PlanShop) -> None:
    subscription = shop.subscribed("Seats", quantity=2)
    portal = shop.portal(subscription.customer)
    assert 'name="quantity"' in portal.get(f"/plans/{subscription.id}").text
    quote = portal.quote(subscription.id, "Seats", 5)
    assert "To Seats, 5 × $9.00 a month" in text_of(quote)
    assert leads_to(portal.confirm(quote), "changed")
    assert shop.subscription(subscription.id)["items"].data[0].quantity == 5
    too_many = portal.quote(subscription.id, "Seats", 51)
    assert too_many.status_code == 303
    asked = httpx.get(f"{shop.sandbox_url}{too_many.headers['location']}")
    assert "Choose a quantity of 1 to 50" in text_of(asked)
    same = portal.quote(subscription.id, "Seats", 5)
    again = httpx.get(f"{shop.sandbox_url}{same.headers['location']}")
    assert "That is what you have already." in text_of(again)


def test_what_is_not_offered_can_not_be_had(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    secret = shop.v1.prices.create(
        {
            "product_data": {"name": "Staff"},
            "currency": "usd",
            "unit_amount": 0,
            "recurring": {"interval": "month"},
        }
    )
    shop.prices["Staff"] = secret.id
    portal = shop.portal(subscription.customer)
    path = f"/plans/{subscription.id}/change"
    fields = {"price": secret.id, "quantity": "1", "at": "0", "seen": "1:0"}
    assert leads_to(portal.post(path, **fields), "none")
    assert shop.subscription(subscription.id)["items"].data[0].price.id == shop.prices["Basic"]


def test_another_person_s_plan_is_out_of_reach(shop: PlanShop) -> None:
    mine, others = shop.subscribed(), shop.subscribed()
    portal = shop.portal(mine.customer)
    for path in ("", "/cancel", "/change"):
        assert leads_to(portal.get(f"/plans/{others.id}{path}"), "none")
    assert leads_to(portal.post(f"/plans/{others.id}/cancel"), "none")
    assert leads_to(portal.post(f"/plans/{others.id}/resume"), "none")
    assert shop.subscription(others.id).cancel_at is None


def test_a_plan_canceled_for_its_end_goes_on_again_by_one_button(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    ends = subscription["items"].data[0].current_period_end
    asked = text_of(portal.get(f"/plans/{subscription.id}/cancel"))
    assert f"You keep it until {day_of(ends)} . Nothing more is charged for it." in asked
    events = shop.events_of(
        lambda: portal.post(
            f"/plans/{subscription.id}/cancel", feedback="unused", comment="I moved"
        )
    )
    assert events == ["customer.subscription.updated"]
    canceled = shop.subscription(subscription.id)
    # As Stripe's portal does it in the flexible billing mode: a date, and not the flag.
    assert (canceled.cancel_at, canceled.cancel_at_period_end) == (ends, False)
    assert canceled.cancellation_details.feedback == "unused"
    assert canceled.cancellation_details.comment == "I moved"
    assert canceled.status == "active"
    page = portal.get()
    assert f"Basic Ends {day_of(ends)}" in text_of(page)
    assert "Change plan" not in page.text
    assert leads_to(portal.post(f"/plans/{subscription.id}/resume"), "resumed")
    going_on = shop.subscription(subscription.id)
    assert (going_on.cancel_at, going_on.canceled_at) == (None, None)
    assert "Basic Active" in text_of(portal.get())


def test_a_plan_ends_at_once_where_the_seller_has_it_so(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    terms = {"mode": "immediately", "proration_behavior": "create_prorations"}
    portal = shop.portal(subscription.customer, {"subscription_cancel": terms})
    assert "It ends now." in text_of(portal.get(f"/plans/{subscription.id}/cancel"))
    assert leads_to(portal.post(f"/plans/{subscription.id}/cancel"), "ended")
    assert shop.subscription(subscription.id).status == "canceled"
    credit = shop.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    assert [item.amount for item in credit] == [-1500]
    assert "No plan." in text_of(portal.get())


def test_a_reason_that_is_not_asked_for_is_not_kept(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    reasons = {"cancellation_reason": {"enabled": False, "options": ["unused"]}}
    portal = shop.portal(subscription.customer, {"subscription_cancel": reasons})
    assert 'name="feedback"' not in portal.get(f"/plans/{subscription.id}/cancel").text
    portal.post(f"/plans/{subscription.id}/cancel", feedback="unused", comment="x")
    details = shop.subscription(subscription.id).cancellation_details
    assert (details.feedback, details.comment) == (None, None)


def test_only_what_the_configuration_allows_is_there(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(
        subscription.customer,
        {
            "invoice_history": {"enabled": False},
            "payment_method_update": {"enabled": False},
            "subscription_cancel": {"enabled": False},
            "subscription_update": {"enabled": False},
        },
    )
    page = portal.get()
    for words in ("Cancel plan", "Change plan", "Add a card", "Invoices"):
        assert words not in page.text
    method = subscription.default_payment_method
    for path, fields in (
        (f"/plans/{subscription.id}/cancel", {}),
        (f"/cards/{method}", {"do": "remove"}),
        ("/cards/new", {"card_number": "4242 4242 4242 4242"}),
    ):
        answer = portal.post(path, **fields)
        assert answer.status_code in (303, 422)
    assert shop.subscription(subscription.id).cancel_at is None
    assert shop.v1.payment_methods.retrieve(method).customer == subscription.customer


def test_a_trial_says_until_when_it_is_free(shop: PlanShop) -> None:
    trial: Any = {"subscription_data": {"trial_period_days": 14}}
    subscription = shop.subscribed(**trial)
    told = text_of(shop.portal(subscription.customer).get())
    ends = day_of(subscription.trial_end)
    assert f"Basic Trial until {ends} $15.00 a month" in told
    assert f"First charge $15.00 on {ends}, Visa ending in 4242." in told


def test_the_address_ends_when_nobody_opens_it_and_when_nobody_uses_it(
    start: Any,
) -> None:
    shop = PlanShop(start().base_url)
    customer = shop.v1.customers.create({"email": "ada@lovelace.example"}).id
    unseen, used = shop.portal(customer), shop.portal(customer)
    assert used.get().status_code == 200
    shop.advance(6 * 60)
    over = unseen.get()
    assert over.status_code == 410
    assert "This page has ended" in over.text
    assert f'href="{BACK}"' in over.text
    assert unseen.post("/cards/new").status_code == 410
    assert used.get().status_code == 200
    shop.advance(3600)
    assert used.get().status_code == 410
    assert httpx.get(f"{shop.sandbox_url}/p/session/test_none").status_code == 404


def test_a_failed_renewal_says_so_and_is_paid_on_its_invoice_s_page(start: Any) -> None:
    shop = PlanShop(start().base_url)
    subscription = shop.subscribed()
    method = shop.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": subscription.customer}
    )
    shop.v1.subscriptions.update(subscription.id, {"default_payment_method": method.id})
    shop.advance(32 * DAY)
    assert shop.subscription(subscription.id).status == "past_due"
    portal = shop.portal(subscription.customer)
    page = portal.get()
    told = text_of(page)
    assert "Basic Payment failed" in told
    assert "The payment of $15.00 failed. Pay it now, or change the card." in told
    assert "To be paid" in told
    invoice = shop.v1.invoices.retrieve(shop.subscription(subscription.id).latest_invoice)
    assert f'href="{invoice.hosted_invoice_url}"' in page.text


def test_a_form_on_another_site_does_nothing_here(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    answer = httpx.post(
        f"{portal.url}/plans/{subscription.id}/cancel",
        headers={"origin": "http://elsewhere.example"},
    )
    assert answer.status_code == 403
    assert shop.subscription(subscription.id).cancel_at is None


def test_a_person_on_a_test_clock_lives_in_its_time_on_every_page(shop: PlanShop) -> None:
    begin = int(shop.sell().created)
    clock = shop.v1.test_helpers.test_clocks.create({"frozen_time": begin - 100 * DAY})
    customer = shop.v1.customers.create({"email": "c@lock.example", "test_clock": clock.id}).id
    subscription = shop.subscribed(customer=customer)
    assert subscription.start_date == begin - 100 * DAY
    portal = shop.portal(customer)
    ends = subscription["items"].data[0].current_period_end
    assert f"Next charge $15.00 on {day_of(ends)}" in text_of(portal.get())
    clocks = shop.v1.test_helpers.test_clocks
    clocks.advance(clock.id, {"frozen_time": ends + 2 * 3600})
    while clocks.retrieve(clock.id).status == "advancing":
        time.sleep(0.05)
    # The address of the portal ends by the sandbox's own clock, which has not gone on.
    page = portal.get()
    assert page.status_code == 200
    later = shop.subscription(subscription.id)["items"].data[0].current_period_end
    assert f"Next charge $15.00 on {day_of(later)}" in text_of(page)
    assert leads_to(portal.confirm(portal.quote(subscription.id, "Pro")), "changed")
    invoice = shop.v1.invoices.retrieve(shop.subscription(subscription.id).latest_invoice)
    assert (invoice.created, invoice.amount_paid > 0) == (ends + 2 * 3600, True)
