"""The routes of payment intents. `intents` owns the object and what happens to it."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import (
    capturing,
    cards,
    intents,
    invoice_payments,
    lists,
    metadata,
    records,
)
from bursar_sandbox.stripe import intent_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.capturing import unexpected
from bursar_sandbox.stripe.errors import StripeError
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
            raise unexpected(intent, _NOT_UPDATED)
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
        raise unexpected(intent, _NOT_CONFIRMED)
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
    # The browser's library shows the bank's page itself, and no redirect leaves the shop's page.
    in_page = params.boolean("use_stripe_sdk")
    if automatic.get("allow_redirects") == "always" and return_url is None and not in_page:
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
        return_url=None if in_page else return_url,
        off_session=_off_session(params) or params.boolean("error_on_requires_action"),
    )
    invoice_payments.after(call.tx, intent)
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
    capturing.check_held(intent)
    if not params.boolean("final_capture", default=True):
        raise StripeError(
            "You cannot set `final_capture` to `false`: multicapture is not available for this "
            "PaymentIntent.",
            param="final_capture",
        )
    amount = params.integer("amount_to_capture", low=1)
    intent["metadata"] = metadata.merged(params, intent["metadata"])
    for name in ("statement_descriptor", "statement_descriptor_suffix"):
        if name in params:
            intent[name] = params.text(name, limit=22)
    capturing.capture(call.tx, intent, amount)
    return intent


def cancel(call: Call) -> dict[str, Any]:
    intent = retrieve(call)
    capturing.cancel(call.tx, intent, call.params.choice("cancellation_reason", _REASONS))
    return intent


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
