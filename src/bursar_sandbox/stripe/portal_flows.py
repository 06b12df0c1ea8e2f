"""Portal flows: a session that leads to one task, with an end of its own.

Owns the reading of `flow_data` and what a flow needs of the subscription and the configuration.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import portal_configurations, records
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, no_such, not_played
from bursar_sandbox.stripe.params import Params

_TYPES = (
    "customer_update", "payment_method_update", "subscription_cancel", "subscription_pause",
    "subscription_update", "subscription_update_confirm",
)  # fmt: skip
_NOT_PLAYED = ("customer_update", "subscription_pause")
_OF_SUBSCRIPTION = ("subscription_cancel", "subscription_update", "subscription_update_confirm")
_ENDED = ("canceled", "incomplete_expired")


def read(
    tx: Transaction, params: Params | None, customer_id: str, configuration: dict[str, Any]
) -> dict[str, Any] | None:
    """The session's `flow`; None when none is wanted. Raises StripeError."""
    if params is None:
        return None
    params.allow(("after_completion", "type", *_TYPES))
    params.require("type")
    kind = params.choice("type", _TYPES)
    if kind in _NOT_PLAYED:
        raise not_played(f"portal flows of type `{kind}`", params.name("type"))
    flow: dict[str, Any] = {
        "after_completion": _after_completion(params.table("after_completion")),
        "customer_update": None,
        "subscription_cancel": None,
        "subscription_pause": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }
    for name in _OF_SUBSCRIPTION:
        if name != kind and params.given(name):
            raise StripeError(
                f"You can only pass `{params.name(name)}` when `{params.name('type')}` is "
                f"`{name}`.",
                param=params.name(name),
            )
    if kind in _OF_SUBSCRIPTION:
        table = params.table(kind)
        if table is None:
            raise missing_parameter(params.name(kind))
        flow[kind] = _READERS[kind](tx, table, customer_id, configuration)
    elif not configuration["features"]["payment_method_update"]["enabled"]:
        raise StripeError(
            "The payment method update feature in the portal configuration is disabled.",
            param=params.name("type"),
        )
    return flow


def _after_completion(table: Params | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "hosted_confirmation": None, "redirect": None, "type": "portal_homepage"
    }  # fmt: skip
    if table is None:
        return shown
    table.allow(("hosted_confirmation", "redirect", "type"))
    table.require("type")
    kind = table.choice("type", ("hosted_confirmation", "portal_homepage", "redirect"))
    shown["type"] = kind
    if kind == "hosted_confirmation":
        words = table.table("hosted_confirmation")
        message = words.text("custom_message", limit=500) if words is not None else None
        shown["hosted_confirmation"] = {"custom_message": message}
    elif kind == "redirect":
        redirect = table.table("redirect")
        if redirect is None:
            raise missing_parameter(table.name("redirect"))
        redirect.need_text("return_url")
        shown["redirect"] = {"return_url": portal_configurations.url_of(redirect, "return_url")}
    return shown


def _subscription(tx: Transaction, table: Params, customer_id: str) -> dict[str, Any]:
    subscription_id = table.need_text("subscription")
    param = table.name("subscription")
    subscription = records.get(tx, "subscription", subscription_id, param=param)
    if subscription["customer"] != customer_id:
        raise no_such("subscription", subscription_id, param)
    if subscription["status"] in _ENDED:
        raise StripeError(
            f"The subscription `{subscription_id}` has already ended: its status is "
            f"{subscription['status']}.",
            param=param,
        )
    return subscription


def _cancel(
    tx: Transaction, table: Params, customer_id: str, configuration: dict[str, Any]
) -> dict[str, Any]:
    table.allow(("retention", "subscription"))
    if table.given("retention"):
        raise not_played("retention offers", table.name("retention"))
    subscription = _subscription(tx, table, customer_id)
    if not configuration["features"]["subscription_cancel"]["enabled"]:
        raise StripeError(
            "This subscription cannot be canceled because the subscription cancel feature in the "
            "portal configuration is disabled.",
            param=table.path,
        )
    if subscription["cancel_at_period_end"] or subscription["cancel_at"] is not None:
        raise StripeError(
            f"The subscription `{subscription['id']}` is already set to be canceled at period end.",
            param=table.name("subscription"),
        )
    return {"retention": None, "subscription": subscription["id"]}


def _update(
    tx: Transaction, table: Params, customer_id: str, configuration: dict[str, Any]
) -> dict[str, Any]:
    table.allow(("subscription",))
    subscription = _subscription(tx, table, customer_id)
    _check_updates(configuration, table)
    return {"subscription": subscription["id"]}


def _check_updates(configuration: dict[str, Any], table: Params) -> None:
    if not configuration["features"]["subscription_update"]["enabled"]:
        raise StripeError(
            "This subscription cannot be updated because the subscription update feature in the "
            "portal configuration is disabled.",
            param=table.path,
        )


def _confirm(
    tx: Transaction, table: Params, customer_id: str, configuration: dict[str, Any]
) -> dict[str, Any]:
    table.allow(("discounts", "items", "subscription"))
    if table.given("discounts"):
        raise not_played("discounts of portal flows", table.name("discounts"))
    subscription = _subscription(tx, table, customer_id)
    _check_updates(configuration, table)
    rows = table.rows("items")
    if len(rows) != 1:
        raise StripeError("You must specify exactly one item to update.", param=table.name("items"))
    known = {item["id"]: item for item in subscription["items"]["data"]}
    row = rows[0]
    row.allow(("id", "price", "quantity"))
    item = known.get(row.need_text("id"))
    if item is None or len(known) > 1:
        raise no_such("subscription item", row.need_text("id"), row.name("id"))
    price_id = row.text("price") or item["price"]["id"]
    quantity = row.integer("quantity", low=0, high=999_999)
    if quantity is None:
        quantity = item.get("quantity") or 1
    if (price_id, quantity) == (item["price"]["id"], item.get("quantity")):
        raise StripeError(
            "Cannot update the subscription because there are no changes to confirm.",
            param=table.path,
        )
    _check_offered(tx, configuration, row, price_id, item)
    wanted = {"id": item["id"], "price": price_id, "quantity": quantity}
    return {"discounts": None, "items": [wanted], "subscription": subscription["id"]}


def _check_offered(
    tx: Transaction,
    configuration: dict[str, Any],
    row: Params,
    price_id: str,
    item: dict[str, Any],
) -> None:
    price = records.get(tx, "price", price_id, param=row.name("price"))
    products = portal_configurations.products_of(tx, configuration) or []
    offered = [one for product in products for one in product["prices"]]
    if price_id not in offered and price_id != item["price"]["id"]:
        raise StripeError(
            f"The price `{price['id']}` is not one of the prices in the portal configuration's "
            "`features[subscription_update][products]`.",
            param=row.name("price"),
        )


_READERS = {
    "subscription_cancel": _cancel,
    "subscription_update": _update,
    "subscription_update_confirm": _confirm,
}
