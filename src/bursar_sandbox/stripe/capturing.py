"""What becomes of money that is held: taken whole or in part, given up, or lapsed.

Owns the refusals around it, and telling the session that its payment has come in. `intents` and
`charging` own the objects.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import charging, intents, records
from bursar_sandbox.stripe.errors import StripeError, wrong_state

_NOT_CAPTURED = (
    "This PaymentIntent could not be captured because it has a status of {status}. Only a "
    "PaymentIntent with one of the following statuses may be captured: requires_capture."
)
_CAPTURED_ALREADY = "This PaymentIntent could not be captured because it has already been captured."
_NOT_CANCELED = (
    "You cannot cancel this PaymentIntent because it has a status of {status}. Only a "
    "PaymentIntent with one of the following statuses may be canceled: requires_payment_method, "
    "requires_capture, requires_confirmation, requires_action, processing."
)
_DEBIT_UNDER_WAY = (
    "You cannot cancel this PaymentIntent because it has a status of processing, and its debit is "
    "under way at the bank."
)


def check_held(intent: dict[str, Any]) -> None:
    """Raise StripeError unless money is held for the intent."""
    if intent["status"] == "succeeded":
        raise unexpected(intent, _CAPTURED_ALREADY)
    if intent["status"] != "requires_capture":
        raise unexpected(intent, _NOT_CAPTURED)


def capture(tx: Transaction, intent: dict[str, Any], amount: int | None = None) -> None:
    """Take `amount`, in minor units, of what is held, or all of it; the rest is released.

    Raises StripeError when that is too much or nothing is held.
    """
    check_held(intent)
    held = intent["amount_capturable"]
    if amount is not None and amount > held:
        raise StripeError(
            f"The amount_to_capture ({amount}) is greater than the amount that can be captured "
            f"({held}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    intents.capture(tx, intent, held if amount is None else amount)
    session_id = tx.private(intent["id"]).get("session")
    if session_id is not None:
        session = records.get(tx, "checkout.session", session_id)
        session["payment_status"] = "paid"
        records.replace(tx, session)


def cancel(tx: Transaction, intent: dict[str, Any], reason: str | None) -> None:
    """Give the payment up. Raises StripeError when it is too late for that."""
    if intent["status"] == "processing":
        raise unexpected(intent, _DEBIT_UNDER_WAY)
    if intent["status"] not in intents.CANCELABLE:
        raise unexpected(intent, _NOT_CANCELED)
    intents.cancel(tx, intent, reason)


def lapse(tx: Transaction, intent_id: str) -> None:
    """The bank holds the money no longer, if it still did."""
    intent = records.get(tx, "payment_intent", intent_id)
    if intent["status"] != "requires_capture":
        return
    charge = records.get(tx, "charge", intent["latest_charge"])
    if charge["payment_method_details"]["card"]["capture_before"] > tx.now:
        return
    charging.expire(tx, charge)
    intents.cancel(tx, intent, "expired")


def unexpected(intent: dict[str, Any], message: str) -> StripeError:
    """The refusal of what the intent's status forbids; `{status}` in the message stands for it."""
    return wrong_state(
        message.format(status=intent["status"]),
        "payment_intent_unexpected_state",
        payment_intent=intent,
    )
