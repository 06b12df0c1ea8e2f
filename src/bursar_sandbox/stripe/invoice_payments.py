"""How an invoice is paid: by a payment intent made when it is finalized, or outside of Stripe.

Owns the invoice payment's object and what a payment's outcome means for its invoice.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    events,
    intents,
    invoice_balances,
    invoices,
    methods,
    records,
    session_invoices,
    subscription_retries,
    subscription_states,
)
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


def finalize(
    tx: Transaction, invoice: dict[str, Any], intent: dict[str, Any] | None = None
) -> None:
    """Open a draft for payment; one over nothing is paid at once.

    `intent` is what a checkout has paid, or is about to pay, the invoice with.
    """
    if intent is None:
        invoice_balances.apply(tx, invoice)
    else:
        invoice.update(amount_due=intent["amount"], amount_remaining=intent["amount"])
        invoice["ending_balance"] = invoice["starting_balance"]
    invoices.open_up(tx, invoice)
    records.replace(tx, invoice)
    if intent is not None:
        _adopt(tx, invoice, intent)
    elif invoice["amount_due"]:
        _ask_for_payment(tx, invoice)
    events.emit(tx, "invoice.finalized", invoice)
    if intent is not None:
        after(tx, intent)
        invoice.update(records.get(tx, "invoice", invoice["id"]))
    elif not invoice["amount_due"]:
        invoices.mark_paid(tx, invoice)


def _adopt(tx: Transaction, invoice: dict[str, Any], intent: dict[str, Any]) -> None:
    """Have the invoice paid by an intent that is there already."""
    for body, name, value in (
        (intent, "invoice", invoice["id"]),
        (invoice, "intent", intent["id"]),
    ):
        records.replace_private(tx, body["id"], {**tx.private(body["id"]), name: value})
    _add(tx, invoice, intent["id"])


def _ask_for_payment(tx: Transaction, invoice: dict[str, Any]) -> None:
    kinds = invoice["payment_settings"]["payment_method_types"] or ["card"]
    intent = intents.blank(tx, invoice["amount_due"], invoice["currency"])
    intent.update(
        customer=invoice["customer"],
        description=invoice["description"] or _words(invoice),
        payment_method_options=intents.options_for(kinds),
        payment_method_types=kinds,
        receipt_email=invoice["customer_email"],
        statement_descriptor=invoice["statement_descriptor"],
    )
    if subscription_states.id_of(invoice) is not None:
        intent["setup_future_usage"] = "off_session"
    intents.add(tx, intent, {"invoice": invoice["id"]})
    _add(tx, invoice, intent["id"])
    private = {**tx.private(invoice["id"]), "intent": intent["id"]}
    records.replace_private(tx, invoice["id"], private)


def _words(invoice: dict[str, Any]) -> str:
    """What the payment of an invoice is for, as Stripe puts it."""
    if invoice["billing_reason"] == "subscription_create":
        return "Subscription creation"
    if subscription_states.id_of(invoice) is not None:
        return "Subscription update"
    return f"Payment for Invoice {invoice['number']}"


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
    """What the invoice is paid with when nobody says: its own default, its subscription's, or its
    customer's.
    """
    customer = records.get(tx, "customer", invoice["customer"])
    subscription = subscription_states.of_invoice(tx, invoice) or {}
    for method_id in (
        invoice["default_payment_method"],
        invoice["default_source"],
        subscription.get("default_payment_method"),
        subscription.get("default_source"),
        customer["invoice_settings"]["default_payment_method"],
        customer["default_source"],
    ):
        method = tx.find(method_id or "")
        if method is not None and method.get("customer") == customer["id"]:
            return method
    return None


def intent_of(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any] | None:
    """The payment intent of a finalized invoice; None for one over nothing, and for a draft."""
    intent_id = tx.private(invoice["id"]).get("intent")
    return records.get(tx, "payment_intent", intent_id) if intent_id else None


def pay(
    tx: Transaction,
    invoice: dict[str, Any],
    method: dict[str, Any],
    *,
    off_session: bool = False,
    by_itself: bool = False,
) -> Decline | None:
    """Try to pay an open invoice with the method; why not, when it isn't paid.

    `off_session` says that the buyer is away, `by_itself` that no call but the schedule tries.
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
    decline = intents.confirm(tx, intent, method, off_session=off_session)
    after(tx, intent, by_itself=by_itself)
    invoice.update(records.get(tx, "invoice", invoice["id"]))
    return ASKS if intent["status"] == "requires_action" else decline


def after(tx: Transaction, intent: dict[str, Any], *, by_itself: bool = False) -> None:
    """Tell the invoice, if the payment intent is one's, what its last try came to."""
    invoice_id = tx.private(intent["id"]).get("invoice")
    if invoice_id is None:
        return
    invoice = records.get(tx, "invoice", invoice_id)
    if invoice["status"] not in ("open", "uncollectible") or intent["status"] == "processing":
        return
    if intent["status"] == "succeeded":
        _count(tx, invoice, by_itself=by_itself)
        _settle(tx, invoice, intent["id"])
        return
    error = intent["last_payment_error"] or {}
    asks = intent["status"] == "requires_action" or error.get("code") == "authentication_required"
    _fail(tx, invoice, by_itself=by_itself, asks=asks)


def _fail(tx: Transaction, invoice: dict[str, Any], *, by_itself: bool, asks: bool) -> None:
    before = dict(invoice)
    if _count(tx, invoice, by_itself=by_itself):
        subscription_retries.plan(tx, invoice)
    invoice["attempted"] = True
    records.replace(tx, invoice)
    if subscription_states.id_of(invoice) is not None:
        events.emit_update(tx, before, invoice)
    events.emit(tx, "invoice.payment_failed", invoice)
    if asks:
        events.emit(tx, "invoice.payment_action_required", invoice)
    subscription_states.failed(tx, invoice)


def _count(tx: Transaction, invoice: dict[str, Any], *, by_itself: bool) -> bool:
    """Count a try. Of a subscription's, any first one counts, and later ones by the schedule."""
    counts = by_itself or not invoice["attempt_count"] or not subscription_states.id_of(invoice)
    invoice["attempt_count"] += counts
    return counts


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
        _adopt(tx, invoice, intent)
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
        sent(tx, invoice)
    else:
        collect(tx, invoice)


def sent(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Send the open invoice to its customer, who pays when it is due."""
    events.emit(tx, "invoice.sent", invoice)
    if invoice["due_date"] is not None and subscription_states.id_of(invoice) is not None:
        tx.store.schedule(tx, invoice["due_date"], "invoice.overdue", invoice["id"])


def collect(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Try by itself to have an open invoice paid, while the buyer is away."""
    method = default_method(tx, invoice)
    if method is None:
        _fail(tx, invoice, by_itself=True, asks=False)
        return
    away = subscription_states.id_of(invoice) is not None
    try:
        pay(tx, invoice, method, off_session=away, by_itself=True)
    except StripeError:
        # The method doesn't go with the payment: as good as none, and nobody is there to hear it.
        _fail(tx, invoice, by_itself=True, asks=False)


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
