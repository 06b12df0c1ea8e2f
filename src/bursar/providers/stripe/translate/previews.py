"""Previewed invoices into what a change costs. Pure.

Stripe previews the invoice that comes next: one that the change makes at once, or that of the next
period with what the change comes to beside it. Which of the two it is, its lines tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bursar.providers.recurring import ChangeOrder, Preview, SubscriptionFact
from bursar.providers.stripe.translate import fields, invoices
from bursar.providers.stripe.translate.fields import Object


@dataclass(frozen=True, slots=True)
class Previewed:
    """A previewed invoice: the lines of the change itself, and those that sell a period."""

    body: Object
    at: datetime
    """The moment for which the change is reckoned."""
    change: tuple[Object, ...]
    period: tuple[Object, ...]
    period_end: datetime
    """When the subscription's own period ends as it stands now."""
    at_once: bool
    """Whether the change makes this invoice."""


def read(
    invoice: Object, order: ChangeOrder, subscription: SubscriptionFact, now: datetime
) -> Previewed:
    """A preview with all its lines. Raises Unusable."""
    details = fields.part(fields.part(invoice, "parent"), "subscription_details")
    at = order.at or fields.find_time(details.get("subscription_proration_date")) or now
    at = at.replace(microsecond=0)
    rows = [(invoices.line(row), row) for row in fields.rows(invoice.get("lines"))]
    # What older changes came to waits for the same invoice; it was for the time from then on.
    change = tuple(row for line, row in rows if line.proration and line.period_start >= at)
    period = tuple(row for line, row in rows if not line.proration)
    ends = min(item.period_end for item in subscription.items)
    # Another interval begins a period of its own at once; else a period follows on the present one.
    begins = any(invoices.line(row).period_start < ends for row in period)
    alone = not period and bool(change) and order.proration == "always_invoice"
    return Previewed(
        body=invoice,
        at=at,
        change=change,
        period=period,
        period_end=ends,
        at_once=begins or alone,
    )


def answer(told: Previewed, following: Object | None) -> Preview:
    """What a change costs now and with the next invoice. Raises Unusable.

    `following` is the preview of the next invoice, where what is told is made before it and sells
    no period itself.
    """
    next_at, next_total = told.period_end, 0
    if following is not None:
        next_total = fields.signed(following.get("total"))
    elif not told.at_once:
        next_total = fields.signed(told.body.get("total"))
    elif told.period:
        next_total = sum(map(_cost, told.period))
        next_at = min(invoices.line(row).period_end for row in told.period)
    return Preview(
        currency=invoices.currency_of(told.body),
        due_now_minor=fields.minor(told.body.get("amount_due")) if told.at_once else 0,
        next_total_minor=next_total,
        next_at=next_at,
        lines=tuple(invoices.line(row) for row in told.change),
        at=told.at,
    )


def nothing(subscription: SubscriptionFact, at: datetime) -> Preview:
    """What a change costs that no invoice follows."""
    return Preview(
        currency=subscription.currency,
        due_now_minor=0,
        next_total_minor=0,
        next_at=min(item.period_end for item in subscription.items),
        lines=(),
        at=at.replace(microsecond=0),
    )


def _cost(row: Object) -> int:
    """A line with its discounts and the tax on top of it."""
    line = invoices.line(row)
    return line.amount_minor - line.discount_minor + invoices.tax_added(row.get("taxes"))
