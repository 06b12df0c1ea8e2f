"""What was charged for a subscription's items and not given back: the ground of every credit.

Owns how charges are read off invoice lines and pending invoice items, and which taxes a credit has.
Reads the store and never writes it. All amounts are in minor units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import invoice_item_parts, tax_rates
from bursar_sandbox.stripe.proration import Part
from bursar_sandbox.stripe.totals import Rate

Body = dict[str, Any]


def open_of(tx: Transaction, subscription: Body) -> list[Part]:
    """The charges for the subscription's items that no credit has undone, oldest first."""
    customer_id, subscription_id = subscription["customer"], subscription["id"]
    items = list(_items(tx, customer_id, subscription_id))
    undone = {name for item in items for name in _credited(item)}
    found = []
    for invoice, line in _lines(tx, customer_id, subscription_id):
        names = {line["id"], _sold(line)["invoice_item"]}
        if line["amount"] > 0 and not names & undone:
            found.append(_of_line(tx, invoice, line))
    for item in items:
        if item["amount"] > 0 and item["invoice"] is None and item["id"] not in undone:
            found.append(_of_item(tx, item))
    return found


def _items(tx: Transaction, customer_id: str, subscription_id: str) -> Iterator[Body]:
    """The prorations of the subscription that count, on invoices and not yet on any."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'invoiceitem' AND customer = ?"
        " AND body ->> '$.proration' = 1 ORDER BY seq",
        (customer_id,),
    ).fetchall()
    for item in map(orjson.loads, (row[0] for row in rows)):
        if item["parent"]["subscription_details"]["subscription"] != subscription_id:
            continue
        invoice = tx.find(item["invoice"]) if item["invoice"] else None
        if invoice is None or invoice.get("status") != "void":
            yield item


def _lines(tx: Transaction, customer_id: str, subscription_id: str) -> Iterator[tuple[Body, Body]]:
    rows = tx.execute(
        "SELECT body, private FROM objects WHERE object = 'invoice' AND customer = ?"
        " AND deleted = 0 AND label != 'void' ORDER BY seq",
        (customer_id,),
    ).fetchall()
    for invoice, private in rows:
        for line in orjson.loads(private or "{}").get("lines", []):
            if _sold(line).get("subscription") == subscription_id:
                yield orjson.loads(invoice), line


def _sold(line: Body) -> Body:
    parent = line["parent"] or {}
    sold: Body = parent.get("subscription_item_details") or {}
    return sold


def _credited(item: Body) -> list[str]:
    """The ids of the lines, or of the item, that a credit undoes."""
    credited = item["proration_details"]["credited_items"]
    if credited is None:
        return []
    if credited["type"] == "invoice_item":
        return [credited["invoice_item"]]
    lines: list[str] = credited["invoice_line_item_details"]["invoice_line_items"]
    return lines


def _of_line(tx: Transaction, invoice: Body, line: Body) -> Part:
    return Part(
        _sold(line)["subscription_item"],
        _name(tx, line),
        line["amount"],
        line["quantity"],
        line["period"]["start"],
        line["period"]["end"],
        line["pricing"],
        tuple((part["discount"], part["amount"]) for part in line["discount_amounts"]),
        tuple(tax["tax_rate_details"]["tax_rate"] for tax in line["taxes"]),
        {
            "invoice_line_item_details": {
                "invoice": invoice["id"],
                "invoice_line_items": [line["id"]],
            },
            "type": "invoice_line_items",
        },
    )


def _of_item(tx: Transaction, item: Body) -> Part:
    return Part(
        item["parent"]["subscription_details"]["subscription_item"],
        _name(tx, item),
        item["amount"],
        item["quantity"],
        item["period"]["start"],
        item["period"]["end"],
        item["pricing"],
        tuple(
            (part["discount"], part["amount"])
            for part in item["proration_details"]["discount_amounts"]
        ),
        tuple(rate["id"] for rate in item["tax_rates"]) or None,
        {"invoice_item": item["id"], "type": "invoice_item"},
    )


def _name(tx: Transaction, sold: Body) -> str:
    price = tx.find(sold["pricing"]["price_details"]["price"])
    return (invoice_item_parts.name_of(tx, price) if price else None) or ""


def rates_of_credit(tx: Transaction, line: Body) -> list[tuple[Body, Rate]] | None:
    """The rates that tax a credit's line: those of the charge it undoes, though none may have been.

    None for any other line, and for a credit of what no invoice has charged yet.
    """
    credited = (_sold(line).get("proration_details") or {}).get("credited_items")
    if credited is None:
        return None
    found: list[tuple[Body, Rate]] = []
    for charge in tx.private(credited["invoice"]).get("lines", []):
        for tax in charge["taxes"] if charge["id"] in credited["invoice_line_items"] else []:
            rate = tx.find(tax["tax_rate_details"]["tax_rate"])
            if rate is not None:
                found.append((rate, tax_rates.reckoned(rate, _reason(tax))))
    return found


def _reason(tax: Body) -> str | None:
    reason = tax["taxability_reason"]
    return None if reason == "not_available" else str(reason)
