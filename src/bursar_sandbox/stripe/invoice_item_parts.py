"""What an invoice item is made of: its object, its price and how that is shown.

Owns the item's shape. It stores the prices it makes up, and nothing else.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import pricing, products, records
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params


def blank(tx: Transaction, customer_id: str, currency: str) -> dict[str, Any]:
    """A new item that costs nothing yet, not stored."""
    return {
        "id": new_id("ii"),
        "object": "invoiceitem",
        "amount": 0,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "date": tx.now,
        "description": None,
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "net_amount": 0,
        "parent": None,
        "period": {"end": tx.now, "start": tx.now},
        "pricing": None,
        "proration": False,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": None,
    }


def of_sold(tx: Transaction, customer_id: str, sold: dict[str, Any]) -> dict[str, Any]:
    """The item for something that a checkout session has sold, not stored."""
    quantity = sold["quantity"]
    return {
        **blank(tx, customer_id, sold["currency"]),
        "amount": sold["amount_subtotal"],
        "description": sold["description"],
        "net_amount": sold["amount_subtotal"] - sold["amount_discount"],
        "pricing": shown(sold["price"]),
        "quantity": quantity,
        "quantity_decimal": str(quantity),
    }


def shown(price: dict[str, Any]) -> dict[str, Any]:
    """An item's `pricing` by a price."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def made_up(
    tx: Transaction, unit: Decimal, currency: str, description: str | None
) -> dict[str, Any]:
    """An item's `pricing` by an amount alone: Stripe makes a price for it that nobody else uses."""
    product = products.new(tx, Params({"name": description or "Invoice item"}))
    product["active"] = False
    records.insert(tx, product)
    # An item may take money off, which no price can; the price says nothing then.
    fields = {"currency": currency, "unit_amount_decimal": f"{max(unit, Decimal(0)):f}"}
    price, private = pricing.build(tx, Params(fields), product["id"])
    price["active"] = False
    records.insert(tx, price, private)
    return {**shown(price), "unit_amount_decimal": f"{unit:f}"}


def name_of(tx: Transaction, price: dict[str, Any]) -> str | None:
    """What the price is for."""
    product = records.get(tx, "product", price["product"], deleted=True)
    name: str | None = product.get("name")
    return name
