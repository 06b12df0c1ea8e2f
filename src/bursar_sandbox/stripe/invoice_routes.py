"""The routes of invoices and of their payments.

`invoices` owns the object, `invoice_payments` how one is paid.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    cards,
    events,
    invoice_balances,
    invoice_payments,
    invoices,
    lists,
    records,
)
from bursar_sandbox.stripe import invoice_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.currencies import check_charge, check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter

_OPEN_ONLY = (
    "This invoice can't be {what}: it has a status of {status}, and only an open or uncollectible "
    "invoice can."
)


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    fields.check_played(params)
    if not params.given("customer"):
        raise missing_parameter("customer")
    customer = records.get(tx, "customer", params.need_text("customer"), param="customer")
    currency = params.text("currency")
    asked = check_currency(currency) if currency else None
    behavior = params.choice("pending_invoice_items_behavior", ("exclude", "include"), "exclude")
    items = _loose_items(tx, customer["id"], asked) if behavior == "include" else []
    used = asked or (items[0]["currency"] if items else customer["currency"] or "usd")
    invoice = invoices.blank(tx, customer, used)
    fields.describe(tx, invoice, params)
    invoices.add(tx, invoice, items)
    _go_on(tx, invoice)
    return invoice


def _loose_items(tx: Transaction, customer_id: str, currency: str | None) -> list[dict[str, Any]]:
    """What waits for any invoice of the customer; items of a subscription wait for its next one."""
    pending = invoices.pending_items(tx, customer_id, currency)
    return [item for item in pending if item["parent"] is None]


def _go_on(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Have a draft that goes on by itself do so in an hour."""
    if invoice["auto_advance"] and invoice["status"] == "draft":
        due = tx.now + invoices.FINALIZE_SECONDS
        invoice["automatically_finalizes_at"] = due
        records.replace(tx, invoice)
        tx.store.schedule(tx, due, "invoice.advance", invoice["id"])


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "invoice", call.ids[0], param="invoice", in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    fields.check_played(params)
    before = retrieve(call)
    if before["status"] != "draft" and set(params.fields) - {
        "auto_advance", "description", "expand", "footer", "metadata", "number",
    }:  # fmt: skip
        raise StripeError(
            "Finalized invoices can't be updated in this way. For more details see "
            "https://stripe.com/docs/invoicing/invoice-edits",
            code="invoice_not_editable",
        )
    invoice = {**before, "payment_settings": dict(before["payment_settings"])}
    fields.describe(call.tx, invoice, params)
    records.replace(call.tx, invoice)
    if invoice["auto_advance"] and not before["auto_advance"]:
        _go_on(call.tx, invoice)
    events.emit_update(call.tx, before, invoice)
    return invoice


def delete(call: Call) -> dict[str, Any]:
    invoice = retrieve(call)
    if invoice["status"] != "draft":
        raise StripeError(
            "You can only delete draft invoices. To delete this invoice, please void it instead.",
            code="invoice_not_editable",
        )
    return invoices.discard(call.tx, invoice)


def finalize(call: Call) -> dict[str, Any]:
    invoice = retrieve(call)
    if invoice["status"] != "draft":
        raise StripeError(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    if call.params.given("auto_advance"):
        invoice["auto_advance"] = call.params.boolean("auto_advance")
    _finalize(call.tx, invoice)
    return invoice


def _finalize(tx: Transaction, invoice: dict[str, Any]) -> None:
    if invoice["amount_due"]:
        check_charge(invoice["amount_due"], invoice["currency"], "Invoice amount due", "amount_due")
    invoice_payments.finalize(tx, invoice)


def pay(call: Call) -> dict[str, Any]:
    tx = call.tx
    invoice = retrieve(call)
    if invoice["status"] == "paid":
        raise StripeError("Invoice is already paid")
    if invoice["status"] == "void":
        raise StripeError("This invoice can't be paid because it is void.")
    method = _method(call, invoice)
    if invoice["status"] == "draft":
        _finalize(tx, invoice)
    if invoice["status"] == "paid":
        return invoice
    if method is None:
        invoice_payments.paid_elsewhere(tx, invoice)
        return invoice
    reason = invoice_payments.pay(tx, invoice, method)
    if reason is not None:
        intent = invoice_payments.intent_of(tx, invoice) or {}
        charge = (intent.get("last_payment_error") or {}).get("charge")
        raise cards.refusal(reason, keeps=True, charge=charge)
    return invoice


def _method(call: Call, invoice: dict[str, Any]) -> dict[str, Any] | None:
    """What to pay with; None when the money came outside of Stripe. Raises StripeError."""
    tx, params = call.tx, call.params
    if params.boolean("paid_out_of_band"):
        return None
    for name in ("payment_method", "source"):
        if params.given(name):
            return invoice_payments.usable_method(tx, invoice, params.need_text(name))
    found = invoice_payments.default_method(tx, invoice)
    if found is None and invoice["amount_due"]:
        raise StripeError(
            "There is no `default_payment_method` set on this Customer or Invoice. Please set "
            "either the `default_payment_method` on the Customer, or Invoice, and try again.",
            code="resource_missing",
            param="default_payment_method",
        )
    return found


def send(call: Call) -> dict[str, Any]:
    invoice = retrieve(call)
    if invoice["status"] not in ("draft", "open", "paid"):
        raise StripeError(f"You can't send an invoice with a status of {invoice['status']}.")
    if invoice["status"] != "paid" and invoice["collection_method"] != "send_invoice":
        raise StripeError(
            "You can only manually send an invoice if its collection method is 'send_invoice'."
        )
    if invoice["customer_email"] is None:
        raise StripeError(
            "Missing email. In order to create invoices that are sent to the customer, the "
            "customer must have a valid email.",
            code="email_invalid",
        )
    if invoice["status"] == "draft":
        _finalize(call.tx, invoice)
    events.emit(call.tx, "invoice.sent", invoice)
    return invoice


def void(call: Call) -> dict[str, Any]:
    invoice = _owed(call, "voided")
    invoice_payments.abandon(call.tx, invoice)
    invoice_balances.give_back(call.tx, invoice)
    invoices.close(call.tx, invoice, "void", "voided_at", "invoice.voided")
    return invoice


def mark_uncollectible(call: Call) -> dict[str, Any]:
    invoice = _owed(call, "marked uncollectible")
    invoices.close(
        call.tx,
        invoice,
        "uncollectible",
        "marked_uncollectible_at",
        "invoice.marked_uncollectible",
    )
    return invoice


def _owed(call: Call, what: str) -> dict[str, Any]:
    invoice = retrieve(call)
    if invoice["status"] not in ("open", "uncollectible"):
        raise StripeError(_OPEN_ONLY.format(what=what, status=invoice["status"]))
    return invoice


def index(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("invoice")
    query.equal(params, "collection_method", "customer", "customer_account", "status")
    if params.given("subscription"):
        query.add("body ->> '$.parent.subscription_details.subscription' = ?",
                  params.text("subscription"))  # fmt: skip
    bounds = params.table("due_date") if isinstance(params.fields.get("due_date"), dict) else None
    if bounds is not None:
        for name, sign in (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")):
            if bounds.given(name):
                query.add(f"body ->> '$.due_date' {sign} ?", bounds.need_integer(name))
    return lists.page(call, query)


def list_lines(call: Call) -> dict[str, Any]:
    return lists.page_of(call, invoices.lines_of(call.tx, retrieve(call)), "line_item")


def retrieve_payment(call: Call) -> dict[str, Any]:
    return records.get(
        call.tx, "invoice_payment", call.ids[0], param="invoice_payment", in_path=True
    )


def list_payments(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("invoice_payment")
    query.equal(params, "invoice", "status")
    payment = params.table("payment")
    if payment is not None:
        for name in ("payment_intent", "type"):
            if payment.given(name):
                query.add(f"body ->> '$.payment.{name}' = ?", payment.text(name))
    return lists.page(call, query)


routes = [
    route("POST", "/v1/invoices", create, fields.CREATE),
    route(
        "GET",
        "/v1/invoices",
        index,
        f"{lists.PAGING} collection_method customer customer_account due_date status subscription",
    ),
    route("GET", "/v1/invoices/*", retrieve),
    route("POST", "/v1/invoices/*", update, fields.UPDATE),
    route("DELETE", "/v1/invoices/*", delete),
    route("POST", "/v1/invoices/*/finalize", finalize, "auto_advance"),
    route(
        "POST",
        "/v1/invoices/*/pay",
        pay,
        "forgive mandate off_session paid_out_of_band payment_method source",
    ),
    route("POST", "/v1/invoices/*/send", send),
    route("POST", "/v1/invoices/*/void", void),
    route("POST", "/v1/invoices/*/mark_uncollectible", mark_uncollectible),
    route("GET", "/v1/invoices/*/lines", list_lines, "limit starting_after ending_before"),
    route(
        "GET",
        "/v1/invoice_payments",
        list_payments,
        f"{lists.PAGING} invoice payment status",
    ),
    route("GET", "/v1/invoice_payments/*", retrieve_payment),
]
