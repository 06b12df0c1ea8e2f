"""The routes of prices. `pricing` builds the object."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import events, lists, metadata, pricing, products, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter
from bursar_sandbox.stripe.subscription_objects import plan_of

_PRODUCT_DATA = frozenset(
    "active id metadata name statement_descriptor tax_code tax_details unit_label".split()
)


def create(call: Call) -> dict[str, Any]:
    params = call.params
    product_data = params.table("product_data")
    if product_data is not None and params.given("product"):
        raise StripeError(
            "You may only specify one of these parameters: product, product_data.",
            code="parameters_exclusive",
            param="product",
        )
    params.require("currency")
    if product_data is not None:
        product_data.allow(_PRODUCT_DATA)
        product = products.build(call.tx, product_data, product_data.text("id"))
    elif "product" in params:
        product = records.get(call.tx, "product", params.need_text("product"), param="product")
    else:
        raise missing_parameter("product")
    return pricing.add(call.tx, params, product["id"])


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "price", call.ids[0], param="price", in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = retrieve(call)
    price = {**before, "metadata": metadata.merged(params, before["metadata"])}
    if params.given("active"):
        price["active"] = params.boolean("active")
    if "nickname" in params:
        price["nickname"] = params.text("nickname")
    if params.given("tax_behavior"):
        price["tax_behavior"] = params.choice(
            "tax_behavior", ("exclusive", "inclusive", "unspecified")
        )
    if "lookup_key" in params:
        price["lookup_key"] = pricing.claim_lookup_key(call.tx, params, price["id"])
    records.replace(call.tx, price)
    if price["recurring"]:
        events.emit_update(call.tx, plan_of(before), plan_of(price))
    events.emit_update(call.tx, before, price)
    return price


def index(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("price")
    query.flag(params, "active")
    query.equal(params, "currency", "product", "type")
    if params.given("lookup_keys"):
        query.one_of("label", params.strings("lookup_keys"))
    recurring = params.table("recurring")
    if recurring is not None:
        for name in ("interval", "usage_type"):
            if recurring.given(name):
                query.add(f"body ->> '$.recurring.{name}' = ?", recurring.text(name))
    return lists.page(call, query)


routes = [
    route(
        "POST",
        "/v1/prices",
        create,
        "active billing_scheme currency currency_options custom_unit_amount lookup_key metadata "
        "nickname product product_data recurring tax_behavior tiers tiers_mode transfer_lookup_key "
        "transform_quantity unit_amount unit_amount_decimal",
    ),
    route(
        "GET",
        "/v1/prices",
        index,
        f"{lists.PAGING} active currency lookup_keys product recurring type",
    ),
    route("GET", "/v1/prices/*", retrieve),
    route(
        "POST",
        "/v1/prices/*",
        update,
        "active currency_options lookup_key metadata nickname tax_behavior transfer_lookup_key",
    ),
]
