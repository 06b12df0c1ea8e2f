"""What has happened to a subscription, as our events: compares it as it was with what it is.

Each change is told once, in the transaction that stores it. Writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bursar.billing.rules import Rules
from bursar.billing.subscriptions.follow import name
from bursar.billing.subscriptions.merge import Read
from bursar.billing.subscriptions.rows import Invoice, Subscription
from bursar.messages.outbox import Event


def tell(one: Read, rules: Rules) -> list[Event]:
    """The events of one subscription that was read."""
    row = one.row
    cause = f"{name(row)}:{row.read_number}"
    topics = list(_topics(one.before, row)) if row.read_number else []
    # One that is given up for want of money, and not one that somebody ends meanwhile.
    often = rules.failures_max or 1
    owed = any(i.status in ("open", "uncollectible") and i.attempts >= often for i in one.invoices)
    why = {"reason": "unpaid" if owed else "canceled"}
    told = [
        Event(
            topic,
            cause,
            row.customer_id,
            {**data(row), **why} if topic == "subscription.ended" else data(row),
        )
        for topic in topics
    ]
    return told + [event for invoice in one.invoices for event in _of_invoice(one, invoice)]


def trial_ending(row: Subscription) -> Event:
    """That a trial ends in some days."""
    cause = f"{name(row)}:{_time(row.trial_end)}"
    return Event("subscription.trial_ending", cause, row.customer_id, data(row))


def data(row: Subscription) -> Mapping[str, Any]:
    """A subscription, as everybody is told of it."""
    return {
        "id": row.id,
        "user_id": row.user_id,
        "customer_id": row.customer_id,
        "provider": row.provider,
        "plan": row.plan,
        "price_id": row.price_id,
        "quantity": row.quantity,
        "amount": row.amount_minor,
        "currency": row.currency,
        "interval": row.interval,
        "status": row.status,
        "raw_status": row.raw_status,
        "current_period_end": _time(row.period_end),
        "cancel_at_period_end": row.cancel_at_period_end,
        "cancel_at": _time(row.cancel_at) or None,
        "canceled_at": _time(row.canceled_at) or None,
        "ended_at": _time(row.ended_at) or None,
        "trial_end": _time(row.trial_end) or None,
    }


def _topics(was: Subscription | None, row: Subscription) -> Iterator[str]:
    lived = was is not None and was.live
    if row.live and not lived:
        yield "subscription.started"
    if was is None or not lived:
        return
    if row.status == "canceled":
        yield "subscription.ended"
        return
    if (was.price_id, was.quantity) != (row.price_id, row.quantity):
        yield "subscription.changed"
    if row.cancel_at is not None and was.cancel_at is None:
        yield "subscription.cancel_scheduled"
    if row.cancel_at is None and was.cancel_at is not None:
        yield "subscription.resumed"
    if row.status == "paused" and was.status != "paused":
        yield "subscription.paused"
    if was.status == "paused" and row.status != "paused":
        yield "subscription.resumed"
    if row.period_start > was.period_start:
        yield "subscription.renewed"


def _of_invoice(one: Read, invoice: Invoice) -> Iterator[Event]:
    """That an attempt to take an invoice's money failed, and that it came after all."""
    was = one.before_invoices.get(invoice.invoice_id)
    failed_before = was.attempts if was and was.status != "paid" else 0
    told = {
        **data(one.row),
        "invoice_id": invoice.invoice_id,
        "payment_id": invoice.payment_id,
        "amount": invoice.due_minor,
        "currency": invoice.currency,
        "attempts": invoice.attempts,
        "next_attempt_at": _time(invoice.next_attempt_at) or None,
        "failure": invoice.failure,
        "needs_action": invoice.needs_action,
        "url": invoice.url,
    }
    customer_id, cause = one.row.customer_id, f"{invoice.provider}:{invoice.invoice_id}"
    if invoice.status == "open" and invoice.attempts > failed_before:
        yield Event("subscription.payment_failed", f"{cause}:{invoice.attempts}", customer_id, told)
    paid_now = invoice.status == "paid" and (was is None or was.status != "paid")
    if paid_now and failed_before:
        yield Event("subscription.payment_recovered", cause, customer_id, told)


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""
