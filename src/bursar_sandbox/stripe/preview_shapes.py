"""What a preview looks like: an invoice that is not there, with lines that are not there either.

Owns the previewed invoice's shape. Never stores anything.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import invoice_lines, invoices, subscription_totals
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.subscription_invoices import Draft


def shown(draft: Draft, at: int | None) -> dict[str, Any]:
    """The draft as a preview answers it; `at` is the moment that shares were reckoned from."""
    invoice = draft.invoice
    preview_id = new_id("upcoming_in")
    lines = [{**line, "id": new_id("il_tmp"), "invoice": preview_id} for line in draft.lines]
    parent = invoice["parent"]
    if parent is not None and at is not None:
        details = {**parent["subscription_details"], "subscription_proration_date": at}
        parent = {**parent, "subscription_details": details}
    return {
        **invoice,
        "id": preview_id,
        "automatically_finalizes_at": None,
        "billing_reason": "upcoming",
        "ending_balance": _ending_balance(invoice),
        # All of them, since a preview can't be asked for the rest.
        "lines": {
            "object": "list",
            "data": lines,
            "has_more": False,
            "url": f"/v1/invoices/{preview_id}/lines",
        },
        "parent": parent,
        "webhooks_delivered_at": None,
    }


def _ending_balance(invoice: dict[str, Any]) -> int:
    """The customer's balance after the invoice: what is over becomes credit."""
    used = invoice["amount_due"] - invoice["total"] if invoice["total"] > 0 else 0
    return int(invoice["starting_balance"] - used + min(invoice["total"], 0))


def loose(tx: Transaction, customer: dict[str, Any], items: list[dict[str, Any]]) -> Draft:
    """The draft of an invoice over the customer's waiting items and these, for no subscription."""
    currency = items[0]["currency"]
    invoice = invoices.blank(tx, customer, currency)
    pending = invoices.pending_items(tx, customer["id"], currency)
    every = [*(item for item in pending if item["parent"] is None), *items]
    lines = [invoice_lines.of_item(item, invoice["id"]) for item in every]
    subscription_totals.reckon(tx, invoice, lines, [])
    return Draft(invoice, lines, every, [])
