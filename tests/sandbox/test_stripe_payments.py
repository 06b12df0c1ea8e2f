"""Payment intents, charges and balance transactions, through the official client."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from stripe_shop import iban, pay_intent


def test_payment_succeeds_with_charge_and_fee(v1: Any) -> None:
    intent = pay_intent(
        v1, metadata={"order": "7"}, expand=["latest_charge.balance_transaction", "payment_method"]
    )
    charge = intent.latest_charge
    assert (intent.status, intent.amount_received) == ("succeeded", 2000)
    assert charge.paid
    assert charge.captured
    assert charge.metadata.to_dict() == {"order": "7"}
    assert charge.payment_method_details.card.last4 == "4242"
    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (88, 1912)
    assert intent.payment_method.type == "card"
    listed = v1.charges.list({"payment_intent": intent.id})
    assert [one.id for one in listed.data] == [charge.id]
    assert v1.balance_transactions.retrieve(charge.balance_transaction.id).source == charge.id


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
def test_declined_payment_says_why_and_keeps_the_intent(
    v1: Any, method: str, code: str, decline_code: str
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        pay_intent(v1, method)
    error = caught.value.error
    assert (caught.value.http_status, error.code, error.decline_code) == (402, code, decline_code)
    assert error.payment_intent.status == "requires_payment_method"
    found = v1.payment_intents.retrieve(error.payment_intent.id)
    assert found.last_payment_error.code == code
    assert found.last_payment_error.charge == error.charge
    assert found.latest_charge == error.charge
    charge = v1.charges.retrieve(error.charge)
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, code)
    assert charge.balance_transaction is None


def test_declined_intent_is_paid_by_the_next_card(v1: Any) -> None:
    with pytest.raises(stripe.CardError) as caught:
        pay_intent(v1, "pm_card_chargeDeclined")
    intent = v1.payment_intents.confirm(
        caught.value.error.payment_intent.id,
        {"payment_method": "pm_card_visa", "return_url": "https://shop.example"},
    )
    assert intent.status == "succeeded"
    assert intent.last_payment_error is None
    charges = v1.charges.list({"payment_intent": intent.id}).data
    assert [charge.status for charge in charges] == ["succeeded", "failed"]


def test_intent_goes_from_no_method_to_confirmed_in_steps(v1: Any) -> None:
    intent = v1.payment_intents.create({"amount": 700, "currency": "usd"})
    assert intent.status == "requires_payment_method"
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.confirm(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    intent = v1.payment_intents.update(intent.id, {"payment_method": "pm_card_visa", "amount": 800})
    assert (intent.status, intent.amount) == ("requires_confirmation", 800)
    intent = v1.payment_intents.confirm(intent.id, {"return_url": "https://shop.example"})
    assert (intent.status, intent.amount_received) == ("succeeded", 800)
    with pytest.raises(stripe.InvalidRequestError) as again:
        v1.payment_intents.confirm(intent.id, {"return_url": "https://shop.example"})
    assert again.value.error.payment_intent.id == intent.id


def test_redirects_need_a_return_url_unless_types_are_named(v1: Any) -> None:
    params = {
        "amount": 700,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.create(params)
    assert caught.value.param == "return_url"
    never = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
    assert v1.payment_intents.create({**params, **never}).status == "succeeded"
    named = {"payment_method_types": ["card"]}
    assert v1.payment_intents.create({**params, **named}).status == "succeeded"


def test_held_payment_is_captured_in_part(v1: Any) -> None:
    intent = pay_intent(v1, capture_method="manual")
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 2000)
    assert intent.amount_received == 0
    held = v1.charges.retrieve(intent.latest_charge)
    assert (held.captured, held.paid, held.balance_transaction) == (False, True, None)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.capture(intent.id, {"amount_to_capture": 2001})
    assert caught.value.code == "amount_too_large"
    intent = v1.payment_intents.capture(
        intent.id, {"amount_to_capture": 1200, "expand": ["latest_charge"]}
    )
    assert (intent.status, intent.amount_received, intent.amount_capturable) == (
        "succeeded",
        1200,
        0,
    )
    charge = intent.latest_charge
    assert (charge.amount_captured, charge.amount_refunded, charge.refunded) == (1200, 0, False)
    with pytest.raises(stripe.InvalidRequestError):
        v1.payment_intents.capture(intent.id)


def test_held_payment_is_released_when_canceled(v1: Any) -> None:
    intent = pay_intent(v1, capture_method="manual")
    intent = v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    assert (intent.status, intent.cancellation_reason) == ("canceled", "abandoned")
    assert intent.amount_capturable == 0
    charge = v1.charges.retrieve(intent.latest_charge)
    assert (charge.captured, charge.amount_refunded, charge.refunded) == (False, 0, False)
    with pytest.raises(stripe.InvalidRequestError):
        v1.payment_intents.cancel(intent.id)


def test_paid_intent_can_not_be_canceled_or_changed(v1: Any) -> None:
    intent = pay_intent(v1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.cancel(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError):
        v1.payment_intents.update(intent.id, {"amount": 3000})
    updated = v1.payment_intents.update(intent.id, {"metadata": {"a": "b"}})
    assert updated.metadata.to_dict() == {"a": "b"}


def test_card_that_needs_the_buyer_asks_for_action(v1: Any) -> None:
    intent = pay_intent(v1, "pm_card_authenticationRequired")
    assert intent.status == "requires_action"
    assert intent.next_action.type == "redirect_to_url"
    assert intent.next_action.redirect_to_url.return_url == "https://shop.example/back"
    with pytest.raises(stripe.CardError) as caught:
        pay_intent(v1, "pm_card_authenticationRequired", off_session=True)
    assert caught.value.code == "authentication_required"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 49}, "amount_too_small"),
        ({"amount": 0}, "parameter_invalid_integer"),
        ({"amount": 100_000_000}, "amount_too_large"),
        ({"amount": "ten"}, "parameter_invalid_integer"),
        ({"currency": "zzz"}, None),
        ({"customer": "cus_none"}, "resource_missing"),
        ({"payment_method": "pm_none"}, "resource_missing"),
    ],
)
def test_wrong_payment_is_refused_before_anything_happens(
    v1: Any, change: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_intents.create({"amount": 2000, "currency": "usd", **change})
    assert (caught.value.http_status, caught.value.code) == (400, code)


def test_method_without_a_customer_serves_once(v1: Any) -> None:
    method = v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    pay_intent(v1, method.id)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        pay_intent(v1, method.id)
    assert caught.value.code == "payment_method_unexpected_state"


def test_method_saved_for_later_pays_again(v1: Any) -> None:
    customer = v1.customers.create({}).id
    intent = pay_intent(v1, customer=customer, setup_future_usage="off_session")
    again = pay_intent(v1, intent.payment_method, customer=customer, off_session=True)
    assert again.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError):
        pay_intent(v1, intent.payment_method)


def test_type_that_the_intent_does_not_take_is_refused(v1: Any) -> None:
    method = iban(v1, "DE89370400440532013000")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        pay_intent(v1, method.id, payment_method_types=["card"])
    assert caught.value.code == "payment_intent_incompatible_payment_method"


def test_charge_can_be_described_later(v1: Any) -> None:
    charge = v1.charges.update(
        pay_intent(v1).latest_charge, {"description": "Order 7", "metadata": {"a": "1"}}
    )
    assert (charge.description, charge.metadata.to_dict()) == ("Order 7", {"a": "1"})


def test_unknown_but_valid_card_number_is_declined_as_a_live_card(v1: Any) -> None:
    with pytest.raises(stripe.CardError) as caught:
        v1.payment_intents.create(
            {
                "amount": 500,
                "currency": "usd",
                "confirm": True,
                "payment_method_types": ["card"],
                "payment_method_data": {
                    "type": "card",
                    "card": {
                        "number": "4012888888881881",
                        "exp_month": 1,
                        "exp_year": 2040,
                        "cvc": "123",
                    },
                },
            }
        )
    assert caught.value.error.decline_code == "test_mode_live_card"
