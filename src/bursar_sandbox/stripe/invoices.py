"""Invoices: drafted, finalized, voided, written off.

Owns the invoice's object, its lines and its status. How one is paid, `invoice_payments` owns. All
amounts are in minor units.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    customer_discounts,
    events,
    invoice_lines,
    records,
    subscription_states,
    subscription_totals,
)
from bursar_sandbox.stripe.ids import new_id

FINALIZE_SECONDS = 3600
"""How long an invoice stays a draft that goes on by itself."""


def blank(tx: Transaction, customer: dict[str, Any], currency: str) -> dict[str, Any]:
    """A new draft without lines, not stored yet."""
    return {
        "id": new_id("in"),
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "account_tax_ids": None,
        "application": None,
        "auto_advance": False,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": "manual",
        "collection_method": "charge_automatically",
        "created": tx.now,
        "currency": currency,
        "custom_fields": customer["invoice_settings"]["custom_fields"],
        **_buyer(customer),
        **_nothing_yet(),
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": customer["invoice_settings"]["footer"],
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {},
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": None,
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": tx.now,
        "period_start": tx.now,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "test_clock": None,
        "webhooks_delivered_at": tx.now,
    }


def _nothing_yet() -> dict[str, Any]:
    return {
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


def _buyer(customer: dict[str, Any]) -> dict[str, Any]:
    return {
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
    }


def add(tx: Transaction, invoice: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """Store a new draft over these invoice items, which are stored already."""
    lines = [invoice_lines.of_item(item, invoice["id"]) for item in items]
    terms = customer_discounts.in_force(tx, invoice["customer"])
    subscription_totals.reckon(tx, invoice, lines, terms)
    records.insert(tx, invoice, {"lines": lines, "terms": terms})
    for item in items:
        records.replace(tx, {**item, "invoice": invoice["id"]})
    events.emit(tx, "invoice.created", invoice)
    customer_discounts.spend(tx, invoice["customer"], lines)


def pending_items(tx: Transaction, customer_id: str, currency: str | None) -> list[dict[str, Any]]:
    """The customer's items that stand on no invoice yet, oldest first, of one currency."""
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'invoiceitem' AND customer = ?"
        " AND parent IS NULL ORDER BY seq",
        (customer_id,),
    ).fetchall()
    found = [records.get(tx, "invoiceitem", row[0]) for row in rows]
    used = currency or (found[0]["currency"] if found else None)
    return [item for item in found if item["currency"] == used]


def take_items(tx: Transaction, invoice: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """Put more items on a draft."""
    lines = lines_of(tx, invoice)
    _relined(
        tx, invoice, lines + [invoice_lines.of_item(item, invoice["id"]) for item in items]
    )  # fmt: skip


def change_item(tx: Transaction, invoice: dict[str, Any], item: dict[str, Any]) -> None:
    """Show an item of a draft as it is now."""
    lines = [
        {**invoice_lines.of_item(item, invoice["id"]), "id": line["id"]}
        if _item_id(line) == item["id"]
        else line
        for line in lines_of(tx, invoice)
    ]
    _relined(tx, invoice, lines)


def drop_item(tx: Transaction, invoice: dict[str, Any], item_id: str) -> None:
    """Take an item off a draft."""
    _relined(tx, invoice, [line for line in lines_of(tx, invoice) if _item_id(line) != item_id])


def _item_id(line: dict[str, Any]) -> str:
    parent = line["parent"]
    details = parent["invoice_item_details"] or parent["subscription_item_details"]
    return str(details["invoice_item"])


def lines_of(tx: Transaction, invoice: dict[str, Any]) -> list[dict[str, Any]]:
    """All the lines of an invoice."""
    lines: list[dict[str, Any]] = tx.private(invoice["id"])["lines"]
    return lines


def _relined(tx: Transaction, before: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    invoice = dict(before)
    if lines:
        invoice["currency"] = lines[0]["currency"]
    terms = tx.private(invoice["id"]).get("terms", [])
    subscription_totals.reckon(tx, invoice, lines, terms)
    records.replace(tx, invoice)
    records.replace_private(tx, invoice["id"], {**tx.private(invoice["id"]), "lines": lines})
    events.emit_update(tx, before, invoice)


def set_sums(invoice: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Show these lines, and what they come to without any discount or tax."""
    subtotal = sum(line["amount"] for line in lines)
    due = max(subtotal, 0)
    invoice.update(
        amount_due=due,
        amount_remaining=due,
        lines=invoice_lines.shown(invoice["id"], lines),
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=subtotal,
        total_excluding_tax=subtotal,
    )


def open_up(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Give a draft its number and its page: from here on it is not edited any more."""
    customer = records.get(tx, "customer", invoice["customer"])
    sequence = customer["next_invoice_sequence"]
    records.replace(tx, {**customer, "next_invoice_sequence": sequence + 1})
    url = f"{tx.base_url}/i/{invoice['id']}"
    invoice.update(
        _buyer(customer),
        auto_advance=invoice["collection_method"] == "charge_automatically"
        and invoice["auto_advance"],
        automatically_finalizes_at=None,
        effective_at=invoice["effective_at"] or tx.now,
        ending_balance=invoice["ending_balance"] or 0,
        hosted_invoice_url=url,
        invoice_pdf=f"{url}/pdf",
        number=invoice["number"] or f"{customer['invoice_prefix']}-{sequence:04d}",
        status="open",
    )
    invoice["status_transitions"]["finalized_at"] = tx.now


def mark_paid(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Close an open invoice: nothing is owed any more."""
    before = {**invoice, "status_transitions": dict(invoice["status_transitions"])}
    invoice.update(
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status="paid",
    )
    invoice["status_transitions"]["paid_at"] = tx.now
    records.replace(tx, invoice)
    events.emit_update(tx, before, invoice)
    events.emit(tx, "invoice.paid", invoice)
    events.emit(tx, "invoice.payment_succeeded", invoice)
    subscription_states.paid(tx, invoice)


def close(tx: Transaction, invoice: dict[str, Any], status: str, moment: str, event: str) -> None:
    """Give up what is owed: `void` for a mistake, `uncollectible` for a bad debt."""
    invoice.update(status=status, auto_advance=False, next_payment_attempt=None)
    invoice["status_transitions"][moment] = tx.now
    records.replace(tx, invoice)
    events.emit(tx, event, invoice)
    subscription_states.closed(tx, invoice)


def discard(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any]:
    """Delete a draft; its items wait for the customer's next invoice again."""
    for line in lines_of(tx, invoice):
        item = tx.find(_item_id(line))
        if item is not None and not item.get("deleted"):
            records.replace(tx, {**item, "invoice": None})
    events.emit(tx, "invoice.deleted", invoice)
    return records.delete(tx, invoice)
