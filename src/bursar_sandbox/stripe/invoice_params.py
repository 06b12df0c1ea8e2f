"""Reads an invoice's parameters: which there are, and what they make of the object.

Never stores an invoice and never emits an event.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import invoice_payments, metadata
from bursar_sandbox.stripe.errors import StripeError, not_played
from bursar_sandbox.stripe.intent_params import payment_method_types
from bursar_sandbox.stripe.params import Params

UPDATE = (
    "account_tax_ids application_fee_amount auto_advance automatic_tax "
    "automatically_finalizes_at collection_method custom_fields days_until_due "
    "default_payment_method default_source default_tax_rates description discounts due_date "
    "effective_at footer issuer metadata number on_behalf_of payment_settings rendering "
    "shipping_cost shipping_details statement_descriptor transfer_data"
)
CREATE = (
    f"{UPDATE} currency customer customer_account from_invoice pending_invoice_items_behavior "
    "subscription"
)
_LATER = ("discounts", "default_tax_rates", "shipping_cost", "subscription", "from_invoice")
_COLLECTIONS = ("charge_automatically", "send_invoice")
_DAY = 24 * 3600


def check_played(params: Params) -> None:
    """Raise StripeError for what the sandbox's invoices don't do yet."""
    for name in _LATER:
        if params.given(name):
            raise not_played(f"`{name}` of invoices", name)
    tax = params.table("automatic_tax")
    if tax is not None and tax.boolean("enabled"):
        raise not_played("automatic tax on invoices", "automatic_tax")


def describe(tx: Transaction, invoice: dict[str, Any], params: Params) -> None:
    """Set what the parameters name of an invoice. Raises StripeError."""
    invoice["metadata"] = metadata.merged(params, invoice["metadata"])
    for name in ("description", "footer", "statement_descriptor"):
        if name in params:
            invoice[name] = params.text(name)
    if params.given("number"):
        invoice["number"] = params.text("number", limit=26)
    if params.given("auto_advance"):
        invoice["auto_advance"] = params.boolean("auto_advance")
    if params.given("effective_at"):
        invoice["effective_at"] = params.need_integer("effective_at")
    if "custom_fields" in params:
        rows = params.rows("custom_fields")
        invoice["custom_fields"] = [
            {"name": row.need_text("name"), "value": row.need_text("value")} for row in rows
        ] or None
    _set_collection(tx, invoice, params)
    settings = params.table("payment_settings")
    if settings is not None:
        kinds = payment_method_types(settings)
        invoice["payment_settings"]["payment_method_types"] = kinds or None
    if "default_payment_method" in params:
        method_id = params.text("default_payment_method")
        if method_id is not None:
            invoice_payments.usable_method(tx, invoice, method_id)
        invoice["default_payment_method"] = method_id


def _set_collection(tx: Transaction, invoice: dict[str, Any], params: Params) -> None:
    if params.given("collection_method"):
        invoice["collection_method"] = params.choice("collection_method", _COLLECTIONS)
    sent = invoice["collection_method"] == "send_invoice"
    days, due = params.integer("days_until_due", low=0), params.integer("due_date")
    if (days is not None or due is not None) and not sent:
        name = "due_date" if due is not None else "days_until_due"
        raise StripeError(
            f"You can only specify `{name}` if the invoice has its `collection_method` set to "
            "`send_invoice`.",
            param=name,
        )
    if sent:
        late = due if due is not None else tx.now + days * _DAY if days is not None else None
        invoice["due_date"] = late or invoice["due_date"]
        if invoice["due_date"] is None:
            raise StripeError(
                "If `collection_method` is set to `send_invoice`, you must specify either "
                "`days_until_due` or `due_date`.",
                param="collection_method",
            )
    else:
        invoice["due_date"] = None
