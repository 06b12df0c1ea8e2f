"""Subscriptions, invoices and previews of Stripe's as facts, and what is too odd to be one."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import odd_events
from bursar.providers.port import Ignored, PaymentFacts, Unusable
from bursar.providers.recurring import ChangeOrder, Proration, SubscriptionNews
from bursar.providers.stripe import payload, translate
from bursar.providers.stripe.translate import invoices, previews, sessions, subscriptions

CREATED = odd_events.CREATED
BEGIN = datetime.fromtimestamp(CREATED, UTC)
END = BEGIN + timedelta(days=30)
OBJECTS = odd_events.objects(odd_events.Ids())


def subscription(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(OBJECTS["subscription"]), **changes}


def invoice(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(OBJECTS["invoice"]), **changes}


def intent(status: str, **error: str) -> dict[str, Any]:
    told = {"id": "pi_odd", "status": status, "latest_charge": "ch_odd"}
    return {**told, "last_payment_error": error or None}


def test_a_subscription_says_what_it_is() -> None:
    fact = subscriptions.answer(subscription())
    assert (fact.subscription_id, fact.reference) == ("sub_odd", odd_events.Ids().reference)
    assert (fact.provider_customer_id, fact.email) == ("cus_odd", "ada@example.com")
    assert (fact.status, fact.raw_status, fact.currency) == ("active", "active", "usd")
    assert (fact.cancel_at, fact.cancel_at_period_end, fact.trial_end) == (None, False, None)
    [item] = fact.items
    assert (item.item_id, item.price_id, item.quantity) == ("si_odd", "price_plan", 1)
    assert (item.amount_minor, item.currency) == (1500, "usd")
    assert (item.interval, item.interval_count) == ("month", 1)
    assert (item.period_start, item.period_end) == (BEGIN, END)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("incomplete", "incomplete"),
        ("incomplete_expired", "canceled"),
        ("trialing", "trialing"),
        ("active", "active"),
        ("past_due", "past_due"),
        ("unpaid", "unpaid"),
        ("paused", "paused"),
        ("canceled", "canceled"),
    ],
)
def test_a_status_is_put_into_our_words_and_kept_in_theirs(raw: str, status: str) -> None:
    fact = subscriptions.answer(subscription(status=raw))
    assert (fact.status, fact.raw_status) == (status, raw)


def test_a_subscription_that_charges_nothing_for_now_is_paused_unless_it_has_ended() -> None:
    pause = {"behavior": "void", "resumes_at": CREATED + 60}
    told = {
        raw: subscriptions.answer(subscription(status=raw, pause_collection=pause))
        for raw in ("active", "trialing", "past_due", "canceled", "incomplete")
    }
    assert {raw: fact.status for raw, fact in told.items()} == {
        "active": "paused",
        "trialing": "paused",
        "past_due": "paused",
        "canceled": "canceled",
        "incomplete": "incomplete",
    }
    assert told["active"].resumes_at == BEGIN + timedelta(seconds=60)


def test_an_end_with_the_period_is_at_the_period_s_end_where_no_time_is_told() -> None:
    fact = subscriptions.answer(subscription(cancel_at_period_end=True))
    assert (fact.cancel_at, fact.cancel_at_period_end) == (END, True)
    fact = subscriptions.answer(subscription(cancel_at=CREATED + 9))
    assert (fact.cancel_at, fact.cancel_at_period_end) == (BEGIN + timedelta(seconds=9), False)


def test_an_end_by_a_date_is_one_with_the_period_where_the_period_ends_then() -> None:
    told = subscription(cancel_at=int(END.timestamp()))
    fact = subscriptions.answer(told)
    assert (fact.cancel_at, fact.cancel_at_period_end) == (END, True)
    assert subscriptions.ends_by_date(told)
    assert not subscriptions.ends_by_date({**told, "cancel_at_period_end": True})
    assert not subscriptions.ends_by_date(subscription())


@pytest.mark.parametrize(
    ("unit_amount", "decimal", "expected"),
    [(1500, "1500", 1500), (None, "0.5", 0), (None, "250.75", 250), (None, None, 0)],
)
def test_a_price_of_fractions_or_tiers_does_not_hide_the_subscription(
    unit_amount: int | None, decimal: str | None, expected: int
) -> None:
    told = subscription()
    told["items"]["data"][0]["price"].update(unit_amount=unit_amount, unit_amount_decimal=decimal)
    assert subscriptions.answer(told).items[0].amount_minor == expected


def test_a_deleted_customer_has_no_mail() -> None:
    fact = subscriptions.answer(subscription(customer={"id": "cus_odd", "deleted": True}))
    assert (fact.provider_customer_id, fact.email) == ("cus_odd", None)


def test_an_invoice_says_what_it_comes_to() -> None:
    fact = invoices.answer(invoice(), intent("succeeded"))
    assert (fact.invoice_id, fact.number, fact.reason) == ("in_odd", "ODD-1", "cycle")
    assert (fact.subtotal_minor, fact.discount_minor, fact.tax_added_minor) == (1500, 300, 120)
    assert (fact.total_minor, fact.due_minor, fact.paid_minor) == (1320, 1320, 1320)
    assert (fact.payment_intent_id, fact.charge_id, fact.failure) == ("pi_odd", "ch_odd", None)
    assert (fact.finalized_at, fact.paid_at, fact.ended_at) == (BEGIN, BEGIN, None)
    assert (fact.discounts, fact.url) == (("coupon:ODD",), "https://pay.example/invoice")
    [line] = fact.lines
    assert (line.price_id, line.quantity, line.amount_minor) == ("price_plan", 1, 1500)
    assert (line.discount_minor, line.proration) == (300, False)
    assert (line.period_start, line.period_end) == (BEGIN, END)


def test_tax_within_the_price_is_not_added() -> None:
    taxes = [
        {"amount": 240, "tax_behavior": "inclusive"},
        {"amount": 60, "tax_behavior": "exclusive"},
    ]
    assert invoices.answer(invoice(total_taxes=taxes)).tax_added_minor == 60
    assert invoices.answer(invoice(total_taxes=None)).tax_added_minor == 0


def test_sums_of_a_credit_are_below_zero_and_nothing_is_due() -> None:
    told = invoice(total=-880, amount_due=0, amount_paid=0, total_taxes=[])
    line = told["lines"]["data"][0]
    line.update(amount=-980, discount_amounts=[{"amount": -100}])
    line["parent"] = {"invoice_item_details": {"proration": True}}
    told["total_discount_amounts"] = [{"amount": -100}]
    fact = invoices.answer(told)
    assert (fact.subtotal_minor, fact.discount_minor, fact.total_minor) == (-980, -100, -880)
    assert (fact.due_minor, fact.lines[0].proration) == (0, True)


def test_discounts_of_single_lines_count_as_discounts() -> None:
    # The provider's own subtotal would be 1200 here.
    told = invoice(subtotal=1200, total=1200, total_taxes=[])
    fact = invoices.answer(told)
    assert fact.subtotal_minor - fact.discount_minor == fact.total_minor


@pytest.mark.parametrize(
    ("found", "failure", "asks"),
    [
        (intent("requires_payment_method", code="card_declined", decline_code="do_not_honor"),
         "do_not_honor", False),
        (intent("requires_payment_method", code="expired_card"), "expired_card", False),
        (intent("requires_payment_method"), "payment_failed", False),
        (intent("requires_action"), "authentication_required", True),
        (intent("requires_payment_method", code="authentication_required"),
         "authentication_required", True),
        (None, "payment_failed", False),
    ],
)  # fmt: skip
def test_a_failed_attempt_says_why(
    found: dict[str, Any] | None, failure: str, *, asks: bool
) -> None:
    told = invoice(status="open", amount_paid=0, next_payment_attempt=CREATED + 5)
    fact = invoices.answer(told, found)
    assert (fact.failure, fact.needs_action, fact.attempts) == (failure, asks, 1)
    assert fact.next_attempt_at == BEGIN + timedelta(seconds=5)
    paid = invoices.answer(invoice(), found)
    assert (paid.failure, paid.needs_action) == (None, False)


def test_an_invoice_that_nobody_tried_to_take_has_not_failed() -> None:
    assert invoices.answer(invoice(status="open", attempt_count=0)).failure is None


@pytest.mark.parametrize(
    ("status", "step"), [("void", "voided_at"), ("uncollectible", "marked_uncollectible_at")]
)
def test_an_invoice_that_is_given_up_says_when(status: str, step: str) -> None:
    fact = invoices.answer(invoice(status=status, status_transitions={step: CREATED}))
    assert (fact.status, fact.ended_at) == (status, BEGIN)


def test_of_several_payments_the_one_that_was_paid_counts() -> None:
    def payment(name: str, *, paid: bool, default: bool) -> dict[str, Any]:
        status = "paid" if paid else "canceled"
        of = {"type": "payment_intent", "payment_intent": name}
        return {"status": status, "is_default": default, "payment": of}

    early, late = (
        payment("pi_1", paid=False, default=True),
        payment("pi_2", paid=True, default=False),
    )
    told = invoice(payments={"data": [early, late]})
    assert invoices.answer(told).payment_intent_id == "pi_2"
    told = invoice(payments={"data": [payment("pi_0", paid=False, default=False), early]})
    assert invoices.answer(told).payment_intent_id == "pi_1"


def test_an_invoice_paid_by_a_charge_or_elsewhere_has_no_intent() -> None:
    charge = {"status": "paid", "payment": {"type": "charge", "charge": "ch_1"}}
    fact = invoices.answer(invoice(payments={"data": [charge]}))
    assert (fact.payment_intent_id, fact.charge_id) == (None, "ch_1")
    fact = invoices.answer(invoice(payments={"data": []}))
    assert (fact.payment_intent_id, fact.charge_id) == (None, None)


@pytest.mark.parametrize("kind", ["subscription", "invoice"])
def test_an_odd_answer_is_a_fact_or_named(kind: str) -> None:
    read: Any = {"subscription": subscriptions.answer, "invoice": invoices.answer}[kind]
    message = {"thing": OBJECTS[kind]}
    codes = set()
    for place in odd_events.places(message):
        for odd in odd_events.ODD_VALUES.values():
            try:
                thing = payload.read(odd_events.with_odd(message, place, odd))["thing"]
                read(thing)
            except Unusable as unusable:
                codes.add(unusable.code)
            except AttributeError:
                assert place == ("thing",)
    assert codes >= {"amount_invalid", "amount_out_of_range", "currency_invalid"}


def event(event_type: str, thing: dict[str, Any]) -> dict[str, Any]:
    return odd_events.event("evt_1", event_type, thing)


def test_an_invoice_s_subscription_is_found_in_the_old_place_and_the_new() -> None:
    old = invoice(parent=None, subscription="sub_old")
    news = translate.event(event("invoice.paid", old))
    assert news == SubscriptionNews("stripe", "sub_old", "in_odd")
    details = {"subscription_details": {"subscription": {"id": "sub_whole"}}}
    news = translate.event(event("invoice.paid", invoice(parent=details)))
    assert news == SubscriptionNews("stripe", "sub_whole", "in_odd")


def test_an_invoice_of_no_subscription_is_left_to_its_payment() -> None:
    for event_type in ("invoice.paid", "invoice.upcoming"):
        told = translate.event(event(event_type, invoice(parent=None)))
        assert isinstance(told, Ignored)
        assert "no subscription" in told.reason


def test_an_invoice_that_is_yet_to_be_made_has_no_id() -> None:
    for named in ({"id": "upcoming_in_1"}, {"id": None}):
        told = translate.event(event("invoice.upcoming", invoice(**named)))
        assert told == SubscriptionNews("stripe", "sub_odd", None)


def test_a_session_that_begins_a_subscription_says_what_was_taken() -> None:
    session = {**OBJECTS["session"], "mode": "subscription", "payment_intent": None}
    session["invoice"] = {"status_transitions": {"paid_at": CREATED + 7}}
    told = sessions.answer(session)
    assert isinstance(told, PaymentFacts)
    assert (told.state, told.captured_minor, told.amount_minor) == ("completed", 500, 500)
    assert told.at == BEGIN + timedelta(seconds=7)
    assert told.totals is not None


def test_a_session_that_begins_a_trial_is_complete_with_nothing_taken() -> None:
    session = {**OBJECTS["session"], "mode": "subscription", "payment_intent": None}
    session.update(amount_total=0, amount_subtotal=0, payment_status="no_payment_required")
    told = sessions.answer(session)
    assert isinstance(told, PaymentFacts)
    assert (told.state, told.captured_minor, told.amount_minor) == ("completed", 0, 0)


def test_a_session_that_only_saves_a_card_is_no_sale() -> None:
    assert isinstance(sessions.answer({**OBJECTS["session"], "mode": "setup"}), Ignored)


AT = BEGIN + timedelta(days=10)
SUBSCRIPTION = subscriptions.answer(OBJECTS["subscription"])


def order(proration: Proration, at: datetime | None = AT) -> ChangeOrder:
    return ChangeOrder(
        subscription_id="sub_odd",
        item_id="si_odd",
        price_id="price_pro",
        quantity=1,
        proration=proration,
        at=at,
    )


def line(amount: int, start: datetime, end: datetime, *, proration: bool) -> dict[str, Any]:
    return {
        "amount": amount,
        "quantity": 1,
        "period": {"start": int(start.timestamp()), "end": int(end.timestamp())},
        "pricing": {"price_details": {"price": "price_pro"}},
        "parent": {"subscription_item_details": {"proration": proration}},
        "discount_amounts": [],
        "taxes": [],
    }


CREDIT = line(-1000, AT, END, proration=True)
CHARGE = line(2000, AT, END, proration=True)
RENEWAL = line(3000, END, END + timedelta(days=31), proration=False)
OLDER = line(-77, BEGIN + timedelta(days=1), END, proration=True)


def preview(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    total = sum(row["amount"] for row in lines)
    page = {"data": list(lines), "has_more": False}
    sums = {"currency": "usd", "total": total, "amount_due": max(0, total)}
    return {**sums, "lines": page, "parent": None, **fields}


def test_a_change_with_the_next_invoice_costs_nothing_now() -> None:
    body = preview(OLDER, CREDIT, CHARGE, RENEWAL)
    told = previews.read(body, order("create_prorations"), SUBSCRIPTION, BEGIN)
    assert not told.at_once
    found = previews.answer(told, None)
    assert (found.due_now_minor, found.next_total_minor, found.next_at) == (0, 3923, END)
    assert [row.amount_minor for row in found.lines] == [-1000, 2000]
    assert found.at == AT


def test_a_change_that_is_invoiced_at_once_is_paid_now_and_not_again() -> None:
    told = previews.read(preview(CREDIT, CHARGE), order("always_invoice"), SUBSCRIPTION, BEGIN)
    assert told.at_once
    found = previews.answer(told, preview(RENEWAL))
    assert (found.due_now_minor, found.next_total_minor, found.next_at) == (1000, 3000, END)


def test_a_credit_that_is_invoiced_at_once_takes_nothing() -> None:
    cheaper = line(400, AT, END, proration=True)
    told = previews.read(preview(CREDIT, cheaper), order("always_invoice"), SUBSCRIPTION, BEGIN)
    found = previews.answer(told, preview(RENEWAL))
    assert found.due_now_minor == 0
    assert sum(row.amount_minor for row in found.lines) == -600


def test_another_interval_begins_its_period_at_once() -> None:
    # The provider's clock has gone on a little since `at`.
    begins = AT + timedelta(seconds=2)
    year = line(30_000, begins, begins + timedelta(days=365), proration=False)
    year["taxes"] = [{"amount": 3000, "tax_behavior": "exclusive"}]
    body = preview(CREDIT, year, total=32_000, amount_due=32_000)
    told = previews.read(body, order("create_prorations"), SUBSCRIPTION, BEGIN)
    assert told.at_once
    found = previews.answer(told, None)
    assert (found.due_now_minor, found.next_total_minor) == (32_000, 33_000)
    assert found.next_at == begins + timedelta(days=365)


def test_a_subscription_that_ends_has_no_next_invoice_but_for_what_is_open() -> None:
    told = previews.read(preview(CREDIT, CHARGE), order("create_prorations"), SUBSCRIPTION, BEGIN)
    found = previews.answer(told, None)
    assert (found.due_now_minor, found.next_total_minor, found.next_at) == (0, 1000, END)


def test_a_change_without_a_moment_is_of_the_moment_that_the_provider_took() -> None:
    told_at = {"subscription_details": {"subscription_proration_date": int(AT.timestamp())}}
    body = preview(OLDER, CREDIT, CHARGE, RENEWAL, parent=told_at)
    told = previews.read(body, order("create_prorations", None), SUBSCRIPTION, BEGIN)
    assert (told.at, len(told.change)) == (AT, 2)


def test_a_moment_counts_in_whole_seconds_as_the_provider_has_it() -> None:
    exact = AT + timedelta(microseconds=700_000)
    ordered = replace(order("create_prorations"), at=exact)
    told = previews.read(preview(CREDIT, CHARGE, RENEWAL), ordered, SUBSCRIPTION, BEGIN)
    assert (told.at, len(told.change)) == (AT, 2)
