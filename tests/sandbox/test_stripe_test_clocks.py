"""Test clocks: whose time they keep, how far they go, what goes with them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from plan_changes import APRIL, MAY, Plans, customer_on_clock

DAY = 24 * 3600
JANUARY = 1_767_225_600  # 2026-01-01 00:00:00 UTC


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def clocks(v1: Any) -> Any:
    return v1.test_helpers.test_clocks


@pytest.fixture
def clock(clocks: Any) -> Any:
    return clocks.create({"frozen_time": JANUARY, "name": "A year"})


def events_of(v1: Any, object_id: str) -> list[str]:
    """The types of the events about an object, oldest first."""
    events = v1.events.list({"limit": 100}).data
    return [event.type for event in reversed(events) if event.data.object["id"] == object_id]


def draft(v1: Any, customer: str) -> Any:
    """A draft over 20.00 that goes on by itself an hour after it was made."""
    v1.invoice_items.create({"customer": customer, "amount": 2000, "currency": "usd"})
    wanted = {"customer": customer, "pending_invoice_items_behavior": "include"}
    return v1.invoices.create({**wanted, "auto_advance": True})


def test_clock_stands_where_it_was_set(v1: Any, clocks: Any, clock: Any) -> None:
    assert (clock.status, clock.name) == ("ready", "A year")
    assert clocks.retrieve(clock.id).frozen_time == JANUARY
    assert clock.id in {one.id for one in clocks.list({"limit": 100}).data}
    assert events_of(v1, clock.id) == ["test_helpers.test_clock.created"]


def test_what_is_made_for_a_customer_on_a_clock_bears_its_time(v1: Any, clock: Any) -> None:
    customer = v1.customers.create({"test_clock": clock.id, "email": "ada@lovelace.example"})
    invoice = draft(v1, customer.id)
    item = v1.invoice_items.list({"invoice": invoice.id}).data[0]
    assert [customer.test_clock, invoice.test_clock, item.test_clock] == [clock.id] * 3
    assert [customer.created, invoice.created, item.date] == [JANUARY] * 3
    assert invoice.automatically_finalizes_at == JANUARY + 3600


def test_others_stay_in_the_sandboxs_time(v1: Any, clock: Any) -> None:
    customer = v1.customers.create({"name": "Bo"})
    assert customer.test_clock is None
    assert customer.created > JANUARY + DAY
    assert draft(v1, customer.id).test_clock is None


def test_advancing_lets_happen_what_is_due_at_its_own_moment(
    v1: Any, clocks: Any, clock: Any
) -> None:
    customer = v1.customers.create({"test_clock": clock.id})
    invoice = draft(v1, customer.id)
    going = clocks.advance(clock.id, {"frozen_time": JANUARY + 10 * DAY})
    assert going.status == "advancing"
    assert going.status_details.advancing.target_frozen_time == JANUARY + 10 * DAY
    there = clocks.retrieve(clock.id)
    assert (there.status, there.frozen_time) == ("ready", JANUARY + 10 * DAY)
    finalized = v1.invoices.retrieve(invoice.id)
    assert finalized.status == "open"
    assert finalized.status_transitions.finalized_at == JANUARY + 3600
    assert events_of(v1, clock.id)[1:] == [
        "test_helpers.test_clock.advancing",
        "test_helpers.test_clock.ready",
    ]


def test_what_is_not_due_waits_for_the_next_advance(v1: Any, clocks: Any, clock: Any) -> None:
    customer = v1.customers.create({"test_clock": clock.id})
    invoice = draft(v1, customer.id)
    clocks.advance(clock.id, {"frozen_time": JANUARY + 3599})
    assert v1.invoices.retrieve(invoice.id).status == "draft"
    clocks.advance(clock.id, {"frozen_time": JANUARY + 3600})
    assert v1.invoices.retrieve(invoice.id).status == "open"


def test_clock_only_goes_forward_and_at_most_two_years(clocks: Any, clock: Any) -> None:
    for wrong in (JANUARY, JANUARY - 1, JANUARY + 2 * 365 * DAY + 1):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            clocks.advance(clock.id, {"frozen_time": wrong})
        assert refused.value.param == "frozen_time"
    assert clocks.advance(clock.id, {"frozen_time": JANUARY + 2 * 365 * DAY}).status == "advancing"


def test_three_customers_live_on_a_clock(v1: Any, clock: Any) -> None:
    made = [v1.customers.create({"test_clock": clock.id}).id for _ in range(3)]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        v1.customers.create({"test_clock": clock.id})
    assert refused.value.param == "test_clock"
    listed = v1.customers.list({"test_clock": clock.id}).data
    assert [customer.id for customer in listed] == made[::-1]


def test_list_of_customers_leaves_out_who_lives_on_a_clock(v1: Any, clock: Any) -> None:
    email = f"{clock.id}@lovelace.example"
    v1.customers.create({"test_clock": clock.id, "email": email})
    plain = v1.customers.create({"email": email})
    assert [one.id for one in v1.customers.list({"email": email}).data] == [plain.id]


def test_customer_who_is_there_already_can_be_put_on_a_new_clock(v1: Any, clocks: Any) -> None:
    customer = v1.customers.create({"name": "Cy"})
    clock = clocks.create({"frozen_time": JANUARY, "customer": customer.id})
    assert v1.customers.retrieve(customer.id).test_clock == clock.id
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        clocks.create({"frozen_time": JANUARY, "customer": customer.id})


def test_deleting_a_clock_deletes_its_customers(v1: Any, clocks: Any, clock: Any) -> None:
    customer = v1.customers.create({"test_clock": clock.id})
    draft(v1, customer.id)
    assert clocks.delete(clock.id).deleted
    assert v1.customers.retrieve(customer.id).deleted
    assert events_of(v1, customer.id)[-1] == "customer.deleted"
    assert events_of(v1, clock.id)[-1] == "test_helpers.test_clock.deleted"
    with pytest.raises(stripe.InvalidRequestError) as gone:
        clocks.retrieve(clock.id)
    assert gone.value.http_status == 404


def test_clock_needs_a_time_and_customers_a_clock_that_is_there(v1: Any, clocks: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        clocks.create({"name": "Nowhen"})
    assert missing.value.param == "frozen_time"
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        v1.customers.create({"test_clock": "clock_none"})
    assert (unknown.value.code, unknown.value.param) == ("resource_missing", "test_clock")


def test_same_key_on_a_clock_in_the_past_is_still_remembered(v1: Any, clock: Any) -> None:
    options = {"idempotency_key": f"once-{clock.id}"}
    first = v1.customers.create({"test_clock": clock.id}, options)
    assert v1.customers.create({"test_clock": clock.id}, options).id == first.id


def test_clock_with_subscriptions_goes_two_of_the_shortest_intervals(v1: Any, clocks: Any) -> None:
    customer, clock = customer_on_clock(v1)
    plans = Plans(v1)
    for price in (plans.yearly(9000), plans.monthly(1000)):
        v1.subscriptions.create({"customer": customer, "items": [{"price": price}]})
    june = MAY + 31 * DAY
    with pytest.raises(stripe.InvalidRequestError, match="too far in the future"):
        clocks.advance(clock, {"frozen_time": june + 1})
    assert clocks.advance(clock, {"frozen_time": june}).status == "advancing"
    assert clocks.retrieve(clock).frozen_time == june


def test_periods_that_pass_in_one_advance_come_one_after_the_other(v1: Any, clocks: Any) -> None:
    customer, clock = customer_on_clock(v1)
    wanted = {"customer": customer, "items": [{"price": Plans(v1).monthly(1000)}]}
    subscription = v1.subscriptions.create(wanted)
    june = MAY + 31 * DAY
    clocks.advance(clock, {"frozen_time": june})
    invoices = v1.invoices.list({"subscription": subscription.id}).data
    assert [invoice.created for invoice in invoices] == [june, MAY, APRIL]
    assert [invoice.status for invoice in invoices] == ["draft", "paid", "paid"]
    assert invoices[1].status_transitions.paid_at == MAY + 3600
    events = v1.events.list({"type": "invoice.paid", "limit": 100}).data
    mine = [one.created for one in events if one.data.object["customer"] == customer]
    assert mine == [MAY + 3600, APRIL]
    assert {one.test_clock for one in [*invoices, subscription]} == {clock}


def test_deleting_a_clock_ends_its_subscriptions(v1: Any, clocks: Any) -> None:
    customer, clock = customer_on_clock(v1)
    wanted = {"customer": customer, "items": [{"price": Plans(v1).monthly(1000)}]}
    subscription = v1.subscriptions.create(wanted)
    clocks.delete(clock)
    assert v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert "customer.subscription.deleted" in events_of(v1, subscription.id)
