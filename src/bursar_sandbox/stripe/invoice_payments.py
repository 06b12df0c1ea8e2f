"""How an invoice is paid: by a payment intent made when it is finalized, or outside of Stripe.

Owns the invoice payment's object and what a payment's outcome means for its invoice.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, intents, invoices, methods, records, session_invoices
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id

ASKS = Decline(
    "invoice_payment_intent_requires_action",
    None,
    "This payment requires additional user action before it can be completed successfully. Payment "
    "can be completed using the PaymentIntent associated with the invoice. For more details see: "
    "https://stripe.com/docs/billing/subscriptions/overview#requires-action",
)


def finalize(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Open a draft for payment; one over nothing is paid at once."""
    invoices.open_up(tx, invoice)
    records.replace(tx, invoice)
    if invoice["amount_due"]:
        _ask_for_payment(tx, invoice)
    events.emit(tx, "invoice.finalized", invoice)
    if not invoice["amount_due"]:
        invoices.mark_paid(tx, invoice)


def _ask_for_payment(tx: Transaction, invoice: dict[str, Any]) -> None:
    kinds = invoice["payment_settings"]["payment_method_types"] or ["card"]
    intent = intents.blank(tx, invoice["amount_due"], invoice["currency"])
    intent.update(
        customer=invoice["customer"],
        description=invoice["description"] or f"Payment for Invoice {invoice['number']}",
        payment_method_options=intents.options_for(kinds),
        payment_method_types=kinds,
        receipt_email=invoice["customer_email"],
        statement_descriptor=invoice["statement_descriptor"],
    )
    intents.add(tx, intent, {"invoice": invoice["id"]})
    _add(tx, invoice, intent["id"])
    private = {**tx.private(invoice["id"]), "intent": intent["id"]}
    records.replace_private(tx, invoice["id"], private)


def _add(tx: Transaction, invoice: dict[str, Any], intent_id: str) -> dict[str, Any]:
    payment = {
        "id": new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": tx.now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent_id, "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    records.insert(tx, payment)
    return payment


def default_method(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any] | None:
    """What the invoice is paid with when nobody says: its own default, or its customer's."""
    customer = records.get(tx, "customer", invoice["customer"])
    for method_id in (
        invoice["default_payment_method"],
        invoice["default_source"],
        customer["invoice_settings"]["default_payment_method"],
        customer["default_source"],
    ):
        if method_id is not None:
            return records.get(tx, "payment_method", method_id, word="PaymentMethod")
    return None


def intent_of(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any] | None:
    """The payment intent of a finalized invoice; None for one over nothing, and for a draft."""
    intent_id = tx.private(invoice["id"]).get("intent")
    return records.get(tx, "payment_intent", intent_id) if intent_id else None


def pay(tx: Transaction, invoice: dict[str, Any], method: dict[str, Any]) -> Decline | None:
    """Try to pay an open invoice with the method; why not, when it isn't paid.

    Raises StripeError when the two don't go together.
    """
    intent = intent_of(tx, invoice)
    if intent is None:
        return None
    if intent["status"] not in intents.CONFIRMABLE:
        raise StripeError(
            f"The invoice's PaymentIntent can't be paid: it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    decline = intents.confirm(tx, intent, method)
    after(tx, intent)
    invoice.update(records.get(tx, "invoice", invoice["id"]))
    return ASKS if intent["status"] == "requires_action" else decline


def after(tx: Transaction, intent: dict[str, Any]) -> None:
    """Tell the invoice, if the payment intent is one's, what its last try came to."""
    invoice_id = tx.private(intent["id"]).get("invoice")
    if invoice_id is None:
        return
    invoice = records.get(tx, "invoice", invoice_id)
    if invoice["status"] not in ("open", "uncollectible") or intent["status"] == "processing":
        return
    invoice["attempt_count"] += 1
    if intent["status"] == "succeeded":
        _settle(tx, invoice, intent["id"])
        return
    invoice["attempted"] = True
    records.replace(tx, invoice)
    events.emit(tx, "invoice.payment_failed", invoice)
    if intent["status"] == "requires_action":
        events.emit(tx, "invoice.payment_action_required", invoice)


def _settle(tx: Transaction, invoice: dict[str, Any], intent_id: str) -> None:
    for payment in payments_of(tx, invoice["id"]):
        if payment["payment"]["payment_intent"] == intent_id:
            payment.update(amount_paid=payment["amount_requested"], status="paid")
            payment["status_transitions"]["paid_at"] = tx.now
            records.replace(tx, payment)
            events.emit(tx, "invoice_payment.paid", payment)
    invoices.mark_paid(tx, invoice)


def payments_of(tx: Transaction, invoice_id: str) -> list[dict[str, Any]]:
    """The invoice's payments, newest first."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'invoice_payment' AND parent = ?"
        " ORDER BY seq DESC",
        (invoice_id,),
    ).fetchall()
    return [orjson.loads(row[0]) for row in rows]


def paid_elsewhere(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Note that the money came outside of Stripe; nobody is asked for it any more."""
    abandon(tx, invoice, "automatic")
    invoice["amount_paid_off_stripe"] = invoice["amount_due"]
    invoices.mark_paid(tx, invoice)


def abandon(tx: Transaction, invoice: dict[str, Any], reason: str = "void_invoice") -> None:
    """Cancel the payment that the invoice waits for."""
    intent = intent_of(tx, invoice)
    if intent is not None and intent["status"] in intents.CANCELABLE:
        intents.cancel(tx, intent, reason)
    for payment in payments_of(tx, invoice["id"]):
        if payment["status"] == "open":
            payment["status"] = "canceled"
            payment["status_transitions"]["canceled_at"] = tx.now
            records.replace(tx, payment)


def of_session(
    tx: Transaction,
    session: dict[str, Any],
    customer: dict[str, Any],
    intent: dict[str, Any] | None,
) -> None:
    """Write the paid invoice over what a session has sold; the session names it."""
    invoice = session_invoices.write(tx, session, customer)
    if intent is not None:
        records.replace_private(
            tx, intent["id"], {**tx.private(intent["id"]), "invoice": invoice["id"]}
        )
        records.replace_private(
            tx, invoice["id"], {**tx.private(invoice["id"]), "intent": intent["id"]}
        )
        _add(tx, invoice, intent["id"])
        after(tx, intent)
    else:
        invoices.mark_paid(tx, invoice)


def advance(tx: Transaction, invoice_id: str) -> None:
    """An hour after it was made, a draft that goes on by itself is finalized and collected."""
    invoice = tx.find(invoice_id)
    if invoice is None or invoice.get("status") != "draft" or not invoice["auto_advance"]:
        return
    finalize(tx, invoice)
    if invoice["status"] != "open":
        return
    if invoice["collection_method"] == "send_invoice":
        events.emit(tx, "invoice.sent", invoice)
        return
    method = default_method(tx, invoice)
    if method is not None:
        pay(tx, invoice, method)
        return
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    records.replace(tx, invoice)
    events.emit(tx, "invoice.payment_failed", invoice)


def usable_method(tx: Transaction, invoice: dict[str, Any], method_id: str) -> dict[str, Any]:
    """The method that a call names for this invoice. Raises StripeError for another's."""
    method = methods.usable(tx, method_id)
    if method["customer"] != invoice["customer"]:
        raise StripeError(
            f"The customer does not have a payment method with the ID {method_id}. The payment "
            "method must be attached to the customer.",
            code="resource_missing",
            param="payment_method",
        )
    return method


def secret_of(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any] | None:
    """The invoice's `confirmation_secret`, by which a page of the seller's has it paid."""
    intent = intent_of(tx, invoice)
    if intent is None:
        return None
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


def listed(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any]:
    """The invoice's `payments`, as an expanded invoice shows them."""
    found = payments_of(tx, invoice["id"])
    return {
        "object": "list",
        "data": found[:10],
        "has_more": len(found) > 10,
        "url": f"/v1/invoice_payments?invoice={invoice['id']}",
    }
