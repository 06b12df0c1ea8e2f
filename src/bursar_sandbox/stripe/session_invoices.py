"""Invoices over what a checkout session has sold.

Owns how a session's lines, discounts and taxes become those of an invoice. How it is paid,
`invoice_payments` owns.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, invoice_item_parts, invoice_lines, invoices, records


def write(tx: Transaction, session: dict[str, Any], customer: dict[str, Any]) -> dict[str, Any]:
    """The stored, open invoice over what the session has sold; the caller has it paid.

    The session names it from here on.
    """
    wanted = session["invoice_creation"]["invoice_data"]
    invoice = invoices.blank(tx, customer, session["currency"])
    for name in ("account_tax_ids", "custom_fields", "footer"):
        invoice[name] = wanted[name] or invoice[name]
    invoice.update(description=wanted["description"], metadata=wanted["metadata"])
    lines = [_sold(tx, invoice, sold) for sold in tx.private(session["id"])["line_items"]]
    invoices.set_sums(invoice, lines)
    _take_totals(tx, invoice, session)
    invoices.open_up(tx, invoice)
    records.insert(tx, invoice, {"lines": lines})
    events.emit(tx, "invoice.created", {**invoice, "number": None, "status": "draft"})
    events.emit(tx, "invoice.finalized", invoice)
    session["invoice"] = invoice["id"]
    return invoice


def _sold(tx: Transaction, invoice: dict[str, Any], sold: dict[str, Any]) -> dict[str, Any]:
    item = invoice_item_parts.of_sold(tx, invoice["customer"], sold)
    item["invoice"] = invoice["id"]
    records.insert(tx, item)
    parts = tx.private(sold["id"])
    return invoice_lines.of_sold(parts.get("discounts", []), item, parts.get("taxes", []))


def _take_totals(tx: Transaction, invoice: dict[str, Any], session: dict[str, Any]) -> None:
    """The session's discounts and taxes are the invoice's: the buyer has paid just that."""
    total, parts = session["amount_total"], tx.private(session["id"]).get("breakdown", {})
    tax = session["total_details"]["amount_tax"]
    taken = invoice_lines.discounts_of(parts.get("discounts", []))
    invoice.update(
        amount_due=total,
        amount_remaining=total,
        discounts=[part["discount"] for part in taken],
        subtotal=session["amount_subtotal"],
        subtotal_excluding_tax=session["amount_subtotal"] - _included(parts.get("taxes", [])),
        total=total,
        total_discount_amounts=taken,
        total_excluding_tax=total - tax,
        total_pretax_credit_amounts=[{**part, "type": "discount"} for part in taken],
        total_taxes=invoice_lines.taxes_of(parts.get("taxes", [])),
    )
    if session["automatic_tax"]["enabled"]:
        invoice["automatic_tax"].update(
            enabled=True, liability={"type": "self"}, provider="stripe", status="complete"
        )


def _included(taxes: list[dict[str, Any]]) -> int:
    return sum(part["amount"] for part in taxes if part["rate"]["inclusive"])
