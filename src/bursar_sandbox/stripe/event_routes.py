"""The routes of events. `events` owns the object."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import lists, records
from bursar_sandbox.stripe.call import Call, route


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "event", call.ids[0], in_path=True)


def index(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("event")
    kind = params.text("type")
    if kind is not None:
        # `charge.*` asks for every event that begins so.
        if kind.endswith("*"):
            query.add("substr(label, 1, ?) = ?", len(kind) - 1, kind[:-1])
        else:
            query.add("label = ?", kind)
    if params.given("types"):
        query.one_of("label", params.strings("types"))
    if params.given("delivery_success"):
        query.add(
            "? = NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = objects.id"
            " AND d.state != 'delivered')",
            int(params.boolean("delivery_success")),
        )
    return lists.page(call, query)


routes = [
    route("GET", "/v1/events", index, f"{lists.PAGING} delivery_success type types"),
    route("GET", "/v1/events/*", retrieve),
]
