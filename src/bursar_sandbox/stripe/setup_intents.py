"""What happens to a setup intent: confirmed, refused, shown to the bank, canceled.

Owns the intent's object, its attempts and its status. It never charges and knows nothing of
parameters or routes, so that the API and the hosted page save a card in the same way.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import cards, events, intents, methods, records, subscription_states
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id, random_text

CONFIRMABLE = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
NOT_CONFIRMED = Decline(
    "setup_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again.",
)
_DETAILS = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding",
            "last4")  # fmt: skip


def blank(tx: Transaction, kinds: list[str]) -> dict[str, Any]:
    """A new intent for payment methods of these types, not stored yet."""
    setup_id = new_id("seti")
    return {
        "id": setup_id,
        "object": "setup_intent",
        "allowed_payment_method_types": None,
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{setup_id}_secret_{random_text(29)}",
        "created": tx.now,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "managed_payments": None,
        "mandate": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": options_for(kinds),
        "payment_method_types": kinds,
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }


def options_for(kinds: list[str]) -> dict[str, Any]:
    """What an intent shows under `payment_method_options` when nothing was asked for."""
    options: dict[str, Any] = {}
    if "card" in kinds:
        options["card"] = {
            "mandate_options": None,
            "network": None,
            "request_three_d_secure": "automatic",
        }
    if "sepa_debit" in kinds:
        options["sepa_debit"] = {}
    return options


def add(tx: Transaction, setup: dict[str, Any], private: dict[str, Any] | None = None) -> None:
    """Store a new intent."""
    records.insert(tx, setup, private)
    events.emit(tx, "setup_intent.created", setup)


def confirm(
    tx: Transaction, setup: dict[str, Any], method: dict[str, Any], *, return_url: str | None = None
) -> Decline | None:
    """Try to save the method; the decline, when the bank refuses. The caller shows it.

    Raises StripeError when intent and method don't go together.
    """
    _check(tx, setup, method)
    setup.update(payment_method=method["id"], next_action=None)
    attempt = _attempt(tx, setup, method)
    setup["latest_attempt"] = attempt["id"]
    if method["type"] == "card" and _bank_asks(tx, setup, method):
        setup["status"] = attempt["status"] = "requires_action"
        setup["next_action"] = intents.bank_action(tx, setup["id"], return_url)
        records.replace(tx, attempt)
        _save(tx, setup, "requires_action")
        return None
    return _finish(tx, setup, method, attempt)


def authenticate(
    tx: Transaction, setup: dict[str, Any], method: dict[str, Any], *, passed: bool
) -> Decline | None:
    """Go on with an intent that waits for the bank: the buyer has confirmed it, or has not."""
    setup["next_action"] = None
    attempt = records.get(tx, "setup_attempt", setup["latest_attempt"])
    if not passed:
        return _decline(tx, setup, method, attempt, NOT_CONFIRMED)
    private = {**tx.private(method["id"]), "authenticated": True}
    records.replace_private(tx, method["id"], private)
    if "card" in attempt["payment_method_details"]:
        attempt["payment_method_details"]["card"]["three_d_secure"] = _authenticated()
    return _finish(tx, setup, method, attempt)


def cancel(tx: Transaction, setup: dict[str, Any], reason: str | None) -> None:
    """Give the intent up."""
    setup.update(status="canceled", cancellation_reason=reason, next_action=None)
    _save(tx, setup, "canceled")


def _check(tx: Transaction, setup: dict[str, Any], method: dict[str, Any]) -> None:
    if method["type"] not in setup["payment_method_types"]:
        raise StripeError(
            f"The PaymentMethod provided ({method['type']}) is not allowed for this SetupIntent. "
            "Please attach a PaymentMethod of one of the following types: "
            f"{', '.join(setup['payment_method_types'])}.",
            code="setup_intent_invalid_parameter",
            param="payment_method",
        )
    if method["customer"] is not None and method["customer"] != setup["customer"]:
        raise StripeError(
            f"The provided PaymentMethod belongs to the customer {method['customer']}. Please "
            "include the Customer in the `customer` parameter on the SetupIntent.",
            code="setup_intent_invalid_parameter",
            param="payment_method",
        )
    methods.check_not_spent(tx, method)


def _bank_asks(tx: Transaction, setup: dict[str, Any], method: dict[str, Any]) -> bool:
    wanted = setup["payment_method_options"].get("card", {}).get("request_three_d_secure")
    when = cards.outcome_of(tx.private(method["id"]).get("number")).authenticates
    return when in ("always", "until_set_up") or (
        when == "when_asked" and wanted in ("any", "challenge")
    )


def _finish(
    tx: Transaction, setup: dict[str, Any], method: dict[str, Any], attempt: dict[str, Any]
) -> Decline | None:
    reason = methods.verify(tx, method)
    if reason is not None:
        return _decline(tx, setup, method, attempt, reason)
    if method["type"] == "sepa_debit":
        setup["mandate"] = new_id("mandate")
    attempt["status"] = "succeeded"
    records.replace(tx, attempt)
    if setup["customer"] is not None and method["customer"] is None:
        methods.keep(tx, method, setup["customer"])
    else:
        records.replace(tx, method)
    setup.update(status="succeeded", last_setup_error=None)
    _save(tx, setup, "succeeded")
    subscription_states.set_up(tx, setup, tx.private(setup["id"]).get("subscription"))
    return None


def _decline(
    tx: Transaction,
    setup: dict[str, Any],
    method: dict[str, Any],
    attempt: dict[str, Any],
    reason: Decline,
) -> Decline:
    error: dict[str, Any] = {
        "code": reason.code,
        "doc_url": f"https://stripe.com/docs/error-codes/{reason.code.replace('_', '-')}",
        "message": reason.message,
        "payment_method": method,
        "type": "card_error" if reason.decline_code else "invalid_request_error",
    }
    if reason.decline_code is not None:
        error["decline_code"] = reason.decline_code
    if reason.param is not None:
        error["param"] = reason.param
    attempt.update(status="failed", setup_error=error)
    records.replace(tx, attempt)
    setup.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_setup_error=error,
    )
    _save(tx, setup, "setup_failed")
    return reason


def _attempt(tx: Transaction, setup: dict[str, Any], method: dict[str, Any]) -> dict[str, Any]:
    kind = method["type"]
    details: dict[str, Any] = {}
    if kind == "card":
        card = method["card"]
        details = {name: card[name] for name in _DETAILS}
        details.update(network=card["brand"], three_d_secure=None, wallet=None)
    attempt = {
        "id": new_id("setatt"),
        "object": "setup_attempt",
        "application": None,
        "created": tx.now,
        "customer": setup["customer"],
        "customer_account": None,
        "flow_directions": None,
        "livemode": False,
        "on_behalf_of": None,
        "payment_method": method["id"],
        "payment_method_details": {kind: details, "type": kind},
        "setup_error": None,
        "setup_intent": setup["id"],
        "status": "processing",
        "usage": setup["usage"],
    }
    records.insert(tx, attempt)
    return attempt


def _authenticated() -> dict[str, Any]:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": random_text(20),
        "version": "2.2.0",
    }


def _save(tx: Transaction, setup: dict[str, Any], what: str) -> None:
    records.replace(tx, setup)
    events.emit(tx, f"setup_intent.{what}", setup)
