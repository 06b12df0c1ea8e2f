"""Subscriptions, invoices and their parts as API versions before 2025-03-31 told them.

Owns the moves of their fields; `legacy` says which versions have not seen them. Never reckons anew:
an old field says what today's objects say elsewhere.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from bursar_sandbox.store import Store
from bursar_sandbox.stripe.subscription_objects import plan_of

Object = dict[str, Any]

_UPCOMING = "upcoming_in_"


def subscription(store: Store, told: Object) -> None:
    """The period stood on the subscription; one item's plan and quantity did, too."""
    items = told["items"]["data"]
    periods = [_taken(item, "current_period_start", "current_period_end") for item in items]
    alone = items[0] if len(items) == 1 else None
    told.update(
        current_period_start=periods[0]["current_period_start"],
        current_period_end=periods[0]["current_period_end"],
        discount=_last_discount(store, told),
        plan=alone and alone["plan"],
        quantity=alone and alone["quantity"],
    )
    for name in ("billing_mode", "billing_schedules", "managed_payments"):
        told.pop(name, None)


def invoice(store: Store, told: Object) -> None:
    """Who it is for and what has paid it stood on the invoice."""
    details = (told.pop("parent") or {}).get("subscription_details") or {}
    intent = _intent_of(store, told["id"])
    settled = told["status"] == "paid"
    taxes = _taxes(told.pop("total_taxes"))
    told.update(
        application_fee_amount=None,
        charge=(intent or {}).get("latest_charge"),
        discount=_last_discount(store, told),
        paid=settled,
        paid_out_of_band=settled and told["amount_paid"] > 0 and intent is None,
        payment_intent=intent and intent["id"],
        quote=None,
        rendering_options=None,
        subscription=details.get("subscription"),
        subscription_details={"metadata": details["metadata"]} if details else None,
        tax=sum(tax["amount"] for tax in taxes) if taxes else None,
        total_tax_amounts=taxes,
        transfer_data=None,
    )
    if told["id"].startswith(_UPCOMING):
        del told["id"]


def line(store: Store, told: Object) -> None:
    """A line had its price whole, and said itself where it came from."""
    parent, pricing = told.pop("parent"), told.pop("pricing") or {}
    sold = parent["subscription_item_details"] or {}
    billed = parent["invoice_item_details"] or {}
    price = _price(store, pricing)
    item_id = sold.get("invoice_item") or billed.get("invoice_item")
    details = sold or billed
    taxes = told.pop("taxes")
    before_tax = told.pop("subtotal") - sum(tax["amount"] for tax in _taxes(taxes, included=True))
    told.update(
        amount_excluding_tax=before_tax,
        plan=_plan(price),
        price=price,
        proration=bool(details.get("proration")),
        proration_details=details.get("proration_details") or {"credited_items": None},
        tax_amounts=_taxes(taxes),
        tax_rates=[rate for tax in _taxes(taxes) if (rate := _found(store, tax["tax_rate"]))],
        type="invoiceitem" if item_id else "subscription",
        unit_amount_excluding_tax=_each(before_tax, told["quantity"]),
    )
    told.pop("quantity_decimal", None)
    if item_id:
        told["invoice_item"] = item_id
    if sold:
        told["subscription_item"] = sold["subscription_item"]


def invoice_item(store: Store, told: Object) -> None:
    """An item had its price whole, and named its subscription itself."""
    pricing = told.pop("pricing") or {}
    owner = (told.pop("parent") or {}).get("subscription_details") or {}
    price = _price(store, pricing)
    exact = pricing.get("unit_amount_decimal")
    whole = exact is not None and Decimal(exact) == int(Decimal(exact))
    told.update(
        plan=_plan(price),
        price=price,
        subscription=owner.get("subscription"),
        unit_amount=int(Decimal(exact)) if exact is not None and whole else None,
        unit_amount_decimal=exact,
    )
    for name in ("net_amount", "quantity_decimal", "proration_details"):
        told.pop(name, None)
    if owner.get("subscription_item"):
        told["subscription_item"] = owner["subscription_item"]


def discount(store: Store, told: Object) -> None:
    """The coupon stood there whole; deleted ones are kept."""
    told["coupon"] = _found(store, told.pop("source")["coupon"])


def promotion_code(store: Store, told: Object) -> None:
    told["coupon"] = _found(store, told.pop("promotion")["coupon"])


def invoice_of(store: Store, intent_id: str | None) -> str | None:
    """The invoice that an intent pays, which intents and charges named themselves."""
    return _last(store, "$.invoice", "$.payment.payment_intent", intent_id)


def _intent_of(store: Store, invoice_id: str) -> Object | None:
    return _found(store, _last(store, "$.payment.payment_intent", "$.invoice", invoice_id))


def _last(store: Store, wanted: str, by: str, value: str | None) -> str | None:
    row = store.read(
        "SELECT body ->> ? FROM objects WHERE object = 'invoice_payment' AND body ->> ? = ?"
        " ORDER BY seq DESC LIMIT 1",
        (wanted, by, value),
    ).fetchone()
    return str(row[0]) if row and row[0] is not None else None


def _last_discount(store: Store, told: Object) -> Object | None:
    found = _found(store, told["discounts"][-1]) if told["discounts"] else None
    if found is not None:
        discount(store, found)
    return found


def _price(store: Store, pricing: Object) -> Object | None:
    found = _found(store, (pricing.get("price_details") or {}).get("price"))
    return None if found is None or found.get("deleted") else found


def _plan(price: Object | None) -> Object | None:
    return plan_of(price) if price is not None and price["recurring"] else None


def _found(store: Store, object_id: str | None) -> Object | None:
    row = store.read("SELECT body FROM objects WHERE id = ?", (object_id,)).fetchone()
    return orjson.loads(row[0]) if row else None


def _taxes(taxes: list[Object] | None, *, included: bool = False) -> list[Object]:
    """The taxes as `tax_amounts`; only those that the price includes, if so wanted."""
    return [
        {
            "amount": tax["amount"],
            "inclusive": tax["tax_behavior"] == "inclusive",
            "tax_rate": tax["tax_rate_details"]["tax_rate"],
            "taxability_reason": tax["taxability_reason"],
            "taxable_amount": tax["taxable_amount"],
        }
        for tax in taxes or []
        if not included or tax["tax_behavior"] == "inclusive"
    ]


def _each(amount: int, quantity: int | None) -> str:
    share = Decimal(amount) / (quantity or 1)
    return f"{share.quantize(Decimal('1.000000000000')).normalize():f}"


def _taken(thing: Object, *names: str) -> Object:
    return {name: thing.pop(name) for name in names}
