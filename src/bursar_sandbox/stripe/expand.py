"""`expand[]`: puts whole objects where an answer has ids, and parts that are left out by default.

Owns the paths that may be expanded. Never writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    invoice_payments,
    payment_links,
    sources,
    subscription_states,
    tokens,
)
from bursar_sandbox.stripe.errors import StripeError

MAX_DEPTH = 4

# For each kind of object: the fields that hold an id and can hold the object.
_LINKS: dict[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "balance_transaction": "source",
        "billing_portal.session": "configuration",
        "charge": "application application_fee balance_transaction customer"
        " failure_balance_transaction on_behalf_of payment_intent review source_transfer transfer",
        "checkout.session": "customer invoice payment_intent payment_link setup_intent"
        " subscription",
        "customer": "default_source test_clock",
        "discount": "customer promotion_code",
        "line_item": "discounts subscription",
        "dispute": "charge payment_intent",
        "payment_intent": "application customer latest_charge on_behalf_of payment_method"
        " payment_record review source",
        "payment_method": "customer",
        "plan": "product",
        "price": "product",
        "product": "default_price tax_code",
        "promotion_code": "customer",
        "radar.early_fraud_warning": "charge payment_intent",
        "invoice": "application customer default_payment_method default_source discounts"
        " latest_revision on_behalf_of test_clock",
        "invoice_payment": "invoice",
        "invoiceitem": "customer discounts invoice test_clock",
        "payment_link": "application on_behalf_of",
        "refund": "balance_transaction charge customer failure_balance_transaction payment_intent"
        " payment_method source_transfer_reversal transfer_reversal",
        "setup_attempt": "application customer on_behalf_of payment_method setup_intent",
        "setup_intent": "application customer latest_attempt mandate on_behalf_of payment_method"
        " single_use_mandate",
        "subscription": "application customer default_payment_method default_source discounts"
        " latest_invoice on_behalf_of pending_setup_intent schedule test_clock",
        "subscription_item": "discounts",
    }.items()
}
# Links inside nested parts that are no objects of their own.
_NESTED_LINKS = frozenset(
    "charge coupon default_payment_method generated_from payment_intent price "
    "promotion_code subscription".split()
)

Included = Callable[[Transaction, dict[str, Any]], Any]


def _empty_list(template: str) -> Included:
    def included(tx: Transaction, body: dict[str, Any]) -> dict[str, Any]:
        url = template.format(id=body["id"])
        return {"object": "list", "data": [], "has_more": False, "url": url}

    return included


def _private_part(name: str, default: Any) -> Included:
    def included(tx: Transaction, body: dict[str, Any]) -> Any:
        return tx.private(body["id"]).get(name, default)

    return included


def line_items(tx: Transaction, session: dict[str, Any]) -> dict[str, Any]:
    """The first ten line items of a checkout session, as a list object."""
    items = tx.private(session["id"]).get("line_items", [])
    return {
        "object": "list",
        "data": items[:10],
        "has_more": len(items) > 10,
        "url": f"/v1/checkout/sessions/{session['id']}/line_items",
    }


def _refunds(tx: Transaction, charge: dict[str, Any]) -> dict[str, Any]:
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'refund' AND parent = ?"
        " ORDER BY seq DESC LIMIT 11",
        (charge["id"],),
    ).fetchall()
    return {
        "object": "list",
        "data": [orjson.loads(row[0]) for row in rows[:10]],
        "has_more": len(rows) > 10,
        "url": f"/v1/charges/{charge['id']}/refunds",
    }


def _subscriptions(tx: Transaction, customer: dict[str, Any]) -> dict[str, Any]:
    found = subscription_states.of_customer(tx, customer["id"])
    return {
        "object": "list",
        "data": found[:10],
        "has_more": len(found) > 10,
        "url": f"/v1/customers/{customer['id']}/subscriptions",
    }


def _breakdown(tx: Transaction, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = tx.private(body["id"]).get("breakdown") or {
        "discounts": [],
        "taxes": [],
    }
    return found


_PORTAL_PRODUCTS = ["features", "subscription_update", "products"]
_NO_TAX = {
    "automatic_tax": "not_collecting",
    "ip_address": None,
    "location": None,
    "provider": "stripe",
}
_INCLUDED: dict[str, dict[str, Included]] = {
    "charge": {"refunds": _refunds},
    "checkout.session": {"line_items": line_items},
    "coupon": {
        "applies_to": _private_part("applies_to", None),
        "currency_options": _private_part("currency_options", {}),
    },
    "customer": {
        "sources": sources.listed,
        "subscriptions": _subscriptions,
        "tax_ids": _empty_list("/v1/customers/{id}/tax_ids"),
        "tax": _private_part("tax", _NO_TAX),
    },
    "item": {
        "discounts": _private_part("discounts", []),
        "taxes": _private_part("taxes", []),
    },
    "invoice": {
        "confirmation_secret": invoice_payments.secret_of,
        "payments": invoice_payments.listed,
    },
    "payment_link": {"line_items": payment_links.items_of},
    "price": {
        "currency_options": _private_part("currency_options", {}),
        "tiers": _private_part("tiers", []),
    },
}


def apply(tx: Transaction, body: dict[str, Any], paths: list[str]) -> None:
    """Expand `paths` in place. Raises StripeError for one that can't be."""
    for path in paths:
        parts = path.split(".")
        if len(parts) - (parts[0] == "data") > MAX_DEPTH:
            raise StripeError(
                f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}",
                param="expand",
            )
        _walk(tx, body, parts, path)


def _walk(tx: Transaction, place: Any, parts: list[str], path: str) -> None:
    if isinstance(place, list):
        for item in place:
            _walk(tx, item, parts, path)
        return
    if not parts or place is None:
        return
    if not isinstance(place, dict):
        raise _refused(path)
    if not place.get("deleted"):
        _step(tx, place, parts, path)


def _step(tx: Transaction, place: dict[str, Any], parts: list[str], path: str) -> None:
    name, rest = parts[0], parts[1:]
    kind = place.get("object", "")
    if name in _LINKS.get(kind, ()) or (not kind and name in _NESTED_LINKS):
        held = place.get(name)
        if isinstance(held, str):
            place[name] = _found(tx, name, held)
        elif isinstance(held, list):
            place[name] = [_found(tx, name, one) if isinstance(one, str) else one for one in held]
    elif name in _INCLUDED.get(kind, ()):
        if name not in place:
            included = _INCLUDED[kind][name](tx, place)
            if included is None:
                return
            place[name] = included
    elif kind == "checkout.session" and name == "total_details" and rest[:1] == ["breakdown"]:
        if "breakdown" not in place[name]:
            place[name]["breakdown"] = _breakdown(tx, place)
        _walk(tx, place[name]["breakdown"], rest[1:], path)
        return
    elif kind == "billing_portal.configuration" and parts == _PORTAL_PRODUCTS:
        shown = place["features"]["subscription_update"]
        shown["products"] = tx.private(place["id"]).get("products")
        return
    elif isinstance(place.get(name, ""), str) or not (rest or (kind, name) == ("list", "data")):
        raise _refused(path)
    _walk(tx, place.get(name), rest, path)


def _found(tx: Transaction, name: str, object_id: str) -> Any:
    """The object with that id, or the id itself if nothing is known of it."""
    body = tx.find(object_id)
    # A card that came by the older interface is kept as the payment method that it also is.
    if name == "default_source" and body is not None:
        return tokens.shown_method(body)
    return body or object_id


def _refused(path: str) -> StripeError:
    return StripeError(
        f"This property cannot be expanded ({path}). You may want to try expanding another "
        "property, or leave it out of the 'expand' parameter.",
        param="expand",
    )
