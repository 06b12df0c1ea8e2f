"""The routes of invoices and of their payments.

`invoices` owns the object, `invoice_payments` how one is paid.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    cards,
    events,
    invoice_payments,
    invoices,
    lists,
    metadata,
    records,
)
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.currencies import check_charge, check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.intent_params import payment_method_types
from bursar_sandbox.stripe.params import Params

_UPDATE = (
    "account_tax_ids application_fee_amount auto_advance automatic_tax "
    "automatically_finalizes_at collection_method custom_fields days_until_due "
    "default_payment_method default_source default_tax_rates description discounts due_date "
    "effective_at footer issuer metadata number on_behalf_of payment_settings rendering "
    "shipping_cost shipping_details statement_descriptor transfer_data"
)
_CREATE = (
    f"{_UPDATE} currency customer customer_account from_invoice pending_invoice_items_behavior "
    "subscription"
)
_LATER = ("discounts", "default_tax_rates", "shipping_cost", "subscription", "from_invoice")
_COLLECTIONS = ("charge_automatically", "send_invoice")
_DAY = 24 * 3600
_OPEN_ONLY = (
    "This invoice can't be {what}: it has a status of {status}, and only an open or uncollectible "
    "invoice can."
)


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    _check_played(params)
    if not params.given("customer"):
        raise missing_parameter("customer")
    customer = records.get(tx, "customer", params.need_text("customer"), param="customer")
    currency = params.text("currency")
    asked = check_currency(currency) if currency else None
    behavior = params.choice("pending_invoice_items_behavior", ("exclude", "include"), "exclude")
    items = invoices.pending_items(tx, customer["id"], asked) if behavior == "include" else []
    used = asked or (items[0]["currency"] if items else customer["currency"] or "usd")
    invoice = invoices.blank(tx, customer, used)
    _set(tx, invoice, params)
    invoices.add(tx, invoice, items)
    _go_on(tx, invoice)
    return invoice


def _check_played(params: Params) -> None:
    for name in _LATER:
        if params.given(name):
            raise not_played(f"`{name}` of invoices", name)
    tax = params.table("automatic_tax")
    if tax is not None and tax.boolean("enabled"):
        raise not_played("automatic tax on invoices", "automatic_tax")


def _go_on(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Have a draft that goes on by itself do so in an hour."""
    if invoice["auto_advance"] and invoice["status"] == "draft":
        due = tx.now + invoices.FINALIZE_SECONDS
        invoice["automatically_finalizes_at"] = due
        records.replace(tx, invoice)
        tx.store.schedule(tx, due, "invoice.advance", invoice["id"])


def _set(tx: Transaction, invoice: dict[str, Any], params: Params) -> None:
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


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "invoice", call.ids[0], param="invoice", in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    _check_played(params)
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
    _set(call.tx, invoice, params)
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
    route("POST", "/v1/invoices", create, _CREATE),
    route(
        "GET",
        "/v1/invoices",
        index,
        f"{lists.PAGING} collection_method customer customer_account due_date status subscription",
    ),
    route("GET", "/v1/invoices/*", retrieve),
    route("POST", "/v1/invoices/*", update, _UPDATE),
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
