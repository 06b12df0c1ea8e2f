"""Disputes: how a bank takes a payment back or asks about it, and what comes of the answer."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from bursar_sandbox import control_client
from bursar_sandbox.control_client import SandboxError
from bursar_sandbox.running import Sandbox
from hosted_page_shop import advance
from stripe_receiver import Receiver
from stripe_schema import recorded, schema_or_skip
from stripe_shop import card, confirm_page, open_session, pay_intent

DAY = 24 * 3600
DISPUTE = "pm_card_createDispute"
INQUIRY = "pm_card_createDisputeInquiry"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def sandbox(start: Callable[..., Sandbox], receiver: Receiver, record: Path) -> Iterator[Sandbox]:
    """A sandbox whose clock is the test's own; all it says is checked against Stripe's types."""
    running = start(webhook=(receiver.url, receiver.secret), record=record)
    yield running
    running.stop()
    assert recorded.problems(record, schema_or_skip()) == []


@pytest.fixture
def v1(sandbox: Sandbox, client_for: Callable[[Sandbox], Any]) -> Any:
    return client_for(sandbox).v1


def dispute_of(v1: Any, intent: Any) -> Any:
    """The only dispute of the intent's charge, as it is now."""
    (found,) = v1.disputes.list({"payment_intent": intent.id}).data
    return v1.disputes.retrieve(found.id)


def charge_of(v1: Any, intent: Any) -> Any:
    return v1.charges.retrieve(intent.latest_charge)


def submit(v1: Any, dispute: Any, text: str) -> Any:
    return v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": text}})


def told(v1: Any) -> list[str]:
    """The types of all events about charges, disputes, refunds and intents, oldest first."""
    rooms = ("charge.", "payment_intent.", "refund.", "radar.")
    events = reversed(v1.events.list({"limit": 100}).data)
    return [event.type for event in events if event.type.startswith(rooms)]


def test_disputing_card_pays_and_is_charged_back(v1: Any) -> None:
    intent = pay_intent(v1, DISPUTE)
    assert (intent.status, intent.amount_received) == ("succeeded", 2000)
    assert told(v1) == [
        "payment_intent.created",
        "charge.succeeded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "payment_intent.succeeded",
    ]
    dispute = dispute_of(v1, intent)
    assert dispute.id.startswith("du_")
    assert (dispute.amount, dispute.currency, dispute.reason) == (2000, "usd", "fraudulent")
    assert (dispute.status, dispute.is_charge_refundable) == ("needs_response", False)
    assert (dispute.charge, dispute.payment_intent) == (intent.latest_charge, intent.id)
    shown = dispute.payment_method_details.card
    assert (shown.brand, shown.case_type, shown.network_reason_code) == (
        "visa",
        "chargeback",
        "10.4",
    )
    assert dispute.network_reason_code == "10.4"
    (entry,) = dispute.balance_transactions
    assert (entry.type, entry.reporting_category) == ("adjustment", "dispute")
    assert (entry.amount, entry.fee, entry.net) == (-2000, 1500, -3500)
    assert entry.fee_details[0].description == "Dispute fee"
    assert charge_of(v1, intent).disputed


def test_time_to_answer_ends_with_a_day_eight_days_on(v1: Any) -> None:
    details = dispute_of(v1, pay_intent(v1, DISPUTE)).evidence_details
    due = datetime.datetime.fromtimestamp(details.due_by, datetime.UTC)
    assert (due.hour, due.minute, due.second) == (23, 59, 59)
    today = datetime.datetime.now(datetime.UTC).date()
    assert 8 <= (due.date() - today).days <= 9
    assert (details.has_evidence, details.past_due, details.submission_count) == (False, False, 0)


def test_goods_that_did_not_arrive_are_another_reason(v1: Any) -> None:
    intent = pay_intent(v1, card(v1, "4000000000002685").id)
    dispute = dispute_of(v1, intent)
    assert (dispute.reason, dispute.network_reason_code) == ("product_not_received", "13.1")


def test_disputed_payment_of_a_session_completes_it(
    v1: Any, sandbox: Sandbox, client_for: Any
) -> None:
    session = open_session(v1)
    confirm_page(client_for(sandbox), session, card(v1, "4000000000000259"))
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.status, session.payment_status) == ("complete", "paid")
    (dispute,) = v1.disputes.list({"payment_intent": session.payment_intent}).data
    assert dispute.amount == session.amount_total


def test_charged_back_payment_is_not_given_back_as_well(v1: Any) -> None:
    intent = pay_intent(v1, DISPUTE)
    for params in ({"payment_intent": intent.id}, {"charge": intent.latest_charge, "amount": 1}):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            v1.refunds.create(params)
        assert (caught.value.http_status, caught.value.code) == (400, "charge_disputed")
        assert "has been charged back; cannot issue a refund." in str(caught.value)
    assert charge_of(v1, intent).amount_refunded == 0


def test_winning_evidence_brings_the_money_back(v1: Any, sandbox: Sandbox) -> None:
    intent = pay_intent(v1, DISPUTE)
    dispute = submit(v1, dispute_of(v1, intent), "winning_evidence")
    assert (dispute.status, dispute.evidence_details.submission_count) == ("under_review", 1)
    assert dispute.evidence_details.has_evidence
    advance(sandbox.base_url, 10)
    dispute = v1.disputes.retrieve(dispute.id)
    assert (dispute.status, dispute.is_charge_refundable) == ("won", True)
    withdrawn, back = dispute.balance_transactions
    assert (withdrawn.amount, back.amount) == (-2000, 2000)
    assert (back.reporting_category, back.fee) == ("dispute_reversal", 0)
    assert told(v1)[-3:] == [
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]
    assert charge_of(v1, intent).disputed
    assert v1.refunds.create({"payment_intent": intent.id}).amount == 2000


def test_losing_evidence_loses_and_brings_nothing_back(v1: Any, sandbox: Sandbox) -> None:
    intent = pay_intent(v1, DISPUTE)
    submit(v1, dispute_of(v1, intent), "losing_evidence")
    advance(sandbox.base_url, 10)
    dispute = dispute_of(v1, intent)
    assert (dispute.status, dispute.is_charge_refundable) == ("lost", False)
    assert len(dispute.balance_transactions) == 1
    assert told(v1)[-2:] == ["charge.dispute.updated", "charge.dispute.closed"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_disputed"


def test_other_evidence_waits_for_the_bank(v1: Any, sandbox: Sandbox) -> None:
    dispute = dispute_of(v1, pay_intent(v1, DISPUTE))
    submit(v1, dispute, "They have it, here is the tracking number.")
    advance(sandbox.base_url, 30 * DAY)
    assert v1.disputes.retrieve(dispute.id).status == "under_review"
    control_client.decide_dispute(sandbox.base_url, dispute.id, "won")
    assert v1.disputes.retrieve(dispute.id).status == "won"
    with pytest.raises(SandboxError, match="already closed"):
        control_client.decide_dispute(sandbox.base_url, dispute.id, "lost")


def test_draft_is_kept_and_sent_later(v1: Any) -> None:
    dispute = dispute_of(v1, pay_intent(v1, DISPUTE))
    draft = v1.disputes.update(
        dispute.id,
        {"evidence": {"customer_name": "Bo", "service_date": "1 May"}, "submit": False},
    )
    assert (draft.status, draft.evidence_details.submission_count) == ("needs_response", 0)
    assert (draft.evidence.customer_name, draft.evidence_details.has_evidence) == ("Bo", True)
    assert draft.evidence_details.submission_method == "not_submitted"
    v1.disputes.update(dispute.id, {"evidence": {"service_date": ""}, "submit": False})
    sent = v1.disputes.update(dispute.id, {"submit": True})
    assert (sent.status, sent.evidence_details.submission_count) == ("under_review", 1)
    assert (sent.evidence.customer_name, sent.evidence.service_date) == ("Bo", None)
    assert sent.evidence_details.submission_method == "manual"
    with pytest.raises(stripe.InvalidRequestError, match="no longer be changed"):
        submit(v1, sent, "And another thing.")


def test_labels_alone_submit_nothing(v1: Any) -> None:
    dispute = dispute_of(v1, pay_intent(v1, DISPUTE))
    changed = v1.disputes.update(dispute.id, {"metadata": {"order": "6735"}})
    assert (changed.status, changed.metadata.to_dict()) == ("needs_response", {"order": "6735"})
    (event,) = v1.events.list({"type": "charge.dispute.updated"}).data
    assert event.data.previous_attributes.to_dict() == {"metadata": {"order": None}}
    v1.disputes.update(dispute.id, {"metadata": {"order": "6735"}})
    assert told(v1).count("charge.dispute.updated") == 1


def test_dispute_that_is_given_up_is_lost_for_good(v1: Any) -> None:
    dispute = v1.disputes.close(dispute_of(v1, pay_intent(v1, DISPUTE)).id)
    assert dispute.status == "lost"
    assert told(v1)[-1] == "charge.dispute.closed"
    for again in (v1.disputes.close, lambda one: submit(v1, dispute, "winning_evidence")):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            again(dispute.id)
        assert caught.value.user_message == "This dispute is already closed"
        assert (caught.value.http_status, caught.value.code) == (400, None)


def test_silence_loses_when_the_time_is_over(v1: Any, sandbox: Sandbox) -> None:
    silent = dispute_of(v1, pay_intent(v1, DISPUTE))
    answered = submit(v1, dispute_of(v1, pay_intent(v1, DISPUTE)), "They have it.")
    advance(sandbox.base_url, 7 * DAY)
    assert v1.disputes.retrieve(silent.id).status == "needs_response"
    advance(sandbox.base_url, 2 * DAY)
    silent = v1.disputes.retrieve(silent.id)
    assert (silent.status, silent.evidence_details.past_due) == ("lost", True)
    assert v1.disputes.retrieve(answered.id).status == "under_review"


def test_inquiry_takes_nothing_and_allows_refunds(v1: Any) -> None:
    intent = pay_intent(v1, INQUIRY)
    dispute = dispute_of(v1, intent)
    assert (dispute.status, dispute.is_charge_refundable) == ("warning_needs_response", True)
    assert dispute.payment_method_details.card.case_type == "inquiry"
    assert dispute.balance_transactions == []
    assert "charge.dispute.funds_withdrawn" not in told(v1)
    assert v1.refunds.create({"payment_intent": intent.id, "amount": 500}).status == "succeeded"
    assert v1.disputes.close(dispute.id).status == "warning_closed"
    assert told(v1)[-1] == "charge.dispute.closed"


@pytest.mark.parametrize(
    ("text", "wait_days", "status"),
    [
        ("winning_evidence", 1, "warning_closed"),
        ("losing_evidence", 1, "warning_closed"),
        ("Here is what was bought.", 100, "warning_under_review"),
        ("Here is what was bought.", 121, "warning_closed"),
        (None, 7, "warning_needs_response"),
        (None, 9, "warning_closed"),
    ],
)
def test_inquiry_ends_closed(
    v1: Any, sandbox: Sandbox, text: str | None, wait_days: int, status: str
) -> None:
    dispute = dispute_of(v1, pay_intent(v1, INQUIRY))
    if text is not None:
        assert submit(v1, dispute, text).status == "warning_under_review"
    advance(sandbox.base_url, wait_days * DAY)
    dispute = v1.disputes.retrieve(dispute.id)
    assert (dispute.status, dispute.balance_transactions) == (status, [])
    assert dispute.is_charge_refundable


def test_escalated_inquiry_takes_all_and_undoes_what_was_given_back(
    v1: Any, sandbox: Sandbox
) -> None:
    intent = pay_intent(v1, INQUIRY)
    given = v1.refunds.create({"payment_intent": intent.id, "amount": 700})
    submit(v1, dispute_of(v1, intent), "escalate_inquiry_evidence")
    advance(sandbox.base_url, 10)
    dispute = dispute_of(v1, intent)
    assert (dispute.status, dispute.is_charge_refundable) == ("needs_response", False)
    (entry,) = dispute.balance_transactions
    assert entry.amount == -2000
    given = v1.refunds.retrieve(given.id)
    assert (given.status, given.failure_reason) == ("failed", "charge_for_pending_refund_disputed")
    assert charge_of(v1, intent).amount_refunded == 0
    assert told(v1)[-5:] == [
        "refund.updated",
        "charge.refund.updated",
        "refund.failed",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
    ]
    submit(v1, dispute, "winning_evidence")
    advance(sandbox.base_url, 10)
    assert dispute_of(v1, intent).status == "won"


def test_dispute_takes_what_refunds_have_left(v1: Any, sandbox: Sandbox) -> None:
    intent = pay_intent(v1)
    v1.refunds.create({"payment_intent": intent.id, "amount": 1200})
    with pytest.raises(SandboxError, match="at most"):
        control_client.dispute(sandbox.base_url, intent.latest_charge, amount_minor=801)
    made = control_client.dispute(sandbox.base_url, intent.latest_charge, reason="duplicate")
    assert (made["amount"], made["reason"]) == (800, "duplicate")
    with pytest.raises(SandboxError, match="disputed already"):
        control_client.dispute(sandbox.base_url, intent.latest_charge)


def test_refund_under_way_fails_when_the_bank_takes_the_payment(v1: Any, sandbox: Sandbox) -> None:
    intent = pay_intent(v1, card(v1, "4000000000007726").id)
    given = v1.refunds.create({"payment_intent": intent.id, "amount": 500})
    assert given.status == "pending"
    made = control_client.dispute(sandbox.base_url, intent.latest_charge)
    assert made["amount"] == 2000
    advance(sandbox.base_url, 60)
    assert v1.refunds.retrieve(given.id).status == "failed"
    assert charge_of(v1, intent).amount_refunded == 0


def test_part_of_a_payment_is_disputed_and_the_rest_is_free_after_it_is_won(
    v1: Any, sandbox: Sandbox
) -> None:
    intent = pay_intent(v1)
    made = control_client.dispute(sandbox.base_url, intent.latest_charge, amount_minor=300)
    control_client.decide_dispute(sandbox.base_url, made["id"], "won")
    again = control_client.dispute(sandbox.base_url, intent.latest_charge, inquiry=True)
    assert (again["amount"], again["status"]) == (2000, "warning_needs_response")
    ids = [one.id for one in v1.disputes.list({"charge": intent.latest_charge}).data]
    assert ids == [again["id"], made["id"]]


def test_only_money_that_was_taken_can_be_disputed(v1: Any, sandbox: Sandbox) -> None:
    held = pay_intent(v1, capture_method="manual")
    with pytest.raises(SandboxError, match="nothing of it was taken"):
        control_client.dispute(sandbox.base_url, held.latest_charge)
    given = pay_intent(v1)
    v1.refunds.create({"payment_intent": given.id})
    with pytest.raises(SandboxError, match="given back"):
        control_client.dispute(sandbox.base_url, given.latest_charge)
    with pytest.raises(SandboxError, match="No such charge"):
        control_client.dispute(sandbox.base_url, "ch_none")
    with pytest.raises(SandboxError, match="`reason` is one of"):
        control_client.dispute(sandbox.base_url, given.latest_charge, reason="mood")


def test_held_payment_of_a_disputing_card_is_disputed_on_capture(v1: Any) -> None:
    intent = pay_intent(v1, DISPUTE, capture_method="manual")
    assert v1.disputes.list({"payment_intent": intent.id}).data == []
    v1.payment_intents.capture(intent.id, {"amount_to_capture": 1500})
    assert dispute_of(v1, intent).amount == 1500
    assert told(v1)[-4:] == [
        "charge.captured",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "payment_intent.succeeded",
    ]


def test_early_warning_takes_nothing_and_is_settled_by_a_refund(v1: Any) -> None:
    intent = pay_intent(v1, card(v1, "4000000000005423").id)
    (warning,) = v1.radar.early_fraud_warnings.list({"charge": intent.latest_charge}).data
    assert (warning.actionable, warning.payment_intent) == (True, intent.id)
    assert "radar.early_fraud_warning.created" in told(v1)
    assert v1.disputes.list({"payment_intent": intent.id}).data == []
    v1.refunds.create({"payment_intent": intent.id})
    assert not v1.radar.early_fraud_warnings.retrieve(warning.id).actionable


def test_wrong_evidence_is_refused_in_stripes_words(v1: Any) -> None:
    dispute = dispute_of(v1, pay_intent(v1, DISPUTE))
    wrong: list[tuple[dict[str, Any], str | None, str]] = [
        ({"mood": "bad"}, "parameter_unknown", "evidence[mood]"),
        ({"receipt": "file_none"}, "resource_missing", "evidence[receipt]"),
        ({"customer_name": "x" * 20_001}, None, "evidence[customer_name]"),
    ]
    for evidence, code, param in wrong:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            v1.disputes.update(dispute.id, {"evidence": evidence})
        assert (caught.value.code, caught.value.param) == (code, param)
    with pytest.raises(stripe.InvalidRequestError) as missing:
        v1.disputes.retrieve("du_none")
    assert (missing.value.http_status, missing.value.param) == (404, "dispute")
    assert v1.disputes.retrieve(dispute.id).evidence_details.submission_count == 0


def test_dispute_shows_its_charge_and_intent_on_request(v1: Any) -> None:
    intent = pay_intent(v1, DISPUTE)
    (dispute,) = v1.disputes.list(
        {"charge": intent.latest_charge, "expand": ["data.charge", "data.payment_intent"]}
    ).data
    assert (dispute.charge.id, dispute.payment_intent.id) == (intent.latest_charge, intent.id)


def test_dispute_arrives_as_signed_webhooks_in_order(v1: Any, receiver: Receiver) -> None:
    v1.disputes.close(dispute_of(v1, pay_intent(v1, DISPUTE)).id)
    receiver.wait_for_type("charge.dispute.closed")
    assert [kind for kind in receiver.types if kind.startswith("charge.dispute")] == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]
