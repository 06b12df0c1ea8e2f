"""The invoice lines of subscription items: a period at its full price, a trial, a part of a period.

Owns how such a line is described and what an item costs. All amounts are in minor units. Reads the
store and never writes it.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import invoice_item_parts
from bursar_sandbox.stripe.currencies import shown
from bursar_sandbox.stripe.errors import StripeError, not_played
from bursar_sandbox.stripe.ids import new_id


def unit_of(tx: Transaction, price: dict[str, Any], currency: str, param: str) -> Decimal:
    """What one costs in the currency. Raises StripeError for a price that can't be billed so."""
    source = price
    if currency != price["currency"]:
        options = tx.private(price["id"]).get("currency_options", {})
        if currency not in options:
            raise StripeError(
                f"The price specified only supports `{price['currency']}`. This doesn't match the "
                f"expected currency: `{currency}`.",
                param=param,
            )
        source = options[currency]
    if source["unit_amount_decimal"] is None:
        raise not_played("tiered prices of subscriptions", param)
    return Decimal(source["unit_amount_decimal"])


def amount_of(
    tx: Transaction, price: dict[str, Any], quantity: int, currency: str, param: str = "items"
) -> int:
    """What so many cost for one whole period. Raises StripeError as `unit_of` does."""
    unit = unit_of(tx, price, currency, param)
    transform = price["transform_quantity"]
    if transform is not None:
        whole, rest = divmod(quantity, transform["divide_by"])
        quantity = whole + (1 if rest and transform["round"] == "up" else 0)
    return int((unit * quantity).quantize(Decimal(1), ROUND_HALF_UP))


def of_period(
    tx: Transaction,
    subscription: dict[str, Any],
    item: dict[str, Any],
    share: Decimal = Decimal(1),
) -> dict[str, Any]:
    """The line of an item's current period; `share` says how much of a whole one it is."""
    currency = subscription["currency"]
    whole = amount_of(tx, item["price"], item["quantity"], currency)
    amount = int((whole * share).quantize(Decimal(1), ROUND_HALF_UP))
    line = _line(tx, subscription, item, amount)
    line["description"] = described(tx, item, currency)
    line["parent"]["subscription_item_details"]["proration"] = share != 1
    return line


def of_trial(tx: Transaction, subscription: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """The line of an item that is tried for nothing until its current period ends."""
    line = _line(tx, subscription, item, 0)
    line["description"] = f"Trial period for {invoice_item_parts.name_of(tx, item['price'])}"
    line["pricing"]["unit_amount_decimal"] = "0"
    return line


def described(tx: Transaction, item: dict[str, Any], currency: str) -> str:
    """An item in words: `1 × Pro (at $29.00 / month)`."""
    name = invoice_item_parts.name_of(tx, item["price"])
    recurring = item["price"]["recurring"]
    interval, count = recurring["interval"], recurring["interval_count"]
    every = interval if count == 1 else f"every {count} {interval}s"
    unit = unit_of(tx, item["price"], currency, "items")
    money = shown(int(unit.quantize(Decimal(1), ROUND_HALF_UP)), currency)
    if currency == "usd":
        money = money.removesuffix(" usd")
    return f"{item['quantity']} × {name} (at {money} / {every})"


def _line(
    tx: Transaction, subscription: dict[str, Any], item: dict[str, Any], amount: int
) -> dict[str, Any]:
    currency = subscription["currency"]
    pricing = invoice_item_parts.shown(item["price"])
    pricing["unit_amount_decimal"] = f"{unit_of(tx, item['price'], currency, 'items'):f}"
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": None,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": item["metadata"] or subscription["metadata"],
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pretax_credit_amounts": [],
        "pricing": pricing,
        "quantity": item["quantity"],
        "quantity_decimal": str(item["quantity"]),
        "subscription": subscription["id"],
        "subtotal": amount,
        "taxes": [],
    }
