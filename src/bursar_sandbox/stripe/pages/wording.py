"""What a buyer reads when a card is refused.

Owns the sentences for declines and the field each one belongs to. It never reveals more than a
shop would: a bank's reason such as "stolen" stays in the events, the buyer reads "no reason".
"""

from __future__ import annotations

from dataclasses import dataclass

from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages.orders import Order


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decline in words. `field` is the form field to mend, None when no field is at fault."""

    message: str
    field: str | None = None
    field_message: str = ""


_NO_REASON = Refusal(
    "Your bank declined the payment and gave no reason. You were not charged. "
    "Use another card, or ask your bank."
)

_WRONG_CODE = Refusal(
    "The security code is not right. You were not charged. Check it against your card.",
    "security_code",
    "The security code is not right. Check the digits on your card",
)

_WRONG_NUMBER = Refusal(
    "The card number is not right. You were not charged. Check it against your card.",
    "card_number",
    "The card number is not right. Check it against your card",
)

_WRONG_EXPIRY = Refusal(
    "The expiry date is not right. You were not charged. Check it against your card.",
    "expiry",
    "The expiry date is not right. Check it against your card",
)

_NOT_CONFIRMED = Refusal(
    "Your bank did not confirm the payment. You were not charged. Try again or use another card."
)

_REFUSALS = {
    "insufficient_funds": Refusal(
        "Your card does not have enough money for this payment. You were not charged. "
        "Use another card."
    ),
    "expired_card": Refusal(
        "This card has expired. You were not charged. Use another card.",
        "expiry",
        "This card has expired. Use another card",
    ),
    "incorrect_cvc": _WRONG_CODE,
    "invalid_cvc": _WRONG_CODE,
    "incorrect_number": _WRONG_NUMBER,
    "invalid_number": _WRONG_NUMBER,
    "invalid_expiry_month": _WRONG_EXPIRY,
    "invalid_expiry_year": _WRONG_EXPIRY,
    "processing_error": Refusal(
        "Your bank could not process the payment. You were not charged. "
        "Wait a minute and try again, or use another card."
    ),
    "test_mode_live_card": Refusal(
        "This is not a test card, and the sandbox takes no other. You were not charged. "
        "Use one of the test cards.",
        "card_number",
        "This is not one of the test cards",
    ),
    "authentication_required": _NOT_CONFIRMED,
    "payment_intent_authentication_failure": _NOT_CONFIRMED,
    "setup_intent_authentication_failure": _NOT_CONFIRMED,
}


def code_problem(error: StripeError) -> str:
    """Why a promotion code is worth nothing, at its field."""
    text = str(error)
    if error.body.get("code") == "resource_missing":
        return "There is no such code. Check the spelling"
    if "used up" in text or "maximum number of times" in text:
        return "This code is used up"
    if error.body.get("code") == "coupon_expired":
        return "This code has expired"
    if error.body.get("code") == "amount_too_small" or "minimum amount" in text:
        return "The order is too small for this code"
    if "prior transactions" in text:
        return "This code is for a first order only"
    return "This code is not for this order"


def changed(withdrawn: str | None, order: Order) -> str:
    """Why the buyer has to look again before anything is charged."""
    now = f"The total is now {order.total}. You were not charged. Check it and press again."
    if withdrawn is not None:
        return f"The discount was used up or has ended. {now}"
    return f"The tax of your country has changed the order. {now}"


def refusal(code: str, decline_code: str | None) -> Refusal:
    """The words for a decline: the bank's own code first, then the card error's code."""
    return _REFUSALS.get(decline_code or "") or _REFUSALS.get(code) or _NO_REASON
