"""The hosted payment page in subscription mode, over plain HTTP."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import FORM, answer_bank
from portal_shop import BANK_ASKS, DAY, DECLINED, PlanShop, day_of, text_of


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> PlanShop:
    return PlanShop(checked_sandbox.base_url)


TRIAL: dict[str, Any] = {"subscription_data": {"trial_period_days": 14}}
NO_CARD: dict[str, Any] = {
    "payment_method_collection": "if_required",
    "subscription_data": {
        "trial_period_days": 14,
        "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
    },
}


def post(sold: Any, **changes: str) -> httpx.Response:
    return httpx.post(sold.url, data={**FORM, **changes}, timeout=30)


def at_bank(sold: Any, answer: str) -> httpx.Response:
    sent = post(sold, card_number=BANK_ASKS)
    assert sent.status_code == 303
    return answer_bank(urljoin(sold.url, sent.headers["location"]), answer)


def completed(shop: PlanShop, sold: Any) -> Any:
    expand = {"expand": ["subscription", "invoice"]}
    session = shop.v1.checkout.sessions.retrieve(sold.id, expand)
    assert session.status == "complete"
    return session


def test_the_page_says_what_renews_and_a_card_subscribes(shop: PlanShop) -> None:
    sold = shop.sell(subscription_data={"metadata": {"user": "ada"}})
    assert (sold.mode, sold.subscription, sold.payment_method_collection) == (
        "subscription", None, "always",
    )  # fmt: skip
    assert (sold.amount_total, sold.payment_status) == (1500, "unpaid")
    told = text_of(httpx.get(sold.url))
    assert "Total today $15.00 then $15.00 a month" in told
    assert "You pay now, then $15.00 a month, until you cancel." in told
    assert "[Test] Subscribe at shop.example" in told
    answer = post(sold)
    assert answer.headers["location"] == f"http://shop.example/thanks?session={sold.id}"
    session = completed(shop, sold)
    assert session.payment_status == "paid"
    # Of this mode the intent belongs to the invoice.
    assert (session.payment_intent, session.setup_intent) == (None, None)
    subscription = session.subscription
    assert (subscription.status, subscription.metadata["user"]) == ("active", "ada")
    assert session.invoice.id == subscription.latest_invoice
    assert (session.invoice.amount_paid, session.invoice.billing_reason) == (
        1500, "subscription_create",
    )  # fmt: skip
    assert subscription.default_payment_method is not None
    closed = text_of(httpx.get(f"{shop.sandbox_url}/c/pay/{sold.id}"))
    assert "You are subscribed" in closed
    assert "You paid $15.00 to shop.example." in closed


def test_a_trial_takes_a_card_and_no_money(shop: PlanShop) -> None:
    sold = shop.sell(**TRIAL)
    assert (sold.amount_total, sold.payment_status) == (0, "no_payment_required")
    told = text_of(httpx.get(sold.url))
    ends = day_of(sold.created + 14 * DAY)
    assert f"Total today $0.00 14 days free, then $15.00 a month from {ends}" in told
    assert f"Your card is charged $15.00 on {ends}" in told
    assert "Start trial" in told
    assert post(sold, card_number="").status_code == 422
    assert post(sold).status_code == 303
    session = completed(shop, sold)
    assert session.payment_status == "no_payment_required"
    subscription = session.subscription
    assert subscription.status == "trialing"
    assert subscription.trial_end - subscription.trial_start == 14 * DAY
    assert subscription.default_payment_method is not None
    assert (session.invoice.amount_due, session.invoice.status) == (0, "paid")
    assert shop.v1.charges.list({"customer": session.customer}).data == []


def test_a_trial_without_a_card_asks_for_none(shop: PlanShop) -> None:
    sold = shop.sell(**NO_CARD)
    page = httpx.get(sold.url)
    assert "card_number" not in page.text
    assert "Nothing is charged today, so no card is asked for." in text_of(page)
    assert post(sold, card_number="", expiry="", security_code="").status_code == 303
    subscription = completed(shop, sold).subscription
    assert (subscription.status, subscription.default_payment_method) == ("trialing", None)
    assert subscription.trial_settings.end_behavior.missing_payment_method == "cancel"


def test_a_trial_may_be_set_by_its_end(shop: PlanShop) -> None:
    ends = int(shop.sell().created) + 30 * DAY
    sold = shop.sell(subscription_data={"trial_end": ends})
    assert f"30 days free, then $15.00 a month from {day_of(ends)}" in text_of(httpx.get(sold.url))
    post(sold)
    assert completed(shop, sold).subscription.trial_end == ends


@pytest.mark.parametrize("wish", [{}, TRIAL], ids=["paid", "trial"])
def test_a_declined_card_begins_nothing_and_another_one_does(
    shop: PlanShop, wish: dict[str, Any]
) -> None:
    sold = shop.sell(**wish)
    answer = post(sold, card_number=DECLINED)
    assert answer.status_code == 402
    assert "You were not charged." in text_of(answer)
    session = shop.v1.checkout.sessions.retrieve(sold.id)
    assert (session.status, session.subscription) == ("open", None)
    assert shop.v1.subscriptions.list({"customer": session.customer}).data == []
    assert post(sold).status_code == 303
    found = completed(shop, sold)
    assert found.customer == session.customer
    assert found.subscription.status == ("trialing" if wish else "active")


@pytest.mark.parametrize("wish", [{}, TRIAL], ids=["paid", "trial"])
def test_the_bank_may_want_to_see_the_buyer_first(shop: PlanShop, wish: dict[str, Any]) -> None:
    sold = shop.sell(**wish)
    back = at_bank(sold, "refuse")
    assert back.headers["location"].endswith(f"/c/pay/{sold.id}?problem=bank")
    told = text_of(httpx.get(urljoin(sold.url, back.headers["location"])))
    assert "Your bank did not confirm the payment. You were not charged." in told
    confirmed = at_bank(sold, "confirm")
    assert confirmed.headers["location"] == f"http://shop.example/thanks?session={sold.id}"
    subscription = completed(shop, sold).subscription
    assert subscription.status == ("trialing" if wish else "active")
    method = shop.v1.payment_methods.retrieve(subscription.default_payment_method)
    assert method.card.last4 == "3184"


@pytest.mark.parametrize(
    "wish",
    [{}, {"subscription_data": {"trial_period_days": 14}}],
    ids=["paid", "trial"],
)
def test_the_page_announces_what_is_sent_in_order(shop: PlanShop, wish: dict[str, Any]) -> None:
    sold = shop.sell(**wish)
    groups = re.findall(r"<dt>(.+?)</dt>(.+?)</div>", httpx.get(sold.url).text, re.S)
    accepted, declined, asked, left = (
        re.findall(r"<code>(.+?)</code>", listed) for _, listed in groups
    )
    assert shop.events_of(lambda: post(sold)) == accepted
    sold = shop.sell(**wish)
    assert shop.events_of(lambda: post(sold, card_number=DECLINED)) == declined
    sold = shop.sell(**wish)
    assert shop.events_of(lambda: at_bank(sold, "refuse")) == asked
    assert left == ["checkout.session.expired"]


def test_the_page_without_a_card_announces_what_is_sent(shop: PlanShop) -> None:
    sold = shop.sell(**NO_CARD)
    groups = re.findall(r"<dt>(.+?)</dt>(.+?)</div>", httpx.get(sold.url).text, re.S)
    placed, _ = (re.findall(r"<code>(.+?)</code>", listed) for _, listed in groups)
    assert shop.events_of(lambda: post(sold, card_number="")) == placed


def test_a_customer_of_the_shop_subscribes_under_their_own_address(shop: PlanShop) -> None:
    customer = shop.v1.customers.create({"email": "grace@hopper.example", "name": "Grace"})
    sold = shop.sell(customer=customer.id)
    assert sold.customer_creation is None
    assert 'value="grace@hopper.example"' in httpx.get(sold.url).text
    post(sold)
    session = completed(shop, sold)
    assert (session.customer, session.subscription.customer) == (customer.id, customer.id)
    assert session.customer_details.email == "grace@hopper.example"


def test_a_code_lowers_what_is_paid_for_as_long_as_it_lasts(shop: PlanShop) -> None:
    for code, duration, then in (
        ("EVERLASTING", {"duration": "forever"}, "then $12.00 a month"),
        ("ONE-TIME", {"duration": "once"}, "then $15.00 a month"),
        (
            "THREE",
            {"duration": "repeating", "duration_in_months": 3},
            "then $12.00 a month in the first 3 months and $15.00 a month after that",
        ),
    ):
        coupon = shop.v1.coupons.create({"percent_off": 20, **duration})
        promotion = {"type": "coupon", "coupon": coupon.id}
        shop.v1.promotion_codes.create({"promotion": promotion, "code": code})
        sold = shop.sell(allow_promotion_codes=True)
        typed = httpx.post(f"{sold.url}/code", data={**FORM, "code": code, "act": "apply"})
        assert f"Total today $12.00 {then}" in text_of(typed)
        post(sold)
        session = completed(shop, sold)
        assert (session.amount_total, session.invoice.amount_paid) == (1200, 1200)
        coming = shop.v1.invoices.create_preview({"subscription": session.subscription.id})
        assert coming.amount_due == (1500 if code == "ONE-TIME" else 1200)


def test_a_code_over_everything_saves_the_card_where_one_is_wanted(shop: PlanShop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 100, "duration": "once"})
    sold = shop.sell(discounts=[{"coupon": coupon.id}])
    told = text_of(httpx.get(sold.url))
    assert "Nothing is charged today, then $15.00 a month, until you cancel." in told
    assert post(sold, card_number="").status_code == 422
    assert post(sold).status_code == 303
    session = completed(shop, sold)
    assert session.payment_status == "no_payment_required"
    assert session.subscription.status == "active"
    assert session.subscription.default_payment_method is not None


def test_the_quantity_can_be_changed_where_the_shop_lets_it(shop: PlanShop) -> None:
    row = {
        "price": shop.prices["Seats"],
        "quantity": 2,
        "adjustable_quantity": {"enabled": True, "minimum": 1, "maximum": 9},
    }
    for wish, now in (({}, "$45.00"), (TRIAL, "$0.00")):
        sold = shop.sell(line_items=[row], **wish)
        (item,) = shop.v1.checkout.sessions.line_items.list(sold.id).data
        changed = httpx.post(
            f"{sold.url}/quantity", data={**FORM, "item": item.id, "quantity": "5"}
        )
        told = text_of(changed)
        assert f"Total today {now}" in told
        assert "then $45.00 a month" in told
        assert post(sold).status_code == 303
        assert completed(shop, sold).subscription["items"].data[0].quantity == 5


def test_what_is_sold_once_is_paid_beside_the_trial(shop: PlanShop) -> None:
    once = shop.v1.prices.create(
        {"product_data": {"name": "Set-up"}, "currency": "usd", "unit_amount": 500}
    )
    rows = [{"price": shop.prices["Basic"], "quantity": 1}, {"price": once.id, "quantity": 1}]
    sold = shop.sell(line_items=rows, **TRIAL)
    assert (sold.amount_total, sold.payment_status) == (500, "unpaid")
    assert "Total today $5.00 14 days free, then $15.00 a month" in text_of(httpx.get(sold.url))
    post(sold)
    session = completed(shop, sold)
    assert (session.payment_status, session.subscription.status) == ("paid", "trialing")
    assert session.invoice.amount_paid == 500


def test_pressing_twice_subscribes_once(shop: PlanShop) -> None:
    sold = shop.sell()
    first, second = post(sold), post(sold)
    assert first.headers["location"] == second.headers["location"]
    customer = completed(shop, sold).customer
    assert len(shop.v1.subscriptions.list({"customer": customer}).data) == 1
    assert len(shop.v1.charges.list({"customer": customer}).data) == 1


def test_tax_of_the_buyer_s_place_is_paid_and_renews(shop: PlanShop) -> None:
    rate = shop.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 20, "inclusive": False, "country": "GB"}
    )
    sold = shop.sell(subscription_data={"default_tax_rates": [rate.id]})
    assert sold.amount_total == 1800
    told = text_of(httpx.get(sold.url))
    assert "Total today $18.00 then $18.00 a month" in told
    post(sold)
    session = completed(shop, sold)
    assert session.invoice.amount_paid == 1800
    coming = shop.v1.invoices.create_preview({"subscription": session.subscription.id})
    assert coming.amount_due == 1800


def refused(shop: PlanShop, **changes: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.sell(**changes)
    return caught.value


def test_a_session_that_can_not_be_is_refused_by_name(shop: PlanShop) -> None:
    once = shop.v1.prices.create(
        {"product_data": {"name": "Set-up"}, "currency": "usd", "unit_amount": 500}
    )
    yearly = [{"price": shop.prices[name], "quantity": 1} for name in ("Basic", "Basic year")]
    now = shop.sell().created
    for changes, param in (
        ({"line_items": [{"price": once.id, "quantity": 1}]}, "line_items"),
        ({"line_items": yearly}, "line_items"),
        ({"payment_intent_data": {"description": "x"}}, "payment_intent_data"),
        ({"customer_creation": "always"}, "customer_creation"),
        ({"subscription_data": {"trial_end": now + DAY}}, "subscription_data[trial_end]"),
        (
            {"subscription_data": {"trial_period_days": 731}},
            "subscription_data[trial_period_days]",
        ),
        (
            {"subscription_data": {"trial_period_days": 3, "trial_end": now + 9 * DAY}},
            "subscription_data[trial_end]",
        ),
        ({"subscription_data": {"nonsense": 1}}, "subscription_data[nonsense]"),
        ({"payment_method_collection": "perhaps"}, "payment_method_collection"),
    ):
        assert refused(shop, **changes).param == param


def test_a_session_nobody_completes_ends_with_its_intent(start: Any) -> None:
    shop = PlanShop(start().base_url)
    sold = shop.sell(**TRIAL)
    sent = post(sold, card_number=BANK_ASKS)
    intent = sent.headers["location"].rpartition("/")[2]
    shop.advance(25 * 3600)
    assert shop.v1.checkout.sessions.retrieve(sold.id).status == "expired"
    assert shop.v1.setup_intents.retrieve(intent).status == "canceled"
    assert httpx.get(sold.url).status_code == 410
