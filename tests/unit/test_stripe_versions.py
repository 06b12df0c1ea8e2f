"""Events of the version that the guides used and of the pinned one say the same to us.

Both are held against the provider's own types: the pinned ones against those of its library, the
old ones, which tell the very same events, against its description of that time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import stripe

from bursar.providers.mirrored import CatalogFact
from bursar.providers.port import PaymentFacts
from bursar.providers.recurring import SubscriptionNews
from bursar.providers.stripe import translate
from stripe_schema import SchemaUnavailableError, check, legacy, schema_or_skip

FIXTURES = Path(__file__).parent.parent / "fixtures" / "stripe_events"
OLD = "2024-11-20.acacia"
VERSIONS = {"acacia": OLD, "endive": stripe.api_version}
KINDS = sorted(translate.HANDLED)


def event(version: str, kind: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FIXTURES / version / f"{kind}.json").read_text("utf-8"))
    return read


def thing(version: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = event(version, kind)["data"]["object"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_event_that_is_read_has_a_fixture_of_each_version(version: str) -> None:
    assert [path.stem for path in sorted((FIXTURES / version).glob("*.json"))] == KINDS
    for kind in KINDS:
        told = event(version, kind)
        assert (told["type"], told["api_version"]) == (kind, VERSIONS[version])


@pytest.mark.parametrize("kind", KINDS)
def test_both_versions_of_an_event_give_equal_facts(kind: str) -> None:
    old, new = event("acacia", kind), event("endive", kind)
    facts = translate.event(new)
    assert isinstance(facts, PaymentFacts | CatalogFact | SubscriptionNews)
    assert translate.event(old) == facts
    assert old["id"] == new["id"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_there_to_be_read(kind: str) -> None:
    facts = translate.event(event("acacia", kind))
    if isinstance(facts, CatalogFact):
        assert facts.id
        assert (facts.body == {}) == kind.endswith(".deleted")
        return
    if isinstance(facts, SubscriptionNews):
        assert facts.subscription_id
        assert bool(facts.invoice_id) == (kind.startswith("invoice.") and "upcoming" not in kind)
        return
    assert isinstance(facts, PaymentFacts)
    assert facts.currency == ("eur" if "async_payment" in kind else "usd")
    assert facts.payment_intent_id or facts.session_id
    if kind.startswith(("checkout.", "payment_intent.")) or kind in ("charge.succeeded",):
        assert facts.reference == "01890000-0000-7000-8000-000000000001"
        assert facts.state
        assert facts.amount_minor


def test_the_old_ones_have_the_old_places_and_lack_the_new() -> None:
    code = thing("acacia", "promotion_code.created")
    assert code["coupon"]["object"] == "coupon"
    assert "promotion" not in code
    assert thing("endive", "promotion_code.created")["promotion"]["coupon"] == code["coupon"]["id"]
    assert thing("acacia", "checkout.session.completed")["ui_mode"] == "hosted"
    assert "shipping_details" in thing("acacia", "checkout.session.completed")
    assert thing("acacia", "payment_intent.canceled")["cancellation_reason"] == "automatic"
    for kind in KINDS:
        old, new = thing("acacia", kind), thing("endive", kind)
        if old["object"] in ("payment_intent", "charge"):
            assert "invoice" in old
            assert "invoice" not in new
        if old["object"] == "invoice":
            assert old["subscription"] == new["parent"]["subscription_details"]["subscription"]
            assert "parent" not in old
            assert "subscription" not in new
        if old["object"] == "subscription":
            ends = [item["current_period_end"] for item in new["items"]["data"]]
            assert ends == [old["current_period_end"]]
            assert "current_period_end" not in old["items"]["data"][0]


def test_a_lapsed_hold_is_told_from_one_that_was_given_up() -> None:
    for version in VERSIONS:
        facts = translate.event(event(version, "payment_intent.canceled"))
        assert isinstance(facts, PaymentFacts)
        assert facts.state == "expired"


def test_a_capture_in_part_says_in_old_versions_what_was_let_go() -> None:
    """Then 500 of 2000 count as refunded though nothing went back; now they do not."""
    both = []
    for version, let_go in (("acacia", 500), ("endive", 0)):
        told = event(version, "charge.captured")
        charge = told["data"]["object"]
        charge.update(amount=2000, amount_captured=1500, amount_refunded=let_go)
        facts = translate.event(told)
        assert isinstance(facts, PaymentFacts)
        assert (facts.captured_minor, facts.authorized_minor) == (1500, 2000)
        assert facts.refunds == ()
        assert not facts.incomplete
        both.append(facts.released_minor)
    assert both == [500, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pinned_ones_are_as_the_provider_types_them(kind: str) -> None:
    assert check(event("endive", kind), schema_or_skip()) == []


@pytest.fixture(scope="module")
def old_types() -> dict[str, Any]:
    """The provider's own description of a version from before the fields moved."""
    try:
        return legacy.load()
    except SchemaUnavailableError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_ones_are_as_the_provider_described_them(
    kind: str, old_types: dict[str, Any]
) -> None:
    assert legacy.check(thing("acacia", kind), old_types) == []


def test_what_has_moved_is_no_old_shape(old_types: dict[str, Any]) -> None:
    code = thing("endive", "promotion_code.created")
    assert legacy.check(code, old_types) == ["promotion_code.coupon is missing"]
    intent = thing("endive", "payment_intent.canceled")
    assert legacy.check(intent, old_types) == ["payment_intent.cancellation_reason is 'expired'"]
