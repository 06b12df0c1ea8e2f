"""The routes of subscription items: each of their calls is a change of the subscription."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import lists, records, subscription_changes
from bursar_sandbox.stripe import subscription_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import missing_parameter
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_objects import items_of

_KIND = "subscription_item"
_ITEM = (
    "billing_thresholds current_trial discounts metadata plan price price_data quantity tax_rates"
)
_CHANGE = "off_session payment_behavior proration_behavior proration_date"


def create(call: Call) -> dict[str, Any]:
    params = call.params
    if not params.given("subscription"):
        raise missing_parameter("subscription")
    subscription_id = params.need_text("subscription")
    before = records.get(call.tx, "subscription", subscription_id, param="subscription")
    known = {item["id"] for item in items_of(before)}
    after = _change(call, before, {})
    return next(item for item in items_of(after) if item["id"] not in known)


def _change(call: Call, before: dict[str, Any], named: dict[str, str]) -> dict[str, Any]:
    """Change the subscription as the call on its one item says."""
    given = call.params.fields
    row = {name: given[name] for name in _ITEM.split() if name in given}
    wanted = {name: given[name] for name in _CHANGE.split() if name in given}
    params = Params({**wanted, "items": {"0": {**row, **named}}})
    change = subscription_changes.build(call.tx, before, params)
    return subscription_changes.apply(
        call.tx, change, fields.behavior_of(params), off_session=params.boolean("off_session")
    )


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, _KIND, call.ids[0], param="item", in_path=True)


def _subscription(call: Call, item: dict[str, Any]) -> dict[str, Any]:
    return records.get(call.tx, "subscription", item["subscription"])


def update(call: Call) -> dict[str, Any]:
    item = retrieve(call)
    _change(call, _subscription(call, item), {"id": item["id"]})
    return retrieve(call)


def delete(call: Call) -> dict[str, Any]:
    item = retrieve(call)
    _change(call, _subscription(call, item), {"id": item["id"], "deleted": "true"})
    return {"id": item["id"], "object": _KIND, "deleted": True}


def index(call: Call) -> dict[str, Any]:
    if not call.params.given("subscription"):
        raise missing_parameter("subscription")
    subscription_id = call.params.need_text("subscription")
    found = records.get(call.tx, "subscription", subscription_id, param="subscription")
    return lists.page_of(call, items_of(found), _KIND)


routes = [
    route("POST", "/v1/subscription_items", create, f"{_ITEM} {_CHANGE} subscription"),
    route(
        "GET",
        "/v1/subscription_items",
        index,
        "limit starting_after ending_before subscription",
    ),
    route("GET", "/v1/subscription_items/*", retrieve),
    route("POST", "/v1/subscription_items/*", update, f"{_ITEM} {_CHANGE}"),
    route("DELETE", "/v1/subscription_items/*", delete, f"clear_usage {_CHANGE}"),
]
