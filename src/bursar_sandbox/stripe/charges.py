"""The routes of charges.

`charging` owns the objects; these only show, list and describe them.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import addresses, events, lists, metadata, records
from bursar_sandbox.stripe.call import Call, route


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "charge", call.ids[0], in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = retrieve(call)
    charge = {**before, "metadata": metadata.merged(params, before["metadata"])}
    for key in ("description", "receipt_email", "transfer_group"):
        if key in params:
            charge[key] = params.text(key)
    if "shipping" in params:
        charge["shipping"] = addresses.shipping(params.table("shipping"))
    fraud = params.table("fraud_details")
    if fraud is not None:
        charge["fraud_details"] = {
            "user_report": fraud.choice("user_report", ("fraudulent", "safe"))
        }
    if params.given("customer"):
        customer = records.get(call.tx, "customer", params.need_text("customer"), param="customer")
        charge["customer"] = customer["id"]
    records.replace(call.tx, charge)
    events.emit_update(call.tx, before, charge)
    return charge


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("charge")
    query.equal(call.params, "customer", "payment_intent", "transfer_group")
    return lists.page(call, query)


routes = [
    route("GET", "/v1/charges", index, f"{lists.PAGING} customer payment_intent transfer_group"),
    route("GET", "/v1/charges/*", retrieve),
    route(
        "POST",
        "/v1/charges/*",
        update,
        "customer description fraud_details metadata receipt_email shipping transfer_group",
    ),
]
