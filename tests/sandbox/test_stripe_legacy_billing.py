"""Endpoints of a version before 2025-03-31 hear of subscriptions and invoices as it told them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billing_shop import DAY, Billing, item_of
from bursar.providers.stripe import translate
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver
from stripe_schema import SchemaUnavailableError, legacy
from worlds import stripe_client

FIXTURES = Path(__file__).parent.parent / "fixtures" / "stripe_events" / "acacia"
OLD = "2024-11-20.acacia"
MOVED = {
    "subscription": {"billing_mode"},
    "subscription_item": {"current_period_end", "current_period_start"},
    "invoice": {"parent", "total_taxes"},
    "line_item": {"parent", "pricing", "subtotal", "taxes"},
    "invoiceitem": {"parent", "pricing"},
    "discount": {"source"},
}

Object = dict[str, Any]


@dataclass
class Told:
    """The same events as both endpoints heard them, oldest first."""

    old: list[Object]
    new: list[Object]

    def of(self, kind: str) -> list[tuple[Object, Object]]:
        """The objects of the events of that type, as told before and now."""
        both = zip(self.old, self.new, strict=True)
        return [
            (old["data"]["object"], new["data"]["object"])
            for old, new in both
            if new["type"] == kind
        ]


def lived(shop: Billing) -> None:
    """A year's worth of troubles: an upgrade, a renewal, a card that fails, the end."""
    v1 = shop.v1
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False})
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"})
    customer = shop.customer()
    subscription = shop.subscribe(
        customer, shop.plan(1000), default_tax_rates=[rate.id], discounts=[{"coupon": coupon.id}]
    )
    shop.advance(10 * DAY)
    change = {"id": item_of(subscription).id, "price": shop.plan(3000, name="Large").id}
    v1.subscriptions.update(subscription.id, {"items": [change]})
    v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
    shop.advance(25 * DAY)
    shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    shop.advance(31 * DAY)
    v1.subscriptions.cancel(subscription.id)


@pytest.fixture(scope="module")
def story(checked_sandbox: Sandbox) -> Told:
    shop = Billing(checked_sandbox.base_url, stripe_client(checked_sandbox).v1)
    control_client.reset(checked_sandbox.base_url)
    with Receiver() as old, Receiver() as new:
        for receiver, version in ((old, {"api_version": OLD}), (new, {})):
            wanted = {"url": receiver.url, "enabled_events": ["*"], **version}
            receiver.secret = shop.v1.webhook_endpoints.create(wanted).secret
        lived(shop)
        happened = [event.id for event in shop.v1.events.list({"limit": 100}).auto_paging_iter()]
        for receiver in (old, new):
            receiver.wait_for(lambda one: {event.id for event in one.events} >= set(happened))
            assert receiver.refused == []
        heard = [
            {event["id"]: event for event in map(json.loads, receiver.raw)}
            for receiver in (old, new)
        ]
    return Told(*[[each[one] for one in reversed(happened)] for each in heard])


@pytest.fixture(scope="module")
def old_types() -> Object:
    try:
        return legacy.load()
    except SchemaUnavailableError as missing:
        pytest.skip(str(missing))


def parts_of(thing: Any) -> list[Object]:
    """An object and all objects inside it."""
    inside = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ()
    own = [thing] if isinstance(thing, dict) and isinstance(thing.get("object"), str) else []
    return own + [part for value in inside for part in parts_of(value)]


def test_every_object_is_as_the_provider_described_it_then(story: Told, old_types: Object) -> None:
    kinds = set()
    for event in story.old:
        assert event["api_version"] == OLD
        thing = event["data"]["object"]
        if thing["object"] in old_types:
            kinds.add(thing["object"])
            assert legacy.check(thing, old_types) == [], event["type"]
    assert {"subscription", "invoice", "invoiceitem", "discount", "charge"} <= kinds


def test_nothing_stands_in_a_place_that_came_later(story: Told) -> None:
    seen = set()
    for event in story.old:
        for part in parts_of(event["data"]):
            seen.add(part["object"])
            assert not MOVED.get(part["object"], set()) & part.keys(), event["type"]
    assert seen >= MOVED.keys()


def test_what_our_fixtures_of_old_events_have_is_there(story: Told) -> None:
    kinds = set()
    for event in story.old:
        path = FIXTURES / f"{event['type']}.json"
        if not event["type"].startswith(("customer.subscription.", "invoice.")):
            continue
        if not path.exists():
            continue
        kinds.add(event["type"])
        sample = json.loads(path.read_text("utf-8"))["data"]["object"]
        told = event["data"]["object"]
        assert sample.keys() - told.keys() - {"id"} == set()
        inner = "items" if told["object"] == "subscription" else "lines"
        # An invoice item's line has no subscription item, in either version.
        loose = {"subscription_item"}
        for part in told[inner]["data"]:
            assert sample[inner]["data"][0].keys() - part.keys() - loose == set()
    assert {"customer.subscription.updated", "invoice.paid", "invoice.upcoming"} <= kinds
    assert {"invoice.payment_failed", "customer.subscription.deleted"} <= kinds


def test_our_adapter_reads_both_alike(story: Told) -> None:
    read = set()
    for old, new in zip(story.old, story.new, strict=True):
        assert (old["id"], old["type"]) == (new["id"], new["type"])
        if new["type"] in translate.HANDLED:
            read.add(new["type"])
            assert translate.event(old) == translate.event(new), new["type"]
    assert {"invoice.paid", "invoice.payment_failed", "customer.subscription.updated"} <= read


def test_invoice_names_its_subscription_its_payment_and_its_tax(story: Told) -> None:
    for old, new in story.of("invoice.paid"):
        details = new["parent"]["subscription_details"]
        assert old["subscription"] == details["subscription"]
        assert old["subscription_details"] == {"metadata": details["metadata"]}
        assert old["payment_intent"].startswith("pi_")
        assert old["charge"].startswith("ch_")
        assert (old["paid"], old["paid_out_of_band"]) == (True, False)
        assert old["discount"]["coupon"]["percent_off"] == 10
        [tax] = old["total_tax_amounts"]
        assert (tax["amount"], tax["inclusive"]) == (old["tax"], False)
        assert old["tax"] == new["total_taxes"][0]["amount"] > 0
    assert len(story.of("invoice.paid")) == 2
    for old, _ in story.of("invoice.payment_failed"):
        assert (old["paid"], old["payment_intent"][:3]) == (False, "pi_")
    [(next_one, _)] = story.of("invoice.upcoming")[:1]
    assert "id" not in next_one


def test_line_has_its_price_and_plan_and_says_what_it_is(story: Told) -> None:
    _, renewal = (old["lines"]["data"] for old, _ in story.of("invoice.paid"))
    told = [(line["type"], line["proration"], line["amount"]) for line in renewal]
    assert {(kind, proration) for kind, proration, _ in told} == {
        ("invoiceitem", True),
        ("invoiceitem", False),
        ("subscription", False),
    }
    for line in renewal:
        assert line["amount_excluding_tax"] == line["amount"]
        assert ("invoice_item" in line) == (line["type"] == "invoiceitem")
        if line["description"] is not None:
            assert line["price"]["id"] == line["plan"]["id"]
            assert line["subscription_item"].startswith("si_")
        else:
            # What was put on the invoice by hand has a price that nobody subscribes to.
            assert line["price"]["recurring"] is line["plan"] is None
    credits = [line for line in renewal if line["amount"] < 0]
    assert [bool(line["proration_details"]["credited_items"]) for line in credits] == [True]


def test_subscription_has_its_period_and_what_changed_in_it(story: Told) -> None:
    for old, new in story.of("customer.subscription.updated"):
        [item] = new["items"]["data"]
        assert old["current_period_end"] == item["current_period_end"]
        assert old["current_period_start"] == item["current_period_start"]
        assert (old["plan"]["id"], old["quantity"]) == (item["plan"]["id"], 1)
        assert old["discount"]["id"] == new["discounts"][0]
    former = [
        event["data"]["previous_attributes"]
        for event in story.old
        if event["type"] == "customer.subscription.updated"
    ]
    moved = [one for one in former if "current_period_end" in one]
    assert len(moved) == 2
    for one in moved:
        assert 28 * DAY <= one["current_period_end"] - one["current_period_start"] <= 31 * DAY
    for event in story.old:
        previous = event["data"].get("previous_attributes", {})
        assert "parent" not in previous
