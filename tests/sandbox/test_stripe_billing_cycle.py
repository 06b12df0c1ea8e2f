"""What happens to subscriptions by time: trials, renewals, failed payments, pauses."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import stripe

from billing_shop import DAY, HOUR, Billing, days, item_of, previous
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox

RENEWED = ["invoice.created", "customer.subscription.updated"]
COLLECTED = [
    "payment_intent.created",
    "invoice.finalized",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice_payment.paid",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_succeeded",
]
REFUSED = ["charge.failed", "payment_intent.payment_failed", "invoice.updated"]


@pytest.fixture
def shop(checked_sandbox: Sandbox, client_for: Any) -> Billing:
    """A shop at an empty sandbox, whose clock shows real time."""
    control_client.reset(checked_sandbox.base_url)
    return Billing(checked_sandbox.base_url, client_for(checked_sandbox).v1)


def trial(shop: Billing, customer: Any, missing: str | None = None, **options: Any) -> Any:
    """A subscription with a trial of 14 days; `missing` is what its end brings without a card."""
    wanted: dict[str, Any] = {"trial_period_days": 14, **options}
    if missing is not None:
        wanted["trial_settings"] = {"end_behavior": {"missing_payment_method": missing}}
    return shop.subscribe(customer, shop.plan(), **wanted)


def test_renewal_bills_the_new_period_and_collects_an_hour_later(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    end = item_of(subscription).current_period_end
    events = shop.events(lambda: shop.go_to(end + 2 * HOUR))
    types = [event.type for event in events]
    assert types == ["invoice.upcoming", *RENEWED, *COLLECTED]
    assert [event.created for event in events] == [end - 7 * DAY, end, end, *[end + HOUR] * 8]
    assert {event.request.id for event in events} == {None}
    renewed = events[2]
    item = renewed.data.object["items"].data[0]
    assert item.current_period_start == end
    was = previous(renewed)["items"]["data"][0]
    assert (was["current_period_end"], previous(renewed)["latest_invoice"]) == (
        end,
        subscription.latest_invoice,
    )
    draft = events[1].data.object
    assert (draft.status, draft.automatically_finalizes_at) == ("draft", end + HOUR)
    assert (draft.period_start, draft.period_end) == (subscription.created, end)
    line = draft.lines.data[0]
    assert (line.period.start, line.period.end) == (end, item.current_period_end)
    invoice = shop.invoices(subscription)[-1]
    assert (invoice.billing_reason, invoice.status) == ("subscription_cycle", "paid")
    assert invoice.status_transitions.paid_at == end + HOUR
    assert (invoice.number[-4:], invoice.attempt_count) == ("0002", 1)


def test_upcoming_invoice_has_the_amount_of_the_real_one(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan(3100))
    end = item_of(subscription).current_period_end
    events = shop.events(lambda: shop.go_to(end + 2 * HOUR))
    told, real = events[0].data.object, shop.invoices(subscription)[-1]
    assert events[0].type == "invoice.upcoming"
    assert (told.total, told.next_payment_attempt) == (real.total, end + HOUR)
    assert shop.v1.invoices.list({"limit": 100}).data[0].id == real.id


def test_fourteen_months_from_31_january_keep_to_the_last_day(shop: Billing) -> None:
    shop.go_to_day(1, 31)
    subscription = shop.subscribe(shop.customer(), shop.plan())
    shop.advance(366 * DAY + 70 * DAY)
    bills = shop.invoices(subscription)
    starts = [bill.lines.data[0].period.start for bill in bills]
    february = days([starts[1]])[0]
    assert february in ("02-28", "02-29")
    assert days(starts)[:1] + days(starts)[2:13] == [
        "01-31", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30",
        "12-31", "01-31",
    ]  # fmt: skip
    assert len(bills) == 15
    assert [bill.created for bill in bills] == starts
    assert {bill.status for bill in bills} == {"paid"}
    ends = [bill.lines.data[0].period.end for bill in bills]
    assert ends[:-1] == starts[1:]
    assert len({start % DAY for start in starts}) == 1


@pytest.mark.parametrize(
    ("interval", "count", "seconds"), [("day", 1, DAY), ("week", 2, 14 * DAY), ("day", 3, 3 * DAY)]
)
def test_short_intervals_renew_in_their_time(
    shop: Billing, interval: str, count: int, seconds: int
) -> None:
    price = shop.plan(500, interval, recurring={"interval_count": count})
    subscription = shop.subscribe(shop.customer(), price)
    shop.advance(3 * seconds + 2 * HOUR)
    starts = [bill.lines.data[0].period.start for bill in shop.invoices(subscription)]
    assert starts == [subscription.created + turn * seconds for turn in range(4)]


def test_yearly_and_quarterly_periods(shop: Billing) -> None:
    yearly = shop.subscribe(shop.customer(), shop.plan(29000, "year"))
    price = shop.plan(8000, recurring={"interval_count": 3})
    quarterly = shop.subscribe(shop.customer(), price, expand=["latest_invoice"])
    assert "every 3 months" in quarterly.latest_invoice.lines.data[0].description
    shop.advance(366 * DAY + 2 * HOUR)
    assert [bill.amount_paid for bill in shop.invoices(yearly)] == [29000, 29000]
    assert [bill.amount_paid for bill in shop.invoices(quarterly)] == [8000] * 5
    assert days([item_of(shop.again(yearly)).current_period_start]) == days([yearly.created])


def test_items_of_different_intervals_renew_each_in_its_own(shop: Billing) -> None:
    month, year = shop.plan(1000), shop.plan(9000, "year")
    subscription = shop.subscribe(shop.customer(), month, year)
    shop.advance(32 * DAY)
    bills = shop.invoices(subscription)
    assert [bill.amount_paid for bill in bills] == [10000, 1000]
    ends = [item.current_period_end for item in shop.again(subscription)["items"].data]
    assert ends[1] - subscription.created >= 365 * DAY > ends[0] - subscription.created


def test_trial_with_a_card_is_free_announced_and_then_paid(shop: Billing) -> None:
    made: list[Any] = []
    customer = shop.customer()
    types = shop.event_types(lambda: made.append(trial(shop, customer)))
    subscription = made[0]
    assert types[-1] == "customer.subscription.created"
    assert "payment_intent.created" not in types
    end = subscription.created + 14 * DAY
    assert (subscription.status, subscription.trial_end) == ("trialing", end)
    assert (subscription.trial_start, subscription.billing_cycle_anchor) == (
        subscription.created,
        end,
    )
    assert item_of(subscription).current_period_end == end
    first = shop.invoices(subscription)[0]
    assert (first.status, first.total, first.lines.data[0].description) == (
        "paid", 0, "Trial period for Pro",
    )  # fmt: skip
    events = shop.events(lambda: shop.go_to(end + 2 * HOUR))
    assert [event.type for event in events] == [
        "invoice.upcoming", "customer.subscription.trial_will_end", *RENEWED, *COLLECTED,
    ]  # fmt: skip
    assert events[1].created == end - 3 * DAY
    assert previous(events[3])["status"] == "trialing"
    second = shop.invoices(subscription)[1]
    assert (second.billing_reason, second.amount_paid) == ("subscription_cycle", 2900)
    assert shop.again(subscription).status == "active"


def test_short_trial_is_announced_at_once(shop: Billing) -> None:
    customer, price = shop.customer(), shop.plan()
    types = shop.event_types(lambda: shop.subscribe(customer, price, trial_period_days=2))
    assert types[-2:] == ["customer.subscription.created", "customer.subscription.trial_will_end"]
    assert "customer.subscription.trial_will_end" not in shop.event_types(
        lambda: shop.advance(3 * DAY)
    )


def test_trial_of_the_price_counts_when_asked_for(shop: Billing) -> None:
    price = shop.plan(recurring={"trial_period_days": 5})
    asked = shop.subscribe(shop.customer(None), price, trial_from_plan=True)
    assert asked.trial_end == asked.created + 5 * DAY
    assert shop.subscribe(shop.customer(), price).status == "active"


def test_trial_without_a_card_is_canceled_when_so_set(shop: Billing) -> None:
    subscription = trial(shop, shop.customer(None), "cancel")
    types = shop.event_types(lambda: shop.advance(15 * DAY), "customer.subscription")
    assert types == ["customer.subscription.trial_will_end", "customer.subscription.deleted"]
    assert shop.again(subscription).status == "canceled"
    assert len(shop.invoices(subscription)) == 1


def test_card_that_comes_during_the_trial_keeps_it_going(shop: Billing) -> None:
    customer = shop.customer(None)
    subscription = trial(shop, customer, "cancel")
    shop.advance(5 * DAY)
    shop.use_card(customer.id, "pm_card_visa")
    shop.advance(10 * DAY)
    assert shop.again(subscription).status == "active"


def test_trial_without_a_card_pauses_when_so_set_and_resumes_paid(shop: Billing) -> None:
    customer = shop.customer(None)
    subscription = trial(shop, customer, "pause")
    types = shop.event_types(lambda: shop.advance(15 * DAY), "customer.subscription")
    assert types[-2:] == ["customer.subscription.updated", "customer.subscription.paused"]
    paused = shop.again(subscription)
    assert paused.status == "paused"
    assert paused.status_details.paused.subscription.type == "trial_end_without_payment_method"
    shop.advance(40 * DAY)
    assert len(shop.invoices(subscription)) == 1
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        shop.v1.subscriptions.resume(subscription.id)
    shop.use_card(customer.id, "pm_card_visa")
    events = shop.events(lambda: shop.v1.subscriptions.resume(subscription.id))
    assert events[-1].type == "customer.subscription.resumed"
    found = shop.again(subscription, "latest_invoice")
    assert (found.status, found.latest_invoice.amount_paid) == ("active", 2900)
    assert item_of(found).current_period_start == found.billing_cycle_anchor
    with pytest.raises(stripe.InvalidRequestError, match="paused"):
        shop.v1.subscriptions.resume(subscription.id)
    shop.advance(32 * DAY)
    assert len(shop.invoices(subscription)) == 3


def test_trial_without_a_card_is_billed_when_so_set(shop: Billing) -> None:
    customer = shop.customer(None)
    subscription = trial(shop, customer, "create_invoice")
    types = shop.event_types(lambda: shop.advance(15 * DAY))
    assert "invoice.payment_failed" in types
    assert shop.again(subscription).status == "past_due"
    bill = shop.invoices(subscription)[-1]
    card = shop.use_card(customer.id, "pm_card_visa")
    shop.v1.invoices.pay(bill.id, {"payment_method": card})
    assert shop.again(subscription).status == "active"


def test_trial_ended_now_is_billed_now(shop: Billing) -> None:
    subscription = trial(shop, shop.customer())
    shop.advance(4 * DAY)
    found = shop.v1.subscriptions.update(
        subscription.id, {"trial_end": "now", "expand": ["latest_invoice"]}
    )
    assert (found.status, found.trial_end) == ("active", found.billing_cycle_anchor)
    assert found.latest_invoice.billing_reason == "subscription_update"
    assert found.latest_invoice.amount_paid == 2900
    assert item_of(found).current_period_start == found.billing_cycle_anchor


@pytest.mark.parametrize(("missing", "status"), [("pause", "paused"), ("cancel", "canceled")])
def test_trial_ended_now_without_a_card_does_as_it_was_set(
    shop: Billing, missing: str, status: str
) -> None:
    subscription = trial(shop, shop.customer(None), missing)
    found = shop.v1.subscriptions.update(subscription.id, {"trial_end": "now"})
    assert (found.status, len(shop.invoices(subscription))) == (status, 1)


def test_trial_may_be_made_longer(shop: Billing) -> None:
    subscription = trial(shop, shop.customer())
    later = subscription.trial_end + 7 * DAY
    shop.v1.subscriptions.update(subscription.id, {"trial_end": later})
    shop.advance(16 * DAY)
    assert shop.again(subscription).status == "trialing"
    shop.go_to(later + 2 * HOUR)
    assert shop.again(subscription).status == "active"
    assert len(shop.invoices(subscription)) == 2


def fail_from_now_on(shop: Billing, customer: Any) -> None:
    shop.use_card(customer.id, "pm_card_chargeCustomerFail")


def test_failed_renewal_is_tried_again_and_recovered_by_a_new_card(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    fail_from_now_on(shop, customer)
    end = item_of(subscription).current_period_end
    events = shop.events(lambda: shop.go_to(end + 2 * HOUR))
    assert [event.type for event in events][-8:] == [
        "payment_intent.created", "invoice.finalized", *REFUSED, "invoice.payment_failed",
        "customer.updated", "customer.subscription.updated",
    ]  # fmt: skip
    failed = events[-3].data.object
    assert (failed.attempt_count, failed.amount_remaining) == (1, 2900)
    assert failed.next_payment_attempt == end + HOUR + 3 * DAY
    assert previous(events[-1]) == {"status": "active"}
    assert shop.again(subscription).status == "past_due"
    shop.use_card(customer.id, "pm_card_visa")
    events = shop.events(lambda: shop.advance(3 * DAY))
    assert [event.type for event in events][-1] == "customer.subscription.updated"
    assert "invoice.paid" in [event.type for event in events]
    found = shop.again(subscription, "latest_invoice")
    assert (found.status, found.latest_invoice.attempt_count) == ("active", 2)
    assert not shop.v1.customers.retrieve(customer.id).delinquent


def test_renewal_that_fails_to_the_end_cancels_the_subscription(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    fail_from_now_on(shop, customer)
    end = item_of(subscription).current_period_end
    events = shop.events(lambda: shop.go_to(end + 20 * DAY))
    failures = [event for event in events if event.type == "invoice.payment_failed"]
    assert [event.created - end - HOUR for event in failures] == [0, 3 * DAY, 8 * DAY, 15 * DAY]
    assert [event.data.object.attempt_count for event in failures] == [1, 2, 3, 4]
    assert failures[-1].data.object.next_payment_attempt is None
    assert events[-1].type == "customer.subscription.deleted"
    found = shop.again(subscription, "latest_invoice")
    assert (found.status, found.cancellation_details.reason) == ("canceled", "payment_failed")
    assert (found.latest_invoice.status, found.latest_invoice.auto_advance) == ("open", False)


@pytest.mark.parametrize("ending", ["unpaid", "past_due"])
def test_after_the_last_try_the_seller_s_rule_counts(shop: Billing, ending: str) -> None:
    control_client.set_billing(shop.url, retry_days=[1, 1], after_last=ending)
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    fail_from_now_on(shop, customer)
    shop.advance(40 * DAY)
    found = shop.again(subscription, "latest_invoice")
    assert (found.status, found.latest_invoice.attempt_count) == (ending, 3)
    shop.advance(28 * DAY)
    drafts = [bill for bill in shop.invoices(subscription) if bill.status == "draft"]
    assert len(drafts) == (1 if ending == "unpaid" else 0)
    card = shop.use_card(customer.id, "pm_card_visa")
    latest = shop.again(subscription).latest_invoice
    shop.v1.invoices.pay(latest, {"payment_method": card})
    assert shop.again(subscription).status == "active"


def test_rules_that_cannot_be_are_refused(shop: Billing) -> None:
    for wanted in ({"after_last": "cry"}, {"retry_days": [0]}, {"retry_days": 3}, {"odd": 1}):
        with pytest.raises(control_client.SandboxError):
            control_client.set_billing(shop.url, **wanted)
    assert control_client.set_billing(shop.url)["retry_days"] == [3, 5, 7]


def test_bank_that_asks_while_the_buyer_is_away_asks_for_action(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    shop.use_card(customer.id, "pm_card_threeDSecure2Required")
    types = shop.event_types(lambda: shop.advance(32 * DAY))
    place = types.index("invoice.payment_failed")
    assert types[place + 1] == "invoice.payment_action_required"
    assert shop.again(subscription).status == "past_due"


def test_subscription_s_own_card_counts_before_the_customer_s(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id}).id
    shop.v1.subscriptions.update(subscription.id, {"default_payment_method": bad})
    shop.advance(32 * DAY)
    assert shop.again(subscription).status == "past_due"
    shop.v1.payment_methods.detach(bad)
    assert shop.again(subscription).default_payment_method is None
    shop.advance(4 * DAY)
    assert shop.again(subscription).status == "active"


def test_detached_card_fails_the_renewal(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    shop.v1.payment_methods.detach(
        shop.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method
    )
    types = shop.event_types(lambda: shop.advance(32 * DAY))
    assert "invoice.payment_failed" in types
    assert "charge.failed" not in types
    assert shop.again(subscription).status == "past_due"


@pytest.mark.parametrize(
    ("behavior", "status", "event"),
    [
        ("void", "void", "invoice.voided"),
        ("mark_uncollectible", "uncollectible", "invoice.marked_uncollectible"),
        ("keep_as_draft", "draft", "invoice.created"),
    ],
)
def test_paused_collection_charges_nobody_until_it_resumes(
    shop: Billing, behavior: str, status: str, event: str
) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    resumes_at = shop.now() + 45 * DAY
    pause = {"behavior": behavior, "resumes_at": resumes_at}
    found = shop.v1.subscriptions.update(subscription.id, {"pause_collection": pause})
    assert (found.status, found.pause_collection.behavior) == ("active", behavior)
    types = shop.event_types(lambda: shop.advance(40 * DAY))
    assert event in types
    assert "charge.succeeded" not in types
    assert shop.invoices(subscription)[-1].status == status
    assert shop.again(subscription).status == "active"
    shop.advance(25 * DAY)
    assert shop.again(subscription).pause_collection is None
    assert [bill.status for bill in shop.invoices(subscription)] == ["paid", status, "paid"]


def test_pause_may_be_lifted(shop: Billing) -> None:
    subscription = shop.subscribe(shop.customer(), shop.plan())
    shop.v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    found = shop.v1.subscriptions.update(subscription.id, {"pause_collection": ""})
    assert found.pause_collection is None
    shop.advance(32 * DAY)
    assert [bill.status for bill in shop.invoices(subscription)] == ["paid", "paid"]


def test_voided_renewal_lets_a_past_due_subscription_go_on(shop: Billing) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.plan())
    fail_from_now_on(shop, customer)
    shop.advance(32 * DAY)
    assert shop.again(subscription).status == "past_due"
    types = shop.event_types(
        lambda: shop.v1.invoices.void_invoice(shop.again(subscription).latest_invoice)
    )
    assert types[-2:] == ["invoice.voided", "customer.subscription.updated"]
    assert shop.again(subscription).status == "active"


def test_long_jump_of_the_clock_is_the_same_as_many_short_ones(shop: Billing) -> None:
    price = shop.plan()
    one = shop.subscribe(shop.customer(), price)
    shop.advance(200 * DAY)
    bills = shop.invoices(one)
    assert len(bills) == 7
    for bill, following in itertools.pairwise(bills):
        assert bill.lines.data[0].period.end == following.created
    assert {bill.status_transitions.paid_at - bill.created for bill in bills[1:]} == {HOUR}
    events = shop.v1.events.list({"type": "invoice.paid", "limit": 100}).data
    assert [event.created for event in events] == sorted(
        (event.created for event in events), reverse=True
    )
