"""The routes of payment intents. `intents` owns the object and what happens to it."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import cards, intents, lists, metadata, records
from bursar_sandbox.stripe import intent_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, wrong_state
from bursar_sandbox.stripe.params import Params

_NOT_UPDATED = (
    "This PaymentIntent could not be updated because it has a status of {status}. Only its "
    "metadata, description and receipt_email may be changed now."
)
_NOT_CONFIRMED = (
    "You cannot confirm this PaymentIntent because it has a status of {status}. Only a "
    "PaymentIntent with one of the following statuses may be confirmed: requires_payment_method, "
    "requires_confirmation, requires_action."
)
_NOT_CAPTURED = (
    "This PaymentIntent could not be captured because it has a status of {status}. Only a "
    "PaymentIntent with one of the following statuses may be captured: requires_capture."
)
_NOT_CANCELED = (
    "You cannot cancel this PaymentIntent because it has a status of {status}. Only a "
    "PaymentIntent with one of the following statuses may be canceled: requires_payment_method, "
    "requires_capture, requires_confirmation, requires_action."
)
_REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")


def create(call: Call) -> dict[str, Any]:
    params = call.params
    intent = fields.build(call.tx, params)
    method = fields.method_of(call.tx, params)
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    private = {"return_url": params.text("return_url")} if params.given("return_url") else None
    intents.add(call.tx, intent, private)
    if params.boolean("confirm"):
        _confirm(call, intent, method)
    return intent


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "payment_intent", call.ids[0], param="intent", in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    intent = retrieve(call)
    if intent["status"] in ("succeeded", "canceled", "processing", "requires_capture"):
        intent["metadata"] = metadata.merged(params, intent["metadata"])
        if set(params.fields) - {"metadata", "description", "expand", "receipt_email"}:
            raise _unexpected(intent, _NOT_UPDATED)
        fields.describe(intent, params)
    else:
        intent["metadata"] = metadata.merged(params, intent["metadata"])
        fields.describe(intent, params)
        fields.revise(call.tx, intent, params)
        method = fields.method_of(call.tx, params)
        if method is not None:
            intent.update(payment_method=method["id"], status="requires_confirmation")
    records.replace(call.tx, intent)
    return intent


def confirm(call: Call) -> dict[str, Any]:
    params = call.params
    intent = retrieve(call)
    if intent["status"] not in intents.CONFIRMABLE:
        raise _unexpected(intent, _NOT_CONFIRMED)
    fields.describe(intent, params)
    method = fields.method_of(call.tx, params)
    if method is None and intent["payment_method"] is not None:
        method = records.get(
            call.tx, "payment_method", intent["payment_method"], word="PaymentMethod"
        )
    _confirm(call, intent, method)
    return intent


def _confirm(call: Call, intent: dict[str, Any], method: dict[str, Any] | None) -> None:
    params = call.params
    if method is None:
        raise StripeError(
            "You cannot confirm this PaymentIntent because it's missing a payment method. To "
            "confirm the PaymentIntent with "
            f"{intent['customer'] or 'this request'}, specify a payment method attached to this "
            "customer along with the customer ID.",
            code="payment_intent_unexpected_state",
            param="payment_method",
        )
    return_url = params.text("return_url") or call.tx.private(intent["id"]).get("return_url")
    automatic = intent["automatic_payment_methods"] or {}
    if automatic.get("allow_redirects") == "always" and return_url is None:
        raise StripeError(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. "
            "Because some of these payment methods might redirect your customer off of your page, "
            "you must provide a `return_url`. If you don't want to accept redirect-based payment "
            "methods, set `automatic_payment_methods[enabled]` to `true` and "
            "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents "
            "and Payment Intents.",
            param="return_url",
        )
    reason = intents.confirm(
        call.tx,
        intent,
        method,
        return_url=return_url,
        off_session=_off_session(params) or params.boolean("error_on_requires_action"),
    )
    if reason is not None:
        raise cards.refusal(
            reason,
            keeps=True,
            charge=intent["last_payment_error"].get("charge"),
            payment_intent=intent,
            payment_method=intent["last_payment_error"]["payment_method"],
        )


def _off_session(params: Params) -> bool:
    # Also `one_off` and `recurring` may stand there, which mean that the buyer is away.
    return params.text("off_session") in ("true", "1", "one_off", "recurring")


def capture(call: Call) -> dict[str, Any]:
    params = call.params
    intent = retrieve(call)
    if intent["status"] != "requires_capture":
        raise _unexpected(intent, _NOT_CAPTURED)
    amount = params.integer("amount_to_capture", low=1)
    if amount is None:
        amount = intent["amount_capturable"]
    if amount > intent["amount_capturable"]:
        raise StripeError(
            f"The amount_to_capture ({amount}) is greater than the amount that can be captured "
            f"({intent['amount_capturable']}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    intent["metadata"] = metadata.merged(params, intent["metadata"])
    intents.capture(call.tx, intent, amount)
    _tell_session(call, intent)
    return intent


def _tell_session(call: Call, intent: dict[str, Any]) -> None:
    session_id = call.tx.private(intent["id"]).get("session")
    if session_id is not None:
        session = records.get(call.tx, "checkout.session", session_id)
        session["payment_status"] = "paid"
        records.replace(call.tx, session)


def cancel(call: Call) -> dict[str, Any]:
    intent = retrieve(call)
    if intent["status"] not in intents.CANCELABLE:
        raise _unexpected(intent, _NOT_CANCELED)
    intents.cancel(call.tx, intent, call.params.choice("cancellation_reason", _REASONS))
    return intent


def _unexpected(intent: dict[str, Any], message: str) -> StripeError:
    return wrong_state(
        message.format(status=intent["status"]),
        "payment_intent_unexpected_state",
        payment_intent=intent,
    )


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("payment_intent")
    query.equal(call.params, "customer", "customer_account")
    return lists.page(call, query)


routes = [
    route(
        "POST",
        "/v1/payment_intents",
        create,
        f"{fields.CREATE} confirm error_on_requires_action off_session return_url",
    ),
    route("GET", "/v1/payment_intents", index, f"{lists.PAGING} customer customer_account"),
    route("GET", "/v1/payment_intents/*", retrieve, "client_secret"),
    route("POST", "/v1/payment_intents/*", update, fields.UPDATE),
    route(
        "POST",
        "/v1/payment_intents/*/confirm",
        confirm,
        f"{fields.CONFIRM} error_on_requires_action off_session return_url",
    ),
    route("POST", "/v1/payment_intents/*/capture", capture, fields.CAPTURE),
    route("POST", "/v1/payment_intents/*/cancel", cancel, "cancellation_reason"),
]
