"""Subscriptions: begun in each way, paid or not, found in lists, ended."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from billing_shop import DAY, HOUR, Billing, item_of, previous
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from hosted_page_shop import answer_bank

FIRST_PAID = [
    "invoice.created",
    "payment_intent.created",
    "invoice.finalized",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice_payment.paid",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_succeeded",
    "customer.subscription.created",
]


@pytest.fixture
def shop(checked_sandbox: Sandbox, client_for: Any) -> Billing:
    """A shop at an empty sandbox, whose clock shows real time."""
    control_client.reset(checked_sandbox.base_url)
    return Billing(checked_sandbox.base_url, client_for(checked_sandbox).v1)


def refused(act: Any) -> Any:
    with pytest.raises(stripe.StripeError) as caught:
        act()
    return caught.value


def test_subscription_with_a_good_card_is_active_and_its_first_invoice_paid(shop: Billing) -> None:
    price, customer = shop.plan(), shop.customer()
    made: list[Any] = []
    wanted = {"metadata": {"plan": "pro"}, "expand": ["latest_invoice.payments"]}
    assert shop.event_types(lambda: made.append(shop.subscribe(customer, price, **wanted)))[1:] == (
        FIRST_PAID
    )
    subscription = made[0]
    assert (subscription.status, subscription.billing_mode.type) == ("active", "flexible")
    item = item_of(subscription)
    assert (item.price.id, item.plan.id, item.quantity) == (price.id, price.id, 1)
    assert item.current_period_start == subscription.billing_cycle_anchor == subscription.created
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    assert (invoice.amount_paid, invoice.attempt_count, invoice.number[-4:]) == (2900, 1, "0001")
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.parent.subscription_details.metadata.plan == "pro"
    assert [one.status for one in invoice.payments.data] == ["paid"]
    line = invoice.lines.data[0]
    details = line.parent.subscription_item_details
    assert (details.subscription_item, details.proration) == (item.id, False)
    assert line.pricing.price_details.price == price.id
    assert (line.description, line.period.end) == (
        "1 × Pro (at $29.00 / month)",
        item.current_period_end,
    )


def test_invoice_s_metadata_is_a_snapshot_of_the_subscription_s(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(), metadata={"seats": "3"})
    shop.v1.subscriptions.update(subscription.id, {"metadata": {"seats": "5"}})
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    assert invoice.parent.subscription_details.metadata.seats == "3"


def test_declined_card_leaves_the_subscription_incomplete_until_another_pays(
    shop: Billing,
) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    subscription = shop.subscribe(customer, shop.plan())
    assert subscription.status == "incomplete"
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.status, invoice.attempted, invoice.next_payment_attempt) == ("open", True, None)
    card = shop.use_card(customer.id, "pm_card_visa")
    events = shop.events(lambda: shop.v1.invoices.pay(invoice.id, {"payment_method": card}))
    assert [event.type for event in events][-1] == "customer.subscription.updated"
    assert previous(events[-1]) == {"status": "incomplete"}
    assert shop.again(subscription).status == "active"


def test_incomplete_subscription_expires_after_23_hours_and_its_invoice_is_void(
    shop: Billing,
) -> None:
    subscription = shop.subscribe(shop.customer("pm_card_chargeCustomerFail"), shop.plan())
    shop.advance(22 * HOUR)
    assert shop.again(subscription).status == "incomplete"
    types = shop.event_types(lambda: shop.advance(HOUR))
    assert types[-2:] == ["invoice.voided", "customer.subscription.updated"]
    found = shop.again(subscription, "latest_invoice")
    assert (found.status, found.latest_invoice.status) == ("incomplete_expired", "void")
    assert found.ended_at == subscription.created + 23 * HOUR


def test_all_or_nothing_leaves_nothing_of_a_declined_card(shop: Billing) -> None:
    customer, price = shop.customer("pm_card_chargeCustomerFail"), shop.plan()
    wanted = {"payment_behavior": "error_if_incomplete"}
    error = refused(lambda: shop.subscribe(customer, price, **wanted))
    assert (error.http_status, error.code) == (402, "card_declined")
    assert isinstance(error, stripe.CardError)
    assert shop.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert shop.v1.invoices.list({"customer": customer.id}).data == []


def test_all_or_nothing_leaves_nothing_of_a_bank_that_asks(shop: Billing) -> None:
    customer = shop.customer("pm_card_threeDSecure2Required")
    wanted = {"payment_behavior": "error_if_incomplete"}
    error = refused(lambda: shop.subscribe(customer, shop.plan(), **wanted))
    assert error.code == "invoice_payment_intent_requires_action"
    assert shop.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []


def test_default_incomplete_waits_for_the_page_that_pays(shop: Billing) -> None:
    customer = shop.customer(None)
    subscription = shop.subscribe(
        customer,
        shop.plan(),
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.confirmation_secret"],
    )
    assert subscription.status == "incomplete"
    secret = subscription.latest_invoice.confirmation_secret
    assert secret.type == "payment_intent"
    intent = secret.client_secret.partition("_secret_")[0]
    shop.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    found = shop.again(subscription, "latest_invoice", "default_payment_method")
    assert (found.status, found.latest_invoice.status) == ("active", "paid")
    assert found.default_payment_method.customer == customer.id
    shop.advance(32 * DAY)
    assert [bill.status for bill in shop.invoices(subscription)] == ["paid", "paid"]


def test_default_incomplete_with_a_trial_asks_for_a_card_only(shop: Billing) -> None:
    subscription = shop.subscribe(
        shop.customer(None),
        shop.plan(),
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        trial_period_days=7,
        expand=["pending_setup_intent"],
    )
    assert subscription.status == "trialing"
    setup = subscription.pending_setup_intent
    shop.v1.setup_intents.confirm(setup.id, {"payment_method": "pm_card_visa"})
    found = shop.again(subscription)
    assert found.pending_setup_intent is None
    shop.advance(8 * DAY)
    assert [bill.amount_paid for bill in shop.invoices(subscription)] == [0, 2900]


def test_bank_that_asks_is_answered_and_the_subscription_becomes_active(shop: Billing) -> None:
    customer = shop.customer("pm_card_threeDSecure2Required")
    wanted = {"expand": ["latest_invoice.confirmation_secret"]}
    made: list[Any] = []
    types = shop.event_types(lambda: made.append(shop.subscribe(customer, shop.plan(), **wanted)))
    assert "invoice.payment_action_required" in types
    assert made[0].status == "incomplete"
    secret = made[0].latest_invoice.confirmation_secret.client_secret
    intent = shop.v1.payment_intents.retrieve(secret.partition("_secret_")[0])
    assert intent.status == "requires_action"
    answer_bank(intent.next_action.use_stripe_sdk.stripe_js, "confirm")
    assert shop.again(made[0]).status == "active"


def test_customer_without_a_card_is_refused(shop: Billing) -> None:
    error = refused(lambda: shop.subscribe(shop.customer(None), shop.plan()))
    assert (error.http_status, error.code) == (400, "resource_missing")
    assert "no attached payment source or default payment method" in error.user_message


def test_invoice_that_is_sent_makes_an_active_subscription_that_gets_past_due(
    shop: Billing,
) -> None:
    wanted = {"collection_method": "send_invoice", "days_until_due": 5}
    subscription = shop.subscribe(shop.customer(None), shop.plan(), **wanted)
    assert subscription.status == "active"
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.status, invoice.due_date) == ("open", subscription.created + 5 * DAY)
    shop.advance(6 * DAY)
    assert shop.again(subscription).status == "past_due"
    shop.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert shop.again(subscription).status == "active"


def test_several_items_and_quantities_stand_on_one_invoice(shop: Billing) -> None:
    seats, support = shop.plan(1000, name="Seats"), shop.plan(500, name="Support")
    setup = shop.v1.prices.create(
        {"product": support.product, "currency": "usd", "unit_amount": 9900}
    )
    wanted = {
        "customer": shop.customer().id,
        "items": [{"price": seats.id, "quantity": 4}, {"price": support.id}],
        "add_invoice_items": [{"price": setup.id}],
        "expand": ["latest_invoice"],
    }
    subscription = shop.v1.subscriptions.create(wanted)
    lines = subscription.latest_invoice.lines.data
    assert sorted(line.amount for line in lines) == [500, 4000, 9900]
    assert subscription.latest_invoice.amount_paid == 14400
    assert shop.invoices(subscription)[0].lines.data[0].subscription == subscription.id


def test_price_made_up_on_the_way_is_billed(shop: Billing) -> None:
    product = shop.v1.products.create({"name": "Odd"})
    data = {
        "currency": "eur",
        "product": product.id,
        "unit_amount": 700,
        "recurring": {"interval": "week"},
    }
    wanted = {"customer": shop.customer().id, "items": [{"price_data": data}]}
    subscription = shop.v1.subscriptions.create(wanted)
    assert subscription.currency == "eur"
    item = item_of(subscription)
    assert item.current_period_end - item.current_period_start == 7 * DAY


def test_credit_balance_pays_before_the_card(shop: Billing) -> None:
    customer = shop.customer(balance=-1000)
    subscription = shop.subscribe(customer, shop.plan(2900), expand=["latest_invoice"])
    invoice = subscription.latest_invoice
    assert (invoice.starting_balance, invoice.ending_balance) == (-1000, 0)
    assert (invoice.total, invoice.amount_due, invoice.amount_paid) == (2900, 1900, 1900)
    assert shop.v1.customers.retrieve(customer.id).balance == 0


def test_large_credit_pays_all_and_no_intent_is_made(shop: Billing) -> None:
    customer = shop.customer(None, balance=-5000)
    subscription = shop.subscribe(customer, shop.plan(2900), expand=["latest_invoice"])
    assert (subscription.status, subscription.latest_invoice.amount_due) == ("active", 0)
    assert shop.v1.customers.retrieve(customer.id).balance == -2100
    assert shop.v1.payment_intents.list({"customer": customer.id}).data == []


def test_anchor_ahead_charges_a_share_of_the_first_period(shop: Billing) -> None:
    shop.go_to_day(4, 16)
    anchor = shop.now() + 15 * DAY
    subscription = shop.subscribe(
        shop.customer(), shop.plan(3000), billing_cycle_anchor=anchor, expand=["latest_invoice"]
    )
    assert subscription.latest_invoice.amount_paid in (1499, 1500)
    assert item_of(subscription).current_period_end == anchor
    free = shop.subscribe(
        shop.customer(),
        shop.plan(3000),
        billing_cycle_anchor=anchor,
        proration_behavior="none",
        expand=["latest_invoice"],
    )
    assert free.latest_invoice.amount_paid == 0
    too_late = anchor + 60 * DAY
    error = refused(
        lambda: shop.subscribe(shop.customer(), shop.plan(), billing_cycle_anchor=too_late)
    )
    assert error.param == "billing_cycle_anchor"


def test_lists_find_by_customer_status_and_price(shop: Billing) -> None:
    price, other = shop.plan(), shop.plan()
    ada, bob = shop.customer(), shop.customer()
    first, second = shop.subscribe(ada, price), shop.subscribe(bob, other)
    gone = shop.subscribe(ada, other)
    shop.v1.subscriptions.cancel(gone.id)

    def ids(**wanted: Any) -> list[str]:
        return [one.id for one in shop.v1.subscriptions.list(wanted).data]

    assert ids() == [second.id, first.id]
    assert ids(status="all") == [gone.id, second.id, first.id]
    assert ids(status="ended") == ids(status="canceled") == [gone.id]
    assert ids(customer=ada.id) == [first.id]
    assert ids(price=other.id) == [second.id]
    assert ids(status="past_due") == []
    shown = shop.v1.customers.retrieve(ada.id, {"expand": ["subscriptions"]})
    assert [one.id for one in shown.subscriptions.data] == [first.id]


def test_canceled_now_ends_at_once_and_is_not_billed_again(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    events = shop.events(
        lambda: shop.v1.subscriptions.cancel(
            subscription.id, {"cancellation_details": {"feedback": "too_expensive"}}
        )
    )
    assert [event.type for event in events] == ["customer.subscription.deleted"]
    ended = events[0].data.object
    assert (ended.status, ended.cancellation_details.feedback) == ("canceled", "too_expensive")
    assert ended.cancellation_details.reason == "cancellation_requested"
    assert ended.ended_at == ended.canceled_at
    shop.advance(70 * DAY)
    assert len(shop.invoices(subscription)) == 1
    error = refused(lambda: shop.v1.subscriptions.cancel(subscription.id))
    assert (error.http_status, error.code) == (404, "resource_missing")
    error = refused(
        lambda: shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    )
    assert "canceled subscription" in error.user_message


def test_canceled_at_the_period_s_end_runs_until_then(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    end = item_of(subscription).current_period_end
    found = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (found.status, found.cancel_at, found.cancel_at_period_end) == ("active", end, True)
    assert found.canceled_at is not None
    shop.go_to(end - HOUR)
    assert shop.again(subscription).status == "active"
    types = shop.event_types(lambda: shop.advance(2 * HOUR))
    assert types == ["customer.subscription.deleted"]
    found = shop.again(subscription)
    assert (found.status, found.ended_at) == ("canceled", end)
    assert len(shop.invoices(subscription)) == 1


def test_cancellation_taken_back_lets_the_subscription_renew(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    found = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (found.cancel_at, found.canceled_at) == (None, None)
    assert found.cancellation_details.reason is None
    shop.advance(32 * DAY)
    assert [one.status for one in shop.invoices(subscription)] == ["paid", "paid"]


def test_canceled_at_a_time_ends_then(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    at = shop.now() + 10 * DAY
    found = shop.v1.subscriptions.update(subscription.id, {"cancel_at": at})
    assert (found.cancel_at, found.cancel_at_period_end) == (at, False)
    shop.advance(11 * DAY)
    found = shop.again(subscription)
    assert (found.status, found.ended_at) == ("canceled", at)


def test_deleted_customer_s_subscriptions_end(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    shop.go_to(item_of(subscription).current_period_end + HOUR // 2)
    assert shop.invoices(subscription)[-1].status == "draft"
    types = shop.event_types(lambda: shop.v1.customers.delete(customer.id))
    assert "customer.subscription.deleted" in types
    assert shop.again(subscription).status == "canceled"
    shop.advance(40 * DAY)
    assert shop.invoices(subscription)[-1].status == "draft"


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"items": []}, "items"),
        ({"items": [{"price": "price_none"}]}, "items[0][price]"),
        ({"customer": "cus_none"}, "customer"),
        ({"trial_end": 1}, "trial_end"),
        ({"trial_period_days": 7, "trial_end": 1}, "trial_end"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"days_until_due": 3}, "days_until_due"),
        ({"default_payment_method": "pm_none"}, "default_payment_method"),
        ({"discounts": [{"coupon": "none"}]}, "discounts[0][coupon]"),
        ({"default_tax_rates": ["txr_none"]}, "default_tax_rates[0]"),
        ({"automatic_tax": {"enabled": True}}, "automatic_tax[enabled]"),
        ({"payment_behavior": "pending_if_incomplete"}, "payment_behavior"),
        ({"billing_thresholds": {"amount_gte": 5}}, "billing_thresholds"),
        ({"nonsense": "1"}, "nonsense"),
    ],
)
def test_what_cannot_be_is_refused_in_stripe_s_words(
    shop: Billing, wanted: dict[str, Any], param: str
) -> None:
    good = {"customer": shop.customer().id, "items": [{"price": shop.plan().id}]}
    error = refused(lambda: shop.v1.subscriptions.create({**good, **wanted}))
    assert isinstance(error, stripe.InvalidRequestError)
    assert (error.http_status, error.param) == (400, param)
    assert error.user_message


def test_one_time_metered_and_doubled_prices_are_refused(shop: Billing) -> None:
    recurring = shop.plan()
    once = shop.v1.prices.create(
        {"product": recurring.product, "currency": "usd", "unit_amount": 100}
    )
    metered = shop.plan(recurring={"usage_type": "metered", "meter": "mtr_1"})
    customer = shop.customer()
    for prices in ([once], [metered], [recurring, recurring]):
        error = refused(lambda prices=prices: shop.subscribe(customer, *prices))
        assert error.param.startswith("items")


def test_same_key_begins_one_subscription(shop: Billing) -> None:
    params = {"customer": shop.customer().id, "items": [{"price": shop.plan().id}]}
    options = {"idempotency_key": "once"}
    first = shop.v1.subscriptions.create(params, options)
    assert shop.v1.subscriptions.create(params, options).id == first.id
    assert len(shop.v1.subscriptions.list().data) == 1
