"""Refunds: what can be given back, what it changes, and what comes of it later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import advance
from stripe_receiver import Receiver
from stripe_shop import card, confirm_page, iban, open_session, pay_intent

Start = Callable[..., Sandbox]
ClientFor = Callable[[Sandbox], Any]


def refund(v1: Any, intent: Any, **options: Any) -> Any:
    """A refund of a payment intent."""
    return v1.refunds.create({"payment_intent": intent.id, **options})


def charge_of(v1: Any, intent: Any) -> Any:
    """The intent's charge as it is now, with its refunds."""
    return v1.charges.retrieve(
        v1.payment_intents.retrieve(intent.id).latest_charge, {"expand": ["refunds"]}
    )


def events_of(v1: Any, object_id: str) -> list[str]:
    """The types of the events about an object, oldest first."""
    latest = v1.events.list({"limit": 100}).data
    return [event.type for event in reversed(latest) if event.data.object["id"] == object_id]


def test_whole_refund_gives_everything_back(v1: Any) -> None:
    intent = pay_intent(v1)
    given = refund(v1, intent, reason="requested_by_customer", metadata={"case": "7"})
    assert (given.amount, given.currency, given.status) == (2000, "usd", "succeeded")
    assert (given.charge, given.payment_intent) == (intent.latest_charge, intent.id)
    assert (given.reason, given.metadata.to_dict()) == ("requested_by_customer", {"case": "7"})
    charge = charge_of(v1, intent)
    assert (charge.amount_refunded, charge.refunded, charge.status) == (2000, True, "succeeded")
    assert [one.id for one in charge.refunds.data] == [given.id]
    assert v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_refund_takes_its_amount_from_the_balance_without_a_fee(v1: Any) -> None:
    given = refund(v1, pay_intent(v1), amount=700, expand=["balance_transaction.source"])
    entry = given.balance_transaction
    assert (entry.type, entry.amount, entry.fee, entry.net) == ("refund", -700, 0, -700)
    assert entry.source.id == given.id


def test_partial_refunds_add_up_and_end_at_the_charge(v1: Any) -> None:
    intent = pay_intent(v1)
    assert refund(v1, intent, amount=500).amount == 500
    charge = charge_of(v1, intent)
    assert (charge.amount_refunded, charge.refunded) == (500, False)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        refund(v1, intent, amount=1501)
    assert (caught.value.http_status, caught.value.param) == (400, "amount")
    assert "greater than unrefunded amount on charge ($15.00" in str(caught.value)
    assert refund(v1, intent).amount == 1500
    assert charge_of(v1, intent).refunded
    with pytest.raises(stripe.InvalidRequestError) as again:
        refund(v1, intent, amount=1)
    assert (again.value.http_status, again.value.code) == (400, "charge_already_refunded")
    assert charge_of(v1, intent).amount_refunded == 2000


def test_more_than_the_charge_is_refused_and_leaves_no_trace(v1: Any) -> None:
    intent = pay_intent(v1)
    for amount in (2001, 0, -5):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            refund(v1, intent, amount=amount)
        assert caught.value.param == "amount"
    charge = charge_of(v1, intent)
    assert (charge.amount_refunded, charge.refunds.data) == (0, [])
    assert "charge.refunded" not in events_of(v1, charge.id)


def test_what_a_partial_capture_let_go_is_not_given_back(v1: Any) -> None:
    intent = pay_intent(v1, capture_method="manual")
    with pytest.raises(stripe.InvalidRequestError):
        refund(v1, intent)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.refunds.create({"charge": intent.latest_charge})
    assert caught.value.code == "charge_not_refundable"
    v1.payment_intents.capture(intent.id, {"amount_to_capture": 1200})
    with pytest.raises(stripe.InvalidRequestError):
        refund(v1, intent, amount=1201)
    assert refund(v1, intent).amount == 1200


def test_refund_of_an_unpaid_intent_is_refused(v1: Any) -> None:
    intent = v1.payment_intents.create({"amount": 900, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        refund(v1, intent)
    assert "does not have a successful charge" in str(caught.value)
    with pytest.raises(stripe.InvalidRequestError) as nothing:
        v1.refunds.create({"amount": 5})
    assert nothing.value.code == "parameter_missing"
    for name in ("payment_intent", "charge"):
        with pytest.raises(stripe.InvalidRequestError) as missing:
            v1.refunds.create({name: "no_such"})
        assert (missing.value.code, missing.value.param) == ("resource_missing", name)


def test_charge_and_intent_must_belong_together(v1: Any) -> None:
    one, other = pay_intent(v1), pay_intent(v1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        refund(v1, one, charge=other.latest_charge)
    assert caught.value.param == "charge"
    assert refund(v1, one, charge=one.latest_charge).charge == one.latest_charge


def test_refund_of_a_charge_names_its_intent(v1: Any) -> None:
    intent = pay_intent(v1)
    given = v1.refunds.create({"charge": intent.latest_charge, "reason": "fraudulent"})
    assert given.payment_intent == intent.id
    assert charge_of(v1, intent).fraud_details.user_report == "fraudulent"


def test_refunds_are_listed_by_charge_and_by_intent(v1: Any, client: Any) -> None:
    intent, other = pay_intent(v1), pay_intent(v1)
    ids = [refund(v1, intent, amount=100).id for _ in range(3)]
    refund(v1, other)
    by_intent = v1.refunds.list({"payment_intent": intent.id, "limit": 2})
    assert [one.id for one in by_intent.data] == ids[:0:-1]
    assert by_intent.has_more
    by_charge = v1.refunds.list({"charge": intent.latest_charge})
    assert [one.id for one in by_charge.auto_paging_iter()] == ids[::-1]
    under = client.raw_request("get", charge_of(v1, intent).refunds.url)
    assert [one["id"] for one in client.deserialize(under, api_mode="V1").data] == ids[::-1]


def test_refund_is_told_in_three_events(v1: Any) -> None:
    intent = pay_intent(v1)
    given = refund(v1, intent, amount=300)
    v1.refunds.update(given.id, {"metadata": {"order": "6735"}})
    assert events_of(v1, given.id) == ["refund.created", "refund.updated", "charge.refund.updated"]
    (told,) = v1.events.list({"type": "charge.refunded", "limit": 1}).data
    assert told.data.object["amount_refunded"] == 300
    assert told.data.previous_attributes.to_dict() == {"amount_refunded": 0}
    assert v1.refunds.retrieve(given.id).metadata.to_dict() == {"order": "6735"}
    v1.refunds.update(given.id, {"metadata": {"order": "6735"}})
    assert events_of(v1, given.id).count("refund.updated") == 1


def test_refund_with_the_same_key_happens_once(v1: Any) -> None:
    intent = pay_intent(v1)
    params = {"payment_intent": intent.id, "amount": 100}
    first, second = (
        v1.refunds.create(params, {"idempotency_key": f"once-{intent.id}"}) for _ in range(2)
    )
    assert first.id == second.id
    assert charge_of(v1, intent).amount_refunded == 100


def test_no_refund_of_a_card_can_be_canceled(v1: Any) -> None:
    given = refund(v1, pay_intent(v1))
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.refunds.cancel(given.id)
    assert "status of succeeded" in str(caught.value)
    with pytest.raises(stripe.InvalidRequestError) as missing:
        v1.refunds.retrieve("re_none")
    assert missing.value.http_status == 404


def test_pending_refund_succeeds_later(start: Start, client_for: ClientFor) -> None:
    sandbox = start()
    v1 = client_for(sandbox).v1
    intent = pay_intent(v1, card(v1, "4000000000007726").id)
    given = refund(v1, intent)
    assert (given.status, given.pending_reason) == ("pending", "processing")
    assert charge_of(v1, intent).refunded
    advance(sandbox.base_url, 60)
    given = v1.refunds.retrieve(given.id)
    assert given.status == "succeeded"
    assert "pending_reason" not in given
    assert events_of(v1, given.id) == ["refund.created", "refund.updated", "charge.refund.updated"]
    (told,) = v1.events.list({"type": "refund.updated"}).data
    assert told.data.previous_attributes.status == "pending"


def test_failed_refund_comes_back_and_can_be_tried_again(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    sandbox = start(webhook=(receiver.url, receiver.secret))
    v1 = client_for(sandbox).v1
    intent = pay_intent(v1, card(v1, "4000000000005126").id)
    given = refund(v1, intent, amount=1500)
    assert given.status == "succeeded"
    advance(sandbox.base_url, 60)
    given = v1.refunds.retrieve(given.id, {"expand": ["failure_balance_transaction"]})
    assert (given.status, given.failure_reason) == ("failed", "expired_or_canceled_card")
    back = given.failure_balance_transaction
    assert (back.type, back.amount) == ("refund_failure", 1500)
    charge = charge_of(v1, intent)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert receiver.wait_for_type("refund.failed").data.object["id"] == given.id
    assert receiver.types[-3:] == ["refund.updated", "charge.refund.updated", "refund.failed"]
    assert refund(v1, intent).amount == 2000


def test_refund_of_a_bank_debit_travels_for_a_while(start: Start, client_for: ClientFor) -> None:
    sandbox = start()
    client = client_for(sandbox)
    v1 = client.v1
    session = open_session(v1, unit_currency="eur", payment_method_types=["sepa_debit"])
    confirm_page(client, session, iban(v1, "AT611904300234573201"))
    intent_id = v1.checkout.sessions.retrieve(session.id).payment_intent
    with pytest.raises(stripe.InvalidRequestError):
        v1.refunds.create({"payment_intent": intent_id})
    advance(sandbox.base_url, 60)
    given = v1.refunds.create({"payment_intent": intent_id, "expand": ["balance_transaction"]})
    assert (given.status, given.balance_transaction.type) == ("pending", "payment_refund")
    advance(sandbox.base_url, 60)
    assert v1.refunds.retrieve(given.id).status == "succeeded"


def test_what_the_sandbox_does_not_play_is_said(v1: Any, shared_sandbox: Sandbox) -> None:
    intent = pay_intent(v1)
    for extra in ({"reverse_transfer": "true"}, {"origin": "customer_balance"}):
        answer = httpx.post(
            f"{shared_sandbox.base_url}/v1/refunds",
            data={"payment_intent": intent.id, **extra},
            auth=("sk_test_bursar_tests", ""),
        )
        assert answer.status_code == 400
        assert "does not play" in answer.json()["error"]["message"]
    assert charge_of(v1, intent).amount_refunded == 0
