"""Invoices into facts, and which subscription one belongs to. Pure.

Events are read for ids alone, which stand in other places before 2025-03-31; what an invoice comes
to is read from answers, whose version is the library's own.
"""

from __future__ import annotations

from datetime import datetime

from bursar.providers.port import Facts, Ignored, Unusable
from bursar.providers.recurring import (
    InvoiceFact,
    InvoiceLine,
    InvoiceReason,
    InvoiceStatus,
    SubscriptionNews,
)
from bursar.providers.stripe.translate import discounts, fields, intents
from bursar.providers.stripe.translate.fields import Object

REASONS: dict[str, InvoiceReason] = {
    "subscription_create": "create",
    "subscription_cycle": "cycle",
    "subscription_update": "update",
}
STATUSES: dict[str, InvoiceStatus] = {
    "draft": "draft",
    "open": "open",
    "paid": "paid",
    "void": "void",
    "uncollectible": "uncollectible",
}
OWED: tuple[InvoiceStatus, ...] = ("open", "uncollectible")
AUTHENTICATE = "authentication_required"


def changed(invoice: Object, at: datetime) -> Facts:
    """That something happened to an invoice of a subscription."""
    del at
    return _news(invoice, fields.own_id(invoice))


def upcoming(invoice: Object, at: datetime) -> Facts:
    """That an invoice is about to be made: it has no id to ask for yet."""
    del at
    return _news(invoice, None)


def _news(invoice: Object, invoice_id: str | None) -> Facts:
    subscription_id = subscription_of(invoice)
    if subscription_id is None:
        return Ignored("the invoice is of no subscription")
    return SubscriptionNews("stripe", subscription_id, invoice_id)


def subscription_of(invoice: Object) -> str | None:
    """The id of the subscription that an invoice is of, wherever its version says so."""
    details = fields.part(fields.part(invoice, "parent"), "subscription_details")
    return fields.find_id(details.get("subscription")) or fields.find_id(
        invoice.get("subscription")
    )


def answer(invoice: Object, intent: Object | None = None) -> InvoiceFact:
    """An invoice as it was fetched: all its lines, `payments` and `discounts` expanded.

    `intent` is its payment, if that was fetched as well. Raises Unusable.
    """
    status = STATUSES.get(str(invoice.get("status")))
    if status is None:
        raise Unusable("payload_unparseable", f"invoice status {invoice.get('status')!r}"[:80])
    steps = fields.part(invoice, "status_transitions")
    lines = tuple(line(row) for row in fields.rows(invoice.get("lines")))
    intent_id, charge_id = payment_of(invoice)
    attempts = fields.minor(invoice.get("attempt_count") or 0)
    failing = status in OWED and attempts > 0
    return InvoiceFact(
        invoice_id=fields.own_id(invoice),
        number=fields.text(invoice.get("number")),
        reason=REASONS.get(str(invoice.get("billing_reason")), "other"),
        status=status,
        currency=currency_of(invoice),
        # The invoice's own subtotal has the discounts of single lines taken off already.
        subtotal_minor=sum(row.amount_minor for row in lines),
        discount_minor=_sum(invoice.get("total_discount_amounts")),
        tax_added_minor=tax_added(invoice.get("total_taxes")),
        total_minor=fields.signed(invoice.get("total")),
        due_minor=fields.minor(invoice.get("amount_due")),
        paid_minor=fields.minor(invoice.get("amount_paid")),
        lines=lines,
        attempts=attempts,
        next_attempt_at=fields.find_time(invoice.get("next_payment_attempt")),
        created_at=fields.time_of(invoice.get("created")),
        finalized_at=fields.find_time(steps.get("finalized_at")),
        paid_at=fields.find_time(steps.get("paid_at")),
        ended_at=fields.find_time(steps.get("voided_at") or steps.get("marked_uncollectible_at")),
        payment_intent_id=intent_id,
        charge_id=charge_id or (fields.find_id(intent.get("latest_charge")) if intent else None),
        failure=_failure(intent) if failing else None,
        needs_action=status in OWED and intent is not None and _asks(intent),
        url=fields.text(invoice.get("hosted_invoice_url")),
        discounts=discounts.names_in(invoice.get("discounts")),
    )


def currency_of(thing: Object) -> str:
    """The currency of a thing that must have one. Raises Unusable."""
    found = fields.currency(thing.get("currency"))
    if found is None:
        raise Unusable("currency_invalid", "None")
    return found


def line(row: Object) -> InvoiceLine:
    """One line of an invoice. Raises Unusable."""
    period = fields.part(row, "period")
    price = fields.part(fields.part(row, "pricing"), "price_details").get("price")
    return InvoiceLine(
        price_id=fields.find_id(price),
        quantity=fields.count(row.get("quantity")),
        amount_minor=fields.signed(row.get("amount")),
        discount_minor=_sum(row.get("discount_amounts")),
        period_start=fields.time_of(period.get("start")),
        period_end=fields.time_of(period.get("end")),
        proration=any(_prorates(row, kind) for kind in ("subscription_item", "invoice_item")),
        description=fields.text(row.get("description")),
    )


def tax_added(taxes: object) -> int:
    """What of the taxes is on top of the prices; below zero on a credit. Raises Unusable."""
    added = [tax for tax in fields.rows(taxes) if tax.get("tax_behavior") == "exclusive"]
    return _sum(added)


def payment_of(invoice: Object) -> tuple[str | None, str | None]:
    """The ids of the intent and the charge that paid an invoice, or are to."""
    payments = fields.rows(invoice.get("payments"))
    payments.sort(key=lambda found: (found.get("status") != "paid", not found.get("is_default")))
    if not payments:
        return None, None
    payment = fields.part(payments[0], "payment")
    return fields.find_id(payment.get("payment_intent")), fields.find_id(payment.get("charge"))


def _prorates(row: Object, kind: str) -> bool:
    details = fields.part(fields.part(row, "parent"), f"{kind}_details")
    return details.get("proration") is True


def _failure(intent: Object | None) -> str:
    """An attempt that asks for the buyer leaves no error behind; nor does one without a card."""
    if intent is not None and intent.get("status") == "requires_action":
        return AUTHENTICATE
    return intents.failure_of(intent or {})


def _asks(intent: Object) -> bool:
    if intent.get("status") == "requires_action":
        return True
    error = fields.part(intent, "last_payment_error")
    return AUTHENTICATE in (error.get("code"), error.get("decline_code"))


def _sum(amounts: object) -> int:
    return sum(fields.signed(entry.get("amount")) for entry in fields.rows(amounts))


_OF_INVOICES = (
    "created",
    "finalized",
    "paid",
    "payment_succeeded",
    "payment_failed",
    "payment_action_required",
    "voided",
    "marked_uncollectible",
)
HANDLED = {f"invoice.{word}": changed for word in _OF_INVOICES} | {"invoice.upcoming": upcoming}
