"""The routes of plans, which recurring prices were called before: each plan is a price.

Owns how a plan's parameters become a price's, and what it shows of it; `pricing` builds the object.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, lists, metadata, pricing, products, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import missing_parameter, not_played
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_objects import plan_of

_UPDATE = "active metadata nickname product trial_period_days"
_CREATE = (
    f"{_UPDATE} amount amount_decimal billing_scheme currency id interval interval_count meter "
    "tiers tiers_mode transform_usage usage_type"
)
_RECURRING = ("interval", "interval_count", "trial_period_days", "usage_type")
_KEPT = ("active", "billing_scheme", "currency", "metadata", "nickname")


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    for name in ("meter", "tiers", "transform_usage"):
        if params.given(name):
            raise not_played(f"`{name}` of plans", name)
    params.require("currency", "interval")
    given = params.fields
    fields = {name: given[name] for name in _KEPT if name in given}
    fields["recurring"] = {name: given[name] for name in _RECURRING if name in given}
    for name in ("amount", "amount_decimal"):
        if name in given:
            fields[f"unit_{name}"] = given[name]
    price, private = pricing.build(tx, Params(fields), _product(tx, params))
    price["id"] = params.text("id", limit=500) or new_id("plan")
    records.insert(tx, price, private)
    plan = plan_of(price)
    events.emit(tx, "plan.created", plan)
    events.emit(tx, "price.created", price)
    return plan


def _product(tx: Transaction, params: Params) -> str:
    """The product of a new plan: one that is there, or one that is spelled out."""
    if not params.given("product"):
        raise missing_parameter("product")
    if isinstance(params.fields["product"], str):
        product_id = params.need_text("product")
        return str(records.get(tx, "product", product_id, param="product")["id"])
    data = params.table("product") or Params({}, "product")
    return str(products.build(tx, data, data.text("id"))["id"])


def _price(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "price", call.ids[0], param="plan", in_path=True, word="plan")


def retrieve(call: Call) -> dict[str, Any]:
    return plan_of(_price(call))


def update(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    before = _price(call)
    for name in ("product", "trial_period_days"):
        if params.given(name):
            raise not_played(f"a change of a plan's `{name}`", name)
    price = {**before, "metadata": metadata.merged(params, before["metadata"])}
    if params.given("active"):
        price["active"] = params.boolean("active")
    if "nickname" in params:
        price["nickname"] = params.text("nickname")
    records.replace(tx, price)
    events.emit_update(tx, plan_of(before), plan_of(price))
    events.emit_update(tx, before, price)
    return plan_of(price)


def delete(call: Call) -> dict[str, Any]:
    price = _price(call)
    events.emit(call.tx, "plan.deleted", plan_of(price))
    events.emit(call.tx, "price.deleted", price)
    records.delete(call.tx, price)
    return {"id": price["id"], "object": "plan", "deleted": True}


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("price")
    query.add("body ->> '$.type' = 'recurring'")
    query.flag(call.params, "active")
    query.equal(call.params, "product")
    page = lists.page(call, query)
    return {**page, "data": [plan_of(price) for price in page["data"]]}


routes = [
    route("POST", "/v1/plans", create, _CREATE),
    route("GET", "/v1/plans", index, f"{lists.PAGING} active product"),
    route("GET", "/v1/plans/*", retrieve),
    route("POST", "/v1/plans/*", update, _UPDATE),
    route("DELETE", "/v1/plans/*", delete),
]
