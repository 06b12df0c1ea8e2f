"""Held money: taken whole or in part, given up, lapsed; and what may be changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import advance
from stripe_receiver import Receiver
from stripe_schema import recorded, schema_or_skip
from stripe_shop import card, confirm_page, open_session, pay_intent

DAY = 24 * 3600
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox], receiver: Receiver, tmp_path: Path) -> Iterator[Sandbox]:
    record = tmp_path / "record.jsonl"
    running = start(webhook=(receiver.url, receiver.secret), record=record)
    yield running
    running.stop()
    assert recorded.problems(record, schema_or_skip()) == []


@pytest.fixture
def client(sandbox: Sandbox, client_for: Callable[[Sandbox], Any]) -> Any:
    return client_for(sandbox)


@pytest.fixture
def v1(client: Any) -> Any:
    return client.v1


def held(v1: Any, **options: Any) -> Any:
    return pay_intent(v1, capture_method="manual", **options)


def told(v1: Any) -> list[str]:
    return [event.type for event in reversed(v1.events.list({"limit": 100}).data)]


def test_part_capture_releases_the_rest_without_a_refund(v1: Any) -> None:
    intent = held(v1)
    v1.payment_intents.capture(intent.id, {"amount_to_capture": 1200})
    charge = v1.charges.retrieve(
        intent.latest_charge, {"expand": ["refunds", "balance_transaction"]}
    )
    assert (charge.amount, charge.amount_captured, charge.amount_refunded) == (2000, 1200, 0)
    assert (charge.refunded, charge.refunds.data) == (False, [])
    assert v1.refunds.list({"payment_intent": intent.id}).data == []
    assert charge.balance_transaction.amount == 1200
    assert told(v1) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
    ]


def test_no_more_is_given_back_than_was_captured(v1: Any) -> None:
    intent = held(v1)
    v1.payment_intents.capture(intent.id, {"amount_to_capture": 1200})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.refunds.create({"payment_intent": intent.id, "amount": 1201})
    assert "greater than charge amount ($12.00" in str(caught.value)
    v1.refunds.create({"payment_intent": intent.id})
    charge = v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (1200, True)


def test_hold_tells_until_when_it_can_be_captured(v1: Any) -> None:
    charge = v1.charges.retrieve(held(v1).latest_charge)
    assert charge.payment_method_details.card.capture_before == charge.created + 7 * DAY
    assert (charge.captured, charge.amount_captured, charge.balance_transaction) == (False, 0, None)


def test_hold_lapses_after_seven_days(v1: Any, sandbox: Sandbox) -> None:
    intent, taken = held(v1), held(v1)
    v1.payment_intents.capture(taken.id)
    advance(sandbox.base_url, 7 * DAY - 60)
    assert v1.payment_intents.retrieve(intent.id).status == "requires_capture"
    advance(sandbox.base_url, 120)
    intent = v1.payment_intents.retrieve(intent.id)
    assert (intent.status, intent.cancellation_reason) == ("canceled", "expired")
    assert (intent.amount_capturable, intent.amount_received) == (0, 0)
    assert told(v1)[-2:] == ["charge.expired", "payment_intent.canceled"]
    charge = v1.charges.retrieve(intent.latest_charge)
    assert (charge.captured, charge.amount_refunded, charge.refunded) == (False, 0, False)
    assert "Hold released" in httpx.get(charge.receipt_url).text
    assert v1.payment_intents.retrieve(taken.id).status == "succeeded"
    assert told(v1).count("charge.expired") == 1


def test_canceled_hold_says_why_and_can_not_be_captured(v1: Any) -> None:
    intent = held(v1)
    before = told(v1)
    intent = v1.payment_intents.cancel(intent.id, {"cancellation_reason": "fraudulent"})
    assert (intent.status, intent.cancellation_reason) == ("canceled", "fraudulent")
    assert told(v1)[len(before) :] == ["payment_intent.canceled"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.capture(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    assert "status of canceled" in str(caught.value)
    assert caught.value.error.payment_intent.id == intent.id
    with pytest.raises(stripe.InvalidRequestError) as again:
        v1.payment_intents.cancel(intent.id)
    assert again.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError, match="must be one of"):
        v1.payment_intents.cancel(held(v1).id, {"cancellation_reason": "mood"})


def test_captured_payment_is_not_captured_again(v1: Any) -> None:
    intent = held(v1)
    v1.payment_intents.capture(intent.id, {"amount_to_capture": 500})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.capture(intent.id, {"amount_to_capture": 100})
    assert caught.value.code == "payment_intent_unexpected_state"
    assert "already been captured" in str(caught.value)


def test_capture_with_the_same_key_happens_once(v1: Any) -> None:
    intent = held(v1)
    for _ in range(2):
        done = v1.payment_intents.capture(intent.id, {}, {"idempotency_key": f"cap-{intent.id}"})
        assert done.status == "succeeded"
    assert told(v1).count("charge.captured") == 1


def test_more_than_is_held_and_several_captures_are_refused(v1: Any) -> None:
    intent = held(v1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.capture(intent.id, {"amount_to_capture": 2001})
    assert (caught.value.code, caught.value.param) == ("amount_too_large", "amount_to_capture")
    with pytest.raises(stripe.InvalidRequestError) as several:
        v1.payment_intents.capture(intent.id, {"amount_to_capture": 1, "final_capture": False})
    assert several.value.param == "final_capture"
    whole = v1.payment_intents.capture(
        intent.id, {"final_capture": True, "metadata": {"by": "Ada"}}
    )
    assert (whole.amount_received, whole.metadata.to_dict()) == (2000, {"by": "Ada"})


def test_session_that_is_held_is_paid_when_captured(v1: Any, client: Any) -> None:
    session = open_session(v1, payment_intent_data={"capture_method": "manual"})
    confirm_page(client, session, card(v1))
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    v1.payment_intents.capture(session.payment_intent, {"amount_to_capture": 1000})
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.payment_status, session.amount_total) == ("paid", 3000)


def test_session_whose_hold_lapses_stays_unpaid(v1: Any, client: Any, sandbox: Sandbox) -> None:
    session = open_session(v1, payment_intent_data={"capture_method": "manual"})
    confirm_page(client, session, card(v1))
    advance(sandbox.base_url, 8 * DAY)
    session = v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    assert session.payment_intent.status == "canceled"


def test_intent_is_changed_as_far_as_its_status_allows(v1: Any) -> None:
    draft = v1.payment_intents.create({"amount": 900, "currency": "usd", "metadata": {"a": "1"}})
    draft = v1.payment_intents.update(
        draft.id,
        {"amount": 950, "currency": "eur", "description": "Ink", "metadata": {"b": "2", "a": ""}},
    )
    assert (draft.amount, draft.currency, draft.description) == (950, "eur", "Ink")
    assert draft.metadata.to_dict() == {"b": "2"}
    intent = held(v1)
    changed = v1.payment_intents.update(
        intent.id, {"metadata": {"bursar_order": "held"}, "description": "Paper"}
    )
    assert (changed.metadata["bursar_order"], changed.description) == ("held", "Paper")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.update(intent.id, {"amount": 1})
    assert caught.value.code == "payment_intent_unexpected_state"
    assert v1.payment_intents.retrieve(intent.id).amount == 2000


def test_labels_of_a_session_are_changed_at_any_time(v1: Any, client: Any) -> None:
    session = open_session(v1, metadata={"a": "1", "b": "2"})
    changed = v1.checkout.sessions.update(session.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    confirm_page(client, session, card(v1))
    changed = v1.checkout.sessions.update(session.id, {"metadata": {"order": "captured"}})
    assert changed.metadata.to_dict() == {"b": "2", "c": "3", "order": "captured"}
    assert changed.status == "complete"


def test_lapse_is_told_by_webhook(v1: Any, sandbox: Sandbox, receiver: Receiver) -> None:
    intent = held(v1)
    advance(sandbox.base_url, 8 * DAY)
    event = receiver.wait_for_type("payment_intent.canceled")
    assert event.data.object["id"] == intent.id
    assert "charge.expired" in receiver.types
