"""The routes of refunds, also under the charge they belong to. `refunding` owns the object."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import lists, metadata, records, refunding
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, no_such, not_played

_CREATE = (
    "amount charge currency customer customer_account instructions_email metadata origin "
    "payment_intent reason refund_application_fee reverse_transfer"
)
_REASONS = ("duplicate", "fraudulent", "requested_by_customer")
_NOT_PLAYED = ("customer", "origin", "refund_application_fee", "reverse_transfer")


def create(call: Call) -> dict[str, Any]:
    params = call.params
    for name in _NOT_PLAYED:
        if params.given(name) and params.text(name) != "false":
            raise not_played(f"refunds with `{name}`", name)
    return refunding.add(
        call.tx,
        _charge_of(call),
        params.integer("amount", low=1),
        reason=params.choice("reason", _REASONS),
        labels=metadata.merged(params),
    )


def _charge_of(call: Call) -> dict[str, Any]:
    params, tx = call.params, call.tx
    intent_id, charge_id = params.text("payment_intent"), params.text("charge")
    if intent_id is None:
        if charge_id is None:
            raise missing_parameter("payment_intent")
        return records.get(tx, "charge", charge_id, param="charge")
    intent = records.get(tx, "payment_intent", intent_id, param="payment_intent")
    if intent["status"] != "succeeded":
        raise StripeError(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
            param="payment_intent",
        )
    if charge_id not in (None, intent["latest_charge"]):
        raise StripeError(
            f"The charge {charge_id} does not belong to the PaymentIntent {intent_id}.",
            param="charge",
        )
    return records.get(tx, "charge", intent["latest_charge"])


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "refund", call.ids[-1], in_path=True)


def update(call: Call) -> dict[str, Any]:
    refund = retrieve(call)
    return refunding.describe(call.tx, refund, metadata.merged(call.params, refund["metadata"]))


def cancel(call: Call) -> dict[str, Any]:
    # Only refunds that wait for the buyer can be canceled, and no method played here has such.
    refund = retrieve(call)
    raise StripeError(
        f"You cannot cancel this Refund because it has a status of {refund['status']}. Only a "
        "Refund with one of the following statuses may be canceled: requires_action.",
    )


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("refund")
    query.equal(call.params, "charge", "payment_intent")
    return lists.page(call, query)


def index_of_charge(call: Call) -> dict[str, Any]:
    charge = records.get(call.tx, "charge", call.ids[0], in_path=True)
    query = lists.Query("refund")
    query.add("parent = ?", charge["id"])
    return lists.page(call, query)


def retrieve_of_charge(call: Call) -> dict[str, Any]:
    refund = retrieve(call)
    if refund["charge"] != call.ids[0]:
        raise no_such("refund", call.ids[1], in_path=True)
    return refund


routes = [
    route("POST", "/v1/refunds", create, _CREATE),
    route("GET", "/v1/refunds", index, f"{lists.PAGING} charge payment_intent"),
    route("GET", "/v1/refunds/*", retrieve),
    route("POST", "/v1/refunds/*", update, "metadata"),
    route("POST", "/v1/refunds/*/cancel", cancel),
    route("GET", "/v1/charges/*/refunds", index_of_charge, lists.PAGING),
    route("GET", "/v1/charges/*/refunds/*", retrieve_of_charge),
]
