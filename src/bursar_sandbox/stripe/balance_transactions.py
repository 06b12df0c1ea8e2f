"""The routes of the account's balance and of its entries. `balance` owns both; these only show."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import balance, lists, records
from bursar_sandbox.stripe.call import Call, route


def retrieve_balance(call: Call) -> dict[str, Any]:
    return balance.current(call.tx)


def retrieve(call: Call) -> dict[str, Any]:
    entry = records.get(
        call.tx, "balance_transaction", call.ids[0], in_path=True, word="balance transaction"
    )
    return balance.ripen(entry, call.tx.now)


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("balance_transaction")
    query.equal(call.params, "currency", "source", "type")
    if (call.params.text("source") or "").startswith("du_"):
        # Stripe doesn't find a dispute's entries by its id: they stand in the dispute itself.
        query.add("0")
    found = lists.page(call, query)
    found["data"] = [balance.ripen(entry, call.tx.now) for entry in found["data"]]
    return found


routes = [
    route("GET", "/v1/balance", retrieve_balance),
    route(
        "GET",
        "/v1/balance_transactions",
        index,
        f"{lists.PAGING} currency payout source type",
    ),
    route("GET", "/v1/balance_transactions/*", retrieve),
]
