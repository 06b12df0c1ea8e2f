"""The routes of test clocks, and their end.

Owns how far a clock may go at once, and what goes with it when it is deleted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import customers, events, lists, periods, records, test_clocks
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, not_played

_WORD = "test clock"
_FARTHEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
_GONE = ("canceled", "incomplete_expired")


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    frozen_time = params.need_integer("frozen_time", low=0, high=_FARTHEST)
    clock = test_clocks.new(tx, frozen_time, params.text("name", limit=300))
    if params.given("customer"):
        _take(tx, clock, params.need_text("customer"))
    return clock


def _take(tx: Transaction, clock: dict[str, Any], customer_id: str) -> None:
    """Let a customer who is there already live on the new clock."""
    customer = records.get(tx, "customer", customer_id, param="customer")
    if customer["test_clock"] is not None:
        raise StripeError(
            f"The customer {customer_id} is already attached to a test clock.", param="customer"
        )
    row = tx.execute(
        "SELECT 1 FROM objects WHERE object IN ('subscription', 'invoice') AND customer = ?",
        (customer_id,),
    ).fetchone()
    if row is not None:
        raise not_played("putting customers with subscriptions or invoices on clocks", "customer")
    records.replace(tx, {**customer, "test_clock": clock["id"]})


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(
        call.tx, test_clocks.KIND, call.ids[0], param="test_clock", in_path=True, word=_WORD
    )


def index(call: Call) -> dict[str, Any]:
    return lists.page(call, lists.Query(test_clocks.KIND))


def advance(call: Call) -> dict[str, Any]:
    tx, clock = call.tx, retrieve(call)
    until = call.params.need_integer("frozen_time")
    if until <= clock["frozen_time"]:
        raise StripeError(
            "The specified time must be after the test clock's current frozen time of "
            f"{clock['frozen_time']}.",
            param="frozen_time",
        )
    latest = _latest(tx, clock)
    if until > latest:
        raise StripeError(
            "The specified time is too far in the future. You can advance this test clock to "
            f"{latest} at the latest: by two intervals of its shortest subscription, or by two "
            "years if it has none.",
            param="frozen_time",
        )
    test_clocks.start(tx, clock, until)
    return clock


def _latest(tx: Transaction, clock: dict[str, Any]) -> int:
    """How far the clock may go at once: two intervals of its shortest subscription."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'subscription' AND deleted = 0"
        " AND body ->> '$.test_clock' = ?",
        (clock["id"],),
    ).fetchall()
    frozen: int = clock["frozen_time"]
    ends = [
        periods.later(frozen, recurring["interval"], 2 * recurring["interval_count"])
        for subscription in map(orjson.loads, (row[0] for row in rows))
        if subscription["status"] not in _GONE
        for recurring in (item["price"]["recurring"] for item in subscription["items"]["data"])
    ]
    return min(ends, default=periods.later(frozen, "year", 2))


def delete(call: Call) -> dict[str, Any]:
    return remove(call.tx, retrieve(call))


def remove(tx: Transaction, clock: dict[str, Any]) -> dict[str, Any]:
    """Delete a clock with its customers, whose subscriptions end."""
    test_clocks.enter(tx, clock["id"])
    for customer in test_clocks.customers_of(tx, clock["id"]):
        customers.remove(tx, customer)
    test_clocks.forget(tx, clock["id"])
    events.emit(tx, f"{test_clocks.KIND}.deleted", clock)
    return records.delete(tx, clock)


def lapse(tx: Transaction, clock_id: str) -> None:
    """A clock's month is over: it goes by itself."""
    clock = tx.find(clock_id)
    if clock is not None and not clock.get("deleted"):
        remove(tx, clock)


routes = [
    route("POST", "/v1/test_helpers/test_clocks", create, "customer frozen_time name"),
    route("GET", "/v1/test_helpers/test_clocks", index, "limit starting_after ending_before"),
    route("GET", "/v1/test_helpers/test_clocks/*", retrieve),
    route("DELETE", "/v1/test_helpers/test_clocks/*", delete),
    route("POST", "/v1/test_helpers/test_clocks/*/advance", advance, "frozen_time"),
]
