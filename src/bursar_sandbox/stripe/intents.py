"""What happens to a payment intent: confirmed, declined, settled, captured, canceled.

Owns the intent's object and its status. Knows nothing of parameters or routes, so that the API and
the hosted page bring about the same things in the same way.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import banks, cards, charging, events, methods, records
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id, random_text

CONFIRMABLE = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
CANCELABLE = CONFIRMABLE | {"requires_capture"}


def blank(tx: Transaction, amount: int, currency: str) -> dict[str, Any]:
    """A new intent, not stored yet."""
    intent_id = new_id("pi")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{random_text(25)}",
        "confirmation_method": "automatic",
        "created": tx.now,
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_record": None,
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


def options_for(kinds: list[str]) -> dict[str, Any]:
    """What an intent shows under `payment_method_options` when nothing was asked for."""
    options: dict[str, Any] = {}
    if "card" in kinds:
        options["card"] = {
            "installments": None,
            "mandate_options": None,
            "network": None,
            "request_three_d_secure": "automatic",
        }
    if "sepa_debit" in kinds:
        options["sepa_debit"] = {}
    if "us_bank_account" in kinds:
        options["us_bank_account"] = {"verification_method": "automatic"}
    return options


def add(tx: Transaction, intent: dict[str, Any], private: dict[str, Any] | None = None) -> None:
    """Store a new intent."""
    records.insert(tx, intent, private)
    events.emit(tx, "payment_intent.created", intent)


def confirm(
    tx: Transaction,
    intent: dict[str, Any],
    method: dict[str, Any],
    *,
    return_url: str | None = None,
    off_session: bool = False,
) -> Decline | None:
    """Try to pay with the method; the decline, when the bank refuses. The caller shows it.

    Raises StripeError when intent and method don't go together.
    """
    _check(tx, intent, method)
    intent.update(payment_method=method["id"], next_action=None)
    if method["type"] in banks.CURRENCIES:
        charge = charging.charge_account(tx, intent, method)
        intent.update(status="processing", latest_charge=charge["id"], last_payment_error=None)
        methods.spend(tx, method)
        _save(tx, intent, "processing")
        return None
    if _bank_asks(tx, intent, method, off_session=off_session):
        if off_session:
            reason = cards.NEEDS_AUTHENTICATION
            charge = charging.charge_card(tx, intent, method, decline=reason)
            return decline(tx, intent, method, reason, charge_id=charge["id"])
        _ask_bank(tx, intent, return_url)
        return None
    return _charge(tx, intent, method)


def authenticate(
    tx: Transaction, intent: dict[str, Any], method: dict[str, Any], *, passed: bool
) -> Decline | None:
    """Go on with an intent that waits for the bank: the buyer has confirmed it, or has not."""
    intent["next_action"] = None
    if not passed:
        return decline(tx, intent, method, cards.NOT_CONFIRMED, charge_id=None)
    private = {**tx.private(method["id"]), "authenticated": True}
    records.replace_private(tx, method["id"], private)
    return _charge(tx, intent, method, authenticated=True)


def _charge(
    tx: Transaction,
    intent: dict[str, Any],
    method: dict[str, Any],
    *,
    authenticated: bool = False,
) -> Decline | None:
    reason = cards.outcome_of(tx.private(method["id"]).get("number")).decline
    charge = charging.charge_card(tx, intent, method, authenticated=authenticated)
    if reason is not None:
        return decline(tx, intent, method, reason, charge_id=charge["id"])
    _accept(tx, intent, method, charge)
    return None


def _bank_asks(
    tx: Transaction, intent: dict[str, Any], method: dict[str, Any], *, off_session: bool
) -> bool:
    """Whether the card's bank wants to see the buyer before it answers."""
    private = tx.private(method["id"])
    wanted = intent["payment_method_options"].get("card", {}).get("request_three_d_secure")
    when = cards.outcome_of(private.get("number")).authenticates
    return (
        when == "always"
        or (when == "until_set_up" and not (off_session and private.get("authenticated")))
        or (when == "when_present" and not off_session)
        or (when == "when_asked" and wanted in ("any", "challenge"))
    )


def _check(tx: Transaction, intent: dict[str, Any], method: dict[str, Any]) -> None:
    if method["type"] not in intent["payment_method_types"]:
        raise StripeError(
            f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent. "
            "Please attach a PaymentMethod of one of the following types: "
            f"{', '.join(intent['payment_method_types'])}.",
            code="payment_intent_incompatible_payment_method",
            param="payment_method",
        )
    only = banks.CURRENCIES.get(method["type"])
    if only not in (None, intent["currency"]):
        raise StripeError(
            f"The currency provided is invalid for the payment method type {method['type']}. It "
            f"accepts {only} only.",
            code="payment_method_currency_mismatch",
            param="currency",
        )
    if method["customer"] is not None and method["customer"] != intent["customer"]:
        raise StripeError(
            f"The provided PaymentMethod belongs to the customer {method['customer']}. Please "
            "include the Customer in the `customer` parameter on the PaymentIntent.",
            code="payment_intent_invalid_parameter",
            param="payment_method",
        )
    methods.check_not_spent(tx, method)


def _ask_bank(tx: Transaction, intent: dict[str, Any], return_url: str | None) -> None:
    intent["status"] = "requires_action"
    intent["next_action"] = bank_action(tx, intent["id"], return_url)
    _save(tx, intent, "requires_action")


def bank_action(tx: Transaction, intent_id: str, return_url: str | None) -> dict[str, Any]:
    """The next action of a payment or setup intent whose bank wants to see the buyer."""
    url = f"{tx.base_url}{bank_path(intent_id)}"
    if return_url is None:
        hint = {"stripe_js": url, "type": "three_d_secure_redirect"}
        return {"type": "use_stripe_sdk", "use_stripe_sdk": hint}
    redirect = {"return_url": return_url, "url": url}
    return {"redirect_to_url": redirect, "type": "redirect_to_url"}


def bank_path(intent_id: str) -> str:
    """Where the buyer confirms the payment: the path of the bank's page."""
    return f"/c/bank/{intent_id}"


def _accept(
    tx: Transaction, intent: dict[str, Any], method: dict[str, Any], charge: dict[str, Any]
) -> None:
    intent.update(latest_charge=charge["id"], last_payment_error=None)
    if intent["setup_future_usage"] and intent["customer"] and method["customer"] is None:
        methods.keep(tx, method, intent["customer"])
    methods.spend(tx, method)
    if charge["captured"]:
        intent.update(status="succeeded", amount_received=intent["amount"])
        _save(tx, intent, "succeeded")
    else:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        _save(tx, intent, "amount_capturable_updated")


def decline(
    tx: Transaction,
    intent: dict[str, Any],
    method: dict[str, Any],
    reason: Decline,
    *,
    charge_id: str | None,
) -> Decline:
    """Note that the method was refused; the intent waits for another one."""
    error: dict[str, Any] = {
        "code": reason.code,
        "doc_url": f"https://stripe.com/docs/error-codes/{reason.code.replace('_', '-')}",
        "message": reason.message,
        "payment_method": method,
        "type": "card_error" if method["type"] == "card" else "invalid_request_error",
    }
    if charge_id is not None:
        error["charge"] = charge_id
    if reason.decline_code is not None:
        error["decline_code"] = reason.decline_code
    if reason.param is not None:
        error["param"] = reason.param
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_payment_error=error,
        latest_charge=charge_id or intent["latest_charge"],
    )
    _save(tx, intent, "payment_failed")
    return reason


def settle(tx: Transaction, intent: dict[str, Any], *, succeeds: bool) -> None:
    """End a payment that was processing."""
    charge = records.get(tx, "charge", intent["latest_charge"])
    charging.settle(tx, charge, succeeds=succeeds)
    if succeeds:
        intent.update(status="succeeded", amount_received=intent["amount"])
        _save(tx, intent, "succeeded")
        return
    method = records.get(tx, "payment_method", intent["payment_method"])
    decline(tx, intent, method, charging.BANK_DECLINE, charge_id=charge["id"])


def capture(tx: Transaction, intent: dict[str, Any], amount: int) -> None:
    """Take `amount`, in minor units, of what is held; the rest is released."""
    charging.capture(tx, records.get(tx, "charge", intent["latest_charge"]), amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    _save(tx, intent, "succeeded")


def cancel(tx: Transaction, intent: dict[str, Any], reason: str | None) -> None:
    """Give the payment up; what is held is let go, of which the charge shows nothing."""
    intent.update(
        status="canceled",
        amount_capturable=0,
        canceled_at=tx.now,
        cancellation_reason=reason,
        next_action=None,
    )
    _save(tx, intent, "canceled")


def _save(tx: Transaction, intent: dict[str, Any], what: str) -> None:
    records.replace(tx, intent)
    events.emit(tx, f"payment_intent.{what}", intent)
