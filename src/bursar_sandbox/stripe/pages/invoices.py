"""An invoice as its customer sees it, at the address that the invoice carries, and as a PDF.

Owns its words and the route of its PDF. It only reads: the page, with the form to pay an open one,
is `invoice_paying`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import hosted_invoices, invoice_payments, invoices
from bursar_sandbox.stripe.pages import pdf, rendering
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.rhythms import day_of

STATES = {
    "open": "To be paid",
    "paid": "Paid",
    "uncollectible": "Written off",
    "void": "Void: nothing is owed",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """An invoice in words; `sums` are rows of a label and an amount."""

    number: str
    state: str
    customer: str
    created: str
    due: str
    lines: tuple[tuple[str, str, str], ...]
    sums: tuple[tuple[str, str], ...]
    total: str
    left: str
    renews: bool
    note: str
    receipt_url: str
    pdf_url: str


async def download(request: Request) -> Response:
    """GET /i/{invoice_id}/pdf: the same on paper."""
    invoice = _shown(request)
    if invoice is None:
        return unknown()
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="Invoice-{_plain(invoice.number)}.pdf"',
        "x-content-type-options": "nosniff",
    }
    return Response(pdf.document(_text(invoice)), media_type="application/pdf", headers=headers)


def unknown() -> Response:
    """The page of an address at which there is no invoice."""
    values: dict[str, object] = {"state": "unknown", "order": None}
    return rendering.page("closed.html", values, status=404)


def _shown(request: Request) -> Shown | None:
    with request.app.state.store.transaction() as tx:
        invoice = hosted_invoices.find(tx, request.path_params["invoice_id"])
        return None if invoice is None else words_of(tx, invoice)


def words_of(tx: Transaction, invoice: dict[str, Any]) -> Shown:
    """The invoice as its page and its paper say it."""
    currency = invoice["currency"]
    lines = invoices.lines_of(tx, invoice)
    discount = sum(part["amount"] for part in invoice["total_discount_amounts"])
    tax = sum(part["amount"] for part in invoice["total_taxes"])
    sums = [("Subtotal", format_amount(invoice["subtotal"], currency))]
    if discount:
        sums.append(("Discount", format_amount(-discount, currency)))
    if tax:
        sums.append(("Tax", format_amount(tax, currency)))
    applied = invoice["amount_due"] - invoice["total"]
    if applied:
        sums.append(("From the customer’s balance", format_amount(applied, currency)))
    intent = invoice_payments.intent_of(tx, invoice) or {}
    charge = tx.find(intent.get("latest_charge") or "") or {}
    return Shown(
        number=invoice["number"],
        state=STATES[invoice["status"]],
        customer=invoice["customer_name"] or invoice["customer_email"] or "the customer",
        created=day_of(invoice["effective_at"]),
        due=day_of(invoice["due_date"]) if invoice["due_date"] else "",
        lines=tuple(_line(line, currency) for line in lines),
        sums=tuple(sums),
        total=format_amount(invoice["amount_due"] if applied else invoice["total"], currency),
        left=format_amount(invoice["amount_remaining"], currency),
        renews=(invoice["parent"] or {}).get("subscription_details") is not None
        and invoice["collection_method"] == "charge_automatically",
        note=invoice["description"] or "",
        receipt_url=charge.get("receipt_url") or "",
        pdf_url=f"/i/{invoice['id']}/pdf",
    )


def _line(line: dict[str, Any], currency: str) -> tuple[str, str, str]:
    quantity = line["quantity"] or 1
    detail = f"{quantity:,}" if quantity != 1 else ""
    return line["description"] or "Item", detail, format_amount(line["amount"], currency)


def _text(invoice: Shown) -> list[str]:
    rows = [f"Invoice {invoice.number}", "", f"For {invoice.customer}", f"Of {invoice.created}"]
    if invoice.due:
        rows.append(f"Due {invoice.due}")
    rows += ["", *(f"{name}{' x ' + part if part else ''}: {sum_}" for name, part, sum_
                   in invoice.lines)]  # fmt: skip
    rows += ["", *(f"{label}: {amount}" for label, amount in invoice.sums)]
    rows += [f"Total: {invoice.total}", "", invoice.state]
    return [*rows, "", "Sandbox: plays Stripe. Not Stripe, no money."]


def _plain(number: str) -> str:
    return "".join(c for c in number if c.isascii() and (c.isalnum() or c == "-"))


routes = [
    Route("/i/{invoice_id}/pdf", download, methods=["GET"]),
]
