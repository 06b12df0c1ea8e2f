"""Early fraud warnings: the card's bank doubts a payment before anybody disputes it.

Owns the object and its routes. No money moves by it.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, lists, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.ids import new_id

_KIND = "radar.early_fraud_warning"


def add(tx: Transaction, charge: dict[str, Any]) -> None:
    """The bank warns of the charge."""
    warning = {
        "id": new_id("issfr"),
        "object": _KIND,
        "actionable": True,
        "charge": charge["id"],
        "created": tx.now,
        "fraud_type": "made_with_stolen_card",
        "livemode": False,
        "payment_intent": charge["payment_intent"],
    }
    records.insert(tx, warning)
    events.emit(tx, f"{_KIND}.created", warning)


def _shown(call: Call, warning: dict[str, Any]) -> dict[str, Any]:
    # Something can be done about it as long as nothing was: the charge itself tells that.
    charge = records.get(call.tx, "charge", warning["charge"])
    warning["actionable"] = not (charge["disputed"] or charge["refunded"])
    return warning


def retrieve(call: Call) -> dict[str, Any]:
    return _shown(call, records.get(call.tx, _KIND, call.ids[0], in_path=True))


def index(call: Call) -> dict[str, Any]:
    query = lists.Query(_KIND)
    query.equal(call.params, "charge", "payment_intent")
    found = lists.page(call, query)
    found["data"] = [_shown(call, warning) for warning in found["data"]]
    return found


routes = [
    route("GET", "/v1/radar/early_fraud_warnings", index, f"{lists.PAGING} charge payment_intent"),
    route("GET", "/v1/radar/early_fraud_warnings/*", retrieve),
]
