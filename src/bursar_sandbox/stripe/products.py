"""Products. Owns their object and its routes."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, lists, metadata, pricing, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

_SETTABLE = (
    "active description images marketing_features metadata name package_dimensions shippable "
    "statement_descriptor tax_code tax_details unit_label url"
)
_TEXTS = ("description", "statement_descriptor", "tax_code", "unit_label", "url")


def create(call: Call) -> dict[str, Any]:
    params = call.params
    product = build(call.tx, params, params.text("id", limit=500))
    defaults = params.table("default_price_data")
    if defaults is not None:
        defaults.allow(pricing.DEFAULT_PRICE_PARAMS)
        price = pricing.add(call.tx, defaults, product["id"])
        product["default_price"] = price["id"]
        records.replace(call.tx, product)
    return product


def build(tx: Transaction, params: Params, product_id: str | None = None) -> dict[str, Any]:
    """A new, stored product from its parameters. Raises StripeError."""
    if product_id is not None and tx.find(product_id) is not None:
        raise StripeError("Product already exists.", code="resource_already_exists", param="id")
    product = new(tx, params, product_id)
    records.insert(tx, product)
    events.emit(tx, "product.created", product)
    return product


def new(tx: Transaction, params: Params, product_id: str | None = None) -> dict[str, Any]:
    """A new product, not stored yet. Raises StripeError."""
    product: dict[str, Any] = {
        "id": product_id or new_id("prod", 14),
        "object": "product",
        "active": params.boolean("active", True),
        "created": tx.now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": metadata.merged(params),
        "name": params.need_text("name"),
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "type": params.choice("type", ("good", "service"), "service"),
        "unit_label": None,
        "updated": tx.now,
        "url": None,
    }
    _set(product, params)
    return product


def _set(product: dict[str, Any], params: Params) -> None:
    for key in _TEXTS:
        if key in params:
            product[key] = params.text(key)
    if "images" in params:
        product["images"] = params.strings("images")
    if "marketing_features" in params:
        rows = params.rows("marketing_features")
        product["marketing_features"] = [{"name": row.need_text("name")} for row in rows]
    if "shippable" in params:
        product["shippable"] = params.boolean("shippable") if params.given("shippable") else None
    if "package_dimensions" in params:
        product["package_dimensions"] = _dimensions(params.table("package_dimensions"))
    if "tax_details" in params:
        details = params.table("tax_details")
        product["tax_details"] = details and {
            "performance_location": details.text("performance_location"),
            "tax_code": details.text("tax_code"),
        }


def _dimensions(params: Params | None) -> dict[str, Any] | None:
    if params is None:
        return None
    sides = ("height", "length", "weight", "width")
    params.require(*sides)
    return {side: float(params.decimal(side) or 0) for side in sides}


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "product", call.ids[0], in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = records.get(call.tx, "product", call.ids[0], in_path=True)
    product = {**before, "metadata": metadata.merged(params, before["metadata"])}
    if "name" in params:
        product["name"] = params.need_text("name")
    if params.given("active"):
        product["active"] = params.boolean("active")
    if "default_price" in params:
        product["default_price"] = _own_price(call, product["id"])
    _set(product, params)
    product["updated"] = call.tx.now
    records.replace(call.tx, product)
    events.emit_update(call.tx, before, product)
    return product


def _own_price(call: Call, product_id: str) -> str | None:
    price_id = call.params.text("default_price")
    if price_id is None:
        return None
    price = records.get(call.tx, "price", price_id, param="default_price")
    if price["product"] != product_id:
        raise StripeError(
            f"The price `{price_id}` does not belong to this product.", param="default_price"
        )
    return price_id


def delete(call: Call) -> dict[str, Any]:
    product = records.get(call.tx, "product", call.ids[0], in_path=True)
    priced = call.tx.execute(
        "SELECT 1 FROM objects WHERE object = 'price' AND parent = ? LIMIT 1", (product["id"],)
    ).fetchone()
    if priced:
        raise StripeError(
            "This product cannot be deleted because it has one or more user-created prices."
        )
    events.emit(call.tx, "product.deleted", product)
    return records.delete(call.tx, product)


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("product")
    query.flag(call.params, "active", "shippable")
    query.equal(call.params, "type", "url")
    if call.params.given("ids"):
        query.one_of("id", call.params.strings("ids"))
    return lists.page(call, query)


routes = [
    route("POST", "/v1/products", create, f"{_SETTABLE} default_price_data id type"),
    route("GET", "/v1/products", index, f"{lists.PAGING} active ids shippable type url"),
    route("GET", "/v1/products/*", retrieve),
    route("POST", "/v1/products/*", update, f"{_SETTABLE} default_price"),
    route("DELETE", "/v1/products/*", delete),
]
