"""The lines of invoices: from invoice items, or from what a checkout session has sold.

Owns the line's shape and the sums over lines, in minor units. Never stores anything.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe.ids import new_id


def of_item(item: dict[str, Any], invoice_id: str) -> dict[str, Any]:
    """The line of an invoice item."""
    line = _line(invoice_id, item["id"], item["amount"], item["currency"])
    line.update(
        description=item["description"],
        discountable=item["discountable"],
        metadata=item["metadata"],
        period=item["period"],
        pricing=item["pricing"],
        quantity=item["quantity"],
        quantity_decimal=item["quantity_decimal"],
    )
    if item["parent"] is not None:
        _belong(line, item)
    return line


def _belong(line: dict[str, Any], item: dict[str, Any]) -> None:
    """Say for which subscription the item is; a proration brings its discounts along."""
    owner = item["parent"]["subscription_details"]
    line["subscription"] = owner["subscription"]
    if not item["proration"]:
        line["parent"]["invoice_item_details"]["subscription"] = owner["subscription"]
        return
    details = item["proration_details"]
    taken = details["discount_amounts"]
    credited = (details["credited_items"] or {}).get("invoice_line_item_details")
    line["parent"] = {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": item["id"],
            "proration": True,
            "proration_details": {"credited_items": credited},
            "subscription": owner["subscription"],
            "subscription_item": owner["subscription_item"],
        },
        "type": "subscription_item_details",
    }
    line.update(
        discount_amounts=taken,
        discounts=[part["discount"] for part in taken],
        pretax_credit_amounts=[{**part, "type": "discount"} for part in taken],
    )


def of_sold(
    discounts: list[dict[str, Any]], item: dict[str, Any], taxes: list[dict[str, Any]]
) -> dict[str, Any]:
    """The line of something that a session has sold, with the discount and taxes it had there."""
    taken = discounts_of(discounts)
    return {
        **of_item(item, item["invoice"]),
        "discount_amounts": taken,
        "discounts": [part["discount"] for part in taken],
        "pretax_credit_amounts": [{**part, "type": "discount"} for part in taken],
        "taxes": taxes_of(taxes),
    }


def discounts_of(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A session's discounts, of a line or of the whole, as an invoice shows them."""
    return [
        {"amount": part["amount"], "discount": part["discount"]["id"]}
        for part in parts
        if part["amount"]
    ]


def taxes_of(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A session's taxes, of a line or of the whole, as an invoice shows them."""
    return [
        {
            "amount": part["amount"],
            "tax_behavior": "inclusive" if part["rate"]["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": part["rate"]["id"]},
            "taxability_reason": part["taxability_reason"] or "not_available",
            "taxable_amount": part["taxable_amount"],
            "type": "tax_rate_details",
        }
        for part in parts
    ]


def _line(invoice_id: str, item_id: str, amount: int, currency: str) -> dict[str, Any]:
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": None,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": {},
        "parent": {
            "invoice_item_details": {
                "invoice_item": item_id,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": None,
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        },
        "period": {"end": 0, "start": 0},
        "pretax_credit_amounts": [],
        "pricing": None,
        "quantity": 1,
        "quantity_decimal": "1",
        "subscription": None,
        "subtotal": amount,
        "taxes": [],
    }


def shown(invoice_id: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """An invoice's `lines`: the first ten of them, as a list object."""
    return {
        "object": "list",
        "data": lines[:10],
        "has_more": len(lines) > 10,
        "url": f"/v1/invoices/{invoice_id}/lines",
    }
