"""Payment links: an address to sell the same thing at many times. Owns their object and routes.

What is behind the address, `link_visits` owns.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, line_items, lists, metadata, records
from bursar_sandbox.stripe import payment_link_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

MAX_ITEMS = 20


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    fields.check_played(params)
    rows = params.rows("line_items")
    if not rows:
        raise missing_parameter("line_items")
    if len(rows) > MAX_ITEMS:
        raise StripeError(f"A link has at most {MAX_ITEMS} line items.", param="line_items")
    items = line_items.build(tx, params, recurring=True)
    link = {**_blank(tx, items), **fields.shown(params)}
    private: dict[str, Any] = {
        "line_items": items,
        "session": {name: params.fields[name] for name in fields.PASSED_ON if name in params},
    }
    _pin_prices(private["session"], items)
    records.insert(tx, link, private)
    events.emit(tx, "payment_link.created", link)
    return link


def _pin_prices(session: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """Have every session sell by the prices of the link, made for it or not."""
    session["line_items"] = {
        place: {
            **{name: value for name, value in row.items() if name != "price_data"},
            "price": item["price"]["id"],
        }
        for (place, row), item in zip(
            sorted(session["line_items"].items(), key=lambda pair: int(pair[0])), items,
            strict=True,
        )
    }  # fmt: skip


def _blank(tx: Transaction, items: list[dict[str, Any]]) -> dict[str, Any]:
    recurring = any(item["price"]["type"] == "recurring" for item in items)
    link_id = new_id("plink")
    return {
        "id": link_id,
        "object": "payment_link",
        "active": True,
        "after_completion": {
            "hosted_confirmation": {"custom_message": None},
            "type": "hosted_confirmation",
        },
        "allow_promotion_codes": False,
        "application": None,
        "application_fee_amount": None,
        "application_fee_percent": None,
        "automatic_tax": {"enabled": False, "liability": None},
        "billing_address_collection": "auto",
        "consent_collection": None,
        "currency": items[0]["currency"],
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer_creation": "always" if recurring else "if_required",
        "inactive_message": None,
        "invoice_creation": None if recurring else _no_invoice(),
        "livemode": False,
        "managed_payments": None,
        "metadata": {},
        "on_behalf_of": None,
        "optional_items": None,
        "payment_intent_data": None,
        "payment_method_collection": "always",
        "payment_method_options": None,
        "payment_method_types": None,
        "phone_number_collection": {"enabled": False},
        "restrictions": None,
        "shipping_address_collection": None,
        "shipping_options": [],
        "submit_type": "auto",
        "subscription_data": _subscription_data() if recurring else None,
        "tax_id_collection": {"enabled": False, "required": "never"},
        "transfer_data": None,
        "url": f"{tx.base_url}/b/{link_id}",
    }


def _no_invoice() -> dict[str, Any]:
    return {
        "enabled": False,
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": None,
            "metadata": {},
            "rendering_options": None,
        },
    }


def _subscription_data() -> dict[str, Any]:
    return {
        "description": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "metadata": {},
        "trial_period_days": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    }


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "payment_link", call.ids[0], param="payment_link", in_path=True)


def update(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    fields.check_played(params)
    before = retrieve(call)
    private = tx.private(before["id"])
    link = {**before, **fields.shown(params)}
    link["metadata"] = metadata.merged(params, before["metadata"])
    if params.given("active"):
        link["active"] = params.boolean("active")
    if link["restrictions"] and before["restrictions"]:
        count = before["restrictions"]["completed_sessions"]["count"]
        link["restrictions"]["completed_sessions"]["count"] = count
    for name in ("restrictions", "payment_method_types", "shipping_address_collection"):
        if name in params and not params.given(name):
            link[name] = None
    _pass_on(tx, private, params)
    private["session"]["metadata"] = link["metadata"]
    records.replace(tx, link)
    records.replace_private(tx, link["id"], private)
    events.emit_update(tx, before, link)
    return link


def _pass_on(tx: Transaction, private: dict[str, Any], params: Params) -> None:
    """Open the next sessions as the link is told now. Only quantities of its lines change."""
    rows = {row.need_text("id"): row for row in params.rows("line_items")}
    places = sorted(private["session"]["line_items"], key=int)
    for place, item in zip(places, private["line_items"], strict=True):
        row = rows.pop(item["id"], None)
        if row is not None:
            quantity = row.integer("quantity", low=0)
            if quantity is not None:
                line_items.set_quantity(tx, item, quantity)
                private["session"]["line_items"][place]["quantity"] = str(quantity)
    if rows:
        raise StripeError(
            f"No such line item: '{next(iter(rows))}'", code="resource_missing", param="line_items"
        )
    for name in fields.PASSED_ON:
        if name in params and name not in ("line_items", "metadata"):
            private["session"][name] = params.fields[name]


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("payment_link")
    query.flag(call.params, "active")
    return lists.page(call, query)


def list_items(call: Call) -> dict[str, Any]:
    link = retrieve(call)
    return lists.page_of(call, call.tx.private(link["id"])["line_items"], "item")


def items_of(tx: Transaction, link: dict[str, Any]) -> dict[str, Any]:
    """The first ten line items of a link, as a list object."""
    items = tx.private(link["id"])["line_items"]
    return {
        "object": "list",
        "data": items[:10],
        "has_more": len(items) > 10,
        "url": f"/v1/payment_links/{link['id']}/line_items",
    }


def count_use(tx: Transaction, link_id: str) -> None:
    """Note that one of the link's sessions is complete; at its limit the link ends."""
    before = records.get(tx, "payment_link", link_id)
    if before["restrictions"] is None:
        return
    use = dict(before["restrictions"]["completed_sessions"])
    use["count"] += 1
    link = {**before, "restrictions": {"completed_sessions": use}}
    link["active"] = link["active"] and use["count"] < use["limit"]
    records.replace(tx, link)
    events.emit_update(tx, before, link)


routes = [
    route("POST", "/v1/payment_links", create, fields.CREATE),
    route("GET", "/v1/payment_links", index, f"{lists.PAGING} active"),
    route("GET", "/v1/payment_links/*", retrieve),
    route("POST", "/v1/payment_links/*", update, fields.UPDATE),
    route(
        "GET",
        "/v1/payment_links/*/line_items",
        list_items,
        "limit starting_after ending_before",
    ),
]
