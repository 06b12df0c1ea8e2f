"""The routes of charges and of the balance transactions behind them.

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


def retrieve_entry(call: Call) -> dict[str, Any]:
    return _settled(call, records.get(call.tx, "balance_transaction", call.ids[0], in_path=True))


def list_entries(call: Call) -> dict[str, Any]:
    query = lists.Query("balance_transaction")
    query.equal(call.params, "currency", "source", "type")
    found = lists.page(call, query)
    found["data"] = [_settled(call, entry) for entry in found["data"]]
    return found


def _settled(call: Call, entry: dict[str, Any]) -> dict[str, Any]:
    # Money becomes available as the clock goes on; nothing else changes, so nothing is stored.
    entry["status"] = "available" if entry["available_on"] <= call.tx.now else "pending"
    return entry


routes = [
    route("GET", "/v1/charges", index, f"{lists.PAGING} customer payment_intent transfer_group"),
    route("GET", "/v1/charges/*", retrieve),
    route(
        "POST",
        "/v1/charges/*",
        update,
        "customer description fraud_details metadata receipt_email shipping transfer_group",
    ),
    route(
        "GET",
        "/v1/balance_transactions",
        list_entries,
        f"{lists.PAGING} currency payout source type",
    ),
    route("GET", "/v1/balance_transactions/*", retrieve_entry),
]
