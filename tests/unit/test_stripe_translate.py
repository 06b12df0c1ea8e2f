"""Stripe's messages, however odd: facts that can be stored, or a code that says what is wrong."""

from __future__ import annotations

import dataclasses
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odd_events
from bursar import errors
from bursar.money import AMOUNT_MAX
from bursar.providers.mirrored import CatalogFact
from bursar.providers.port import Facts, Ignored, PaymentFacts, Unusable
from bursar.providers.recurring import SubscriptionNews
from bursar.providers.stripe import Stripe, translate

SECRET = "whsec_translate"
STRIPE = Stripe(
    secret_key="sk_test_translate",
    webhook_secrets=[SECRET],
    base="http://127.0.0.1:9",
    live=False,
)
OBJECTS = odd_events.objects(odd_events.Ids())

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(sorted(translate.HANDLED))


def headers(body: bytes) -> dict[str, str]:
    at = int(time.time())
    digest = hmac.new(SECRET.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={digest}", "content-type": "application/json"}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts(part)


def storable(text: str) -> bool:
    """Whether PostgreSQL takes it as text and inside of jsonb."""
    return "\0" not in text and text == text.encode("utf-8", "replace").decode()


def read(body: bytes) -> Facts | Unusable:
    """Take a signed body through both parsers, holding each to what the rooms behind can take."""
    received = STRIPE.verify(body, headers(body))
    assert received.payload == body
    assert 0 < len(received.event_key) <= 255
    assert all(storable(word) for word in (received.event_key, received.type, received.account))
    found: Facts | Unusable
    try:
        found = STRIPE.translate(body)
    except Unusable as unusable:
        found = unusable
    if isinstance(found, Unusable):
        assert storable(str(found))
        assert len(str(found)) <= 400
        return found
    if isinstance(found, Ignored):
        assert storable(found.reason)
        assert len(found.reason) <= 200
        return found
    fields = dataclasses.asdict(found)
    assert all(storable(text) and len(text) <= 2000 for text in texts(fields))
    if isinstance(found, CatalogFact):
        assert len(found.id) <= 255
        return found
    if isinstance(found, SubscriptionNews):
        assert found.subscription_id
        return found
    sums = [found.amount_minor, found.captured_minor, *(r.amount_minor for r in found.refunds)]
    assert all(0 <= amount <= AMOUNT_MAX for amount in sums if amount is not None)
    return found


def whole(event_type: str) -> dict[str, Any]:
    return odd_events.event("evt_1", event_type, OBJECTS[odd_events.kind_of(event_type)])


def code_of(found: object) -> str:
    assert isinstance(found, Unusable), found
    return found.code


@pytest.mark.parametrize("event_type", sorted(translate.HANDLED))
def test_an_event_as_it_should_be_says_what_it_says(event_type: str) -> None:
    found = read(json.dumps(whole(event_type)).encode())
    if isinstance(found, SubscriptionNews):
        invoice = None if "invoice" not in event_type or "upcoming" in event_type else "in_odd"
        assert found == SubscriptionNews("stripe", "sub_odd", invoice)
        return
    assert isinstance(found, PaymentFacts | CatalogFact)
    assert found.at == datetime.fromtimestamp(odd_events.CREATED, UTC)
    if isinstance(found, CatalogFact):
        assert (found.kind, found.id) == (odd_events.kind_of(event_type), OBJECTS[found.kind]["id"])
        assert found.gone == event_type.endswith(".deleted")
        return
    assert (found.payment_intent_id, found.currency) == ("pi_odd", "usd")


@pytest.mark.parametrize("event_type", sorted(translate.HANDLED))
def test_any_odd_value_at_any_field_gives_facts_or_a_code(event_type: str) -> None:
    message = whole(event_type)
    codes = set()
    for place in odd_events.places(message):
        for odd in odd_events.ODD_VALUES.values():
            found = read(odd_events.with_odd(message, place, odd))
            codes.add(found.code if isinstance(found, Unusable) else "")
    expected = {"", "event_id_invalid", "livemode_mismatch", "payload_number", "payload_too_deep"}
    assert codes >= expected


@given(body=st.binary(max_size=2000))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_signed_bytes_are_read_or_named(body: bytes) -> None:
    assert isinstance(read(body), Unusable | Ignored)


@given(header=st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_header_is_not_authentic(header: str) -> None:
    with pytest.raises(errors.NotAuthentic):
        STRIPE.verify(b'{"id": "evt_1"}', {"stripe-signature": header})


@given(event_type=TYPES, thing=JSON)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_json_under_a_known_type_is_read_or_named(event_type: str, thing: Any) -> None:
    read(json.dumps(odd_events.event("evt_1", event_type, thing)).encode())


@given(event_type=TYPES, changes=st.data())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_json_at_any_fields_is_read_or_named(event_type: str, changes: st.DataObject) -> None:
    thing = dict(OBJECTS[odd_events.kind_of(event_type)])
    for name in changes.draw(st.sets(st.sampled_from(sorted(thing)), min_size=1)):
        thing[name] = changes.draw(JSON)
    read(json.dumps(odd_events.event("evt_1", event_type, thing)).encode())


COMPLETED = "checkout.session.completed"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "payload_unparseable"),
        (b"no json", "payload_unparseable"),
        (b"[]", "payload_unparseable"),
        (b"{}", "payload_unparseable"),
        (b"\xef\xbb\xbf{}", "payload_unparseable"),
        (b'{"id": "evt_\xff"}', "payload_encoding"),
        (b'{"id": "evt_1", "x": NaN}', "payload_number"),
        (b'{"id": "evt_1", "x": 1e400}', "payload_number"),
        (b'{"id": "evt_1", "x": ' + b"9" * 5000 + b"}", "payload_number"),
        (b"[" * 100_000, "payload_too_deep"),
        (b'{"type": "x", "livemode": false}', "event_id_invalid"),
        (b'{"id": "", "livemode": false}', "event_id_invalid"),
        (b'{"id": 7, "livemode": false}', "event_id_invalid"),
        (b'{"id": "' + b"e" * 10_000 + b'", "livemode": false}', "event_id_invalid"),
        (b'{"id": "evt_\\u0000", "livemode": false}', "event_id_invalid"),
        (b'{"id": "evt_\\ud800", "livemode": false}', "event_id_invalid"),
        (b'{"id": "evt_1", "livemode": true}', "livemode_mismatch"),
        (b'{"id": "evt_1"}', "livemode_mismatch"),
        (b'{"id": "evt_1", "livemode": false, "account": "acct_x"}', "account_mismatch"),
        (b'{"id": "evt_1", "livemode": false, "account": "a\\u0000"}', "account_mismatch"),
    ],
)
def test_what_cannot_be_used_has_a_code(body: bytes, expected: str) -> None:
    assert code_of(read(body)) == expected


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ('"1000"', "amount_invalid"),
        ("true", "amount_invalid"),
        ("10.5", "amount_invalid"),
        ("-1", "amount_invalid"),
        ("null", "amount_invalid"),
        (str(2**63), "amount_out_of_range"),
        (str(10**12 + 1), "amount_out_of_range"),
    ],
)
@pytest.mark.parametrize(
    ("event_type", "field"),
    [
        (COMPLETED, "amount_total"),
        ("payment_intent.succeeded", "amount_received"),
        ("charge.succeeded", "amount_captured"),
    ],
)
def test_an_amount_that_is_none_is_named(
    event_type: str, field: str, odd: str, expected: str
) -> None:
    body = odd_events.with_odd(whole(event_type), ("data", "object", field), odd)
    assert code_of(read(body)) == expected


@pytest.mark.parametrize("odd", ['"us\\u0000"', '"   "', '"us1"', '"dollars"', "840", "{}"])
def test_a_currency_that_is_none_is_named(odd: str) -> None:
    body = odd_events.with_odd(whole(COMPLETED), ("data", "object", "currency"), odd)
    assert code_of(read(body)) == "currency_invalid"


@pytest.mark.parametrize("odd", ['"a\\u0000da@example.com"', '"a\\ud83dda@example.com"'])
def test_text_that_cannot_be_stored_is_cleaned_and_the_money_counts(odd: str) -> None:
    place = ("data", "object", "customer_details", "email")
    found = read(odd_events.with_odd(whole(COMPLETED), place, odd))
    assert isinstance(found, PaymentFacts)
    assert (found.state, found.amount_minor) == ("completed", 500)
    assert found.email is not None
    assert found.email.endswith("da@example.com")


def test_a_refund_without_its_amount_is_asked_for_and_never_taken_for_the_whole() -> None:
    body = odd_events.with_odd(whole("refund.updated"), ("data", "object", "amount"), "null")
    found = read(body)
    assert isinstance(found, PaymentFacts)
    assert (found.refunds, found.incomplete) == ((), True)


def test_a_decline_without_a_code_is_still_a_decline() -> None:
    place = ("data", "object", "last_payment_error")
    for odd in ("null", "[]", '"declined"', '{"code": {"x": "\\u0000"}}'):
        found = read(odd_events.with_odd(whole("payment_intent.payment_failed"), place, odd))
        assert isinstance(found, PaymentFacts)
        assert (found.state, found.failure) == ("failed", "payment_failed")


def test_an_unknown_type_is_ignored_whatever_it_carries() -> None:
    for kind in ("invoice.updated", "", "x" * 5000, None, 7, [], {}):
        body = json.dumps({**whole(COMPLETED), "type": kind}).encode()
        assert isinstance(read(body), Ignored)
