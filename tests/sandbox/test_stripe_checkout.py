"""`checkout.pay`, the engine under the hosted page, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bursar_sandbox.store import Store
from bursar_sandbox.stripe import checkout, checkout_sessions, timers
from bursar_sandbox.stripe.call import Call
from bursar_sandbox.stripe.checkout import CardDetails, Declined, Paid, SessionNotOpen
from bursar_sandbox.stripe.forms import decode
from bursar_sandbox.stripe.params import Params

FORM = (
    b"mode=payment&success_url=https://shop.example/ok?s={CHECKOUT_SESSION_ID}"
    b"&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=1500"
    b"&line_items[0][price_data][product_data][name]=Credits&line_items[0][quantity]=1"
)
GOOD = CardDetails("4242 4242 4242 4242", 12, 2040, "123")


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(":memory:")
    yield store
    store.close()


def opened(store: Store, extra: bytes = b"") -> str:
    """A fresh session's id."""
    with store.transaction() as tx:
        call = Call(tx, Params(decode(FORM + extra)), (), "/v1/checkout/sessions")
        return str(checkout_sessions.create(call)["id"])


def pay(store: Store, session_id: str, card: CardDetails = GOOD) -> Paid | Declined:
    """Pay as the page does."""
    with store.transaction() as tx:
        return checkout.pay(
            tx,
            session_id,
            card,
            email="buyer@example.com",
            name="Bo Buyer",
            country="DE",
            postal_code="10115",
        )


def found(store: Store, session_id: str) -> dict[str, Any]:
    with store.transaction() as tx:
        session = checkout.find_session(tx, session_id)
    assert session is not None
    return session


def charges(store: Store) -> int:
    row = store.read("SELECT count(*) FROM objects WHERE object = 'charge'").fetchone()
    return int(row[0])


def test_paid_session_leads_to_its_success_url(store: Store) -> None:
    session_id = opened(store)
    outcome = pay(store, session_id)
    assert isinstance(outcome, Paid)
    assert outcome.redirect_url == f"https://shop.example/ok?s={session_id}"
    session = found(store, session_id)
    assert session["status"] == "complete"
    assert session["customer_details"]["address"]["postal_code"] == "10115"
    assert session["line_items"][0]["description"] == "Credits"
    with store.transaction() as tx:
        event = tx.find(outcome.completed_event_id)
    assert event is not None
    assert event["type"] == "checkout.session.completed"


def test_second_submit_is_paid_again_without_a_charge(store: Store) -> None:
    session_id = opened(store)
    first = pay(store, session_id)
    assert pay(store, session_id, CardDetails("4000000000000002", 1, 2040, "123")) == first
    assert charges(store) == 1


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
        ("4000000000000119", "processing_error", "processing_error"),
        ("4000000000000341", "card_declined", "generic_decline"),
        ("4012888888881881", "card_declined", "test_mode_live_card"),
    ],
)
def test_declined_card_says_why_and_leaves_the_session_open(
    store: Store, number: str, code: str, decline_code: str
) -> None:
    session_id = opened(store)
    outcome = pay(store, session_id, CardDetails(number, 12, 2040, "123"))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.decline_code) == (code, decline_code)
    assert found(store, session_id)["status"] == "open"
    assert isinstance(pay(store, session_id), Paid)


@pytest.mark.parametrize(
    ("card", "code", "param"),
    [
        (CardDetails("4242424242424241", 12, 2040, "123"), "incorrect_number", "number"),
        (CardDetails("", 12, 2040, "123"), "incorrect_number", "number"),
        (CardDetails("4242424242424242", 0, 2040, "123"), "invalid_expiry_month", "exp_month"),
        (CardDetails("4242424242424242", 1, 2020, "123"), "invalid_expiry_year", "exp_year"),
        (CardDetails("4242424242424242", 1, 2040, "1234"), "invalid_cvc", "cvc"),
        (CardDetails("378282246310005", 1, 2040, "123"), "invalid_cvc", "cvc"),
    ],
)
def test_card_that_can_not_be_is_declined_before_any_charge(
    store: Store, card: CardDetails, code: str, param: str
) -> None:
    outcome = pay(store, opened(store), card)
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.param) == (code, param)
    assert charges(store) == 0


def test_card_expires_by_the_sandboxes_clock(store: Store) -> None:
    store.advance(20 * 366 * 24 * 3600)
    assert isinstance(pay(store, opened(store)), Declined)


def test_session_that_is_gone_can_not_be_paid(store: Store) -> None:
    session_id = opened(store)
    with pytest.raises(SessionNotOpen) as missing:
        pay(store, "cs_test_none")
    assert missing.value.status == "missing"
    store.advance(25 * 3600)
    with pytest.raises(SessionNotOpen) as expired:
        pay(store, session_id)
    assert expired.value.status == "expired"
    assert charges(store) == 0


def test_session_whose_time_is_over_is_found_expired_once(store: Store) -> None:
    session_id = opened(store)
    store.advance(25 * 3600)
    assert found(store, session_id)["status"] == "expired"
    timers.run_due(store)
    events = store.read(
        "SELECT count(*) FROM objects WHERE label = 'checkout.session.expired'"
    ).fetchone()
    assert events == (1,)


def test_card_is_refused_where_only_debits_are_taken(store: Store) -> None:
    session_id = opened(store, b"&payment_method_types[]=sepa_debit")
    outcome = pay(store, session_id)
    assert isinstance(outcome, Declined)
    assert outcome.code == "payment_intent_incompatible_payment_method"


def pay_and_break(store: Store, session_id: str) -> None:
    """Pay, and fail before the transaction's end."""
    with store.transaction() as tx:
        checkout.pay(
            tx, session_id, GOOD, email="a@example.com", name="A", country="DE", postal_code=""
        )
        raise ConnectionResetError


def test_what_fails_in_the_middle_leaves_nothing(store: Store) -> None:
    session_id = opened(store)
    with pytest.raises(ConnectionResetError):
        pay_and_break(store, session_id)
    assert found(store, session_id)["status"] == "open"
    assert charges(store) == 0
