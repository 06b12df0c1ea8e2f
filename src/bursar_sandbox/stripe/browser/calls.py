"""The calls that a browser may make: with a publishable key, and the secret of one intent.

They do what the seller's own calls do, and show less. Who has the secret may pay, and see what a
buyer may see; nobody learns of customers, metadata or charges by it.
"""

from __future__ import annotations

import hmac
from typing import Any

from bursar_sandbox.stripe import payment_intents, payment_methods, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter

# What a buyer's browser is shown of an intent.
_SHOWN = (
    "id object amount amount_details automatic_payment_methods canceled_at cancellation_reason "
    "capture_method client_secret confirmation_method created currency description "
    "last_payment_error livemode next_action payment_method "
    "payment_method_configuration_details payment_method_types processing receipt_email "
    "setup_future_usage shipping source status"
).split()
# What the library tells of itself, and what the seller alone decides.
_LIBRARY = "client_secret expected_payment_method_type key return_url _stripe_version"
_METHOD = "allow_redisplay billing_details card metadata type key"


def retrieve(call: Call) -> dict[str, Any]:
    return _shown(_intent(call))


def confirm(call: Call) -> dict[str, Any]:
    _intent(call)
    try:
        return _shown(payment_intents.confirm(call))
    except StripeError as error:
        if "payment_intent" in error.body:
            error.body["payment_intent"] = _shown(error.body["payment_intent"])
        raise


def _intent(call: Call) -> dict[str, Any]:
    """The intent, for who knows its secret. Raises StripeError."""
    secret = call.params.text("client_secret")
    if secret is None:
        raise missing_parameter("client_secret")
    intent = records.get(call.tx, "payment_intent", call.ids[0], param="intent", in_path=True)
    if not hmac.compare_digest(secret.encode(), intent["client_secret"].encode()):
        raise StripeError(
            "The client_secret provided does not match the client_secret associated with the "
            "PaymentIntent.",
            code="payment_intent_invalid_parameter",
            param="client_secret",
        )
    return intent


def _shown(intent: dict[str, Any]) -> dict[str, Any]:
    return {name: intent[name] for name in _SHOWN if name in intent}


routes = [
    route("GET", "/v1/payment_intents/*", retrieve, "client_secret key", by_browser=True),
    route(
        "POST",
        "/v1/payment_intents/*/confirm",
        confirm,
        f"payment_method payment_method_data payment_method_options receipt_email "
        f"setup_future_usage shipping use_stripe_sdk {_LIBRARY}",
        by_browser=True,
    ),
    route("POST", "/v1/payment_methods", payment_methods.create, _METHOD, by_browser=True),
]
