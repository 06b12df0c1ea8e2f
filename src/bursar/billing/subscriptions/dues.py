"""What invoices that were paid entitle a subscription to, period by period. Pure.

A period is named by its end, which every line about it shares: a change in the middle begins later
and ends with the rest. Its allowance is the greatest that was paid for in it.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bursar.billing.catalog_plans import Terms
from bursar.billing.subscriptions.rows import Invoice, Subscription
from bursar.providers.recurring import InvoiceLine

MONTHS = 12
SECOND = timedelta(seconds=1)
LONG = timedelta(days=45)
"""A period longer than this is a year's, which may bring its allowance month by month."""


@dataclass(frozen=True, slots=True)
class Due:
    """What one period, or one month of a paid year, is to have brought: `target` smallest parts.

    `payment_id` is the payment that raised it so far, None where nothing was to pay.
    """

    unit: str
    starts_at: datetime
    ends_at: datetime
    target: int
    payment_id: int | None
    paid_at: datetime
    rollover: int
    credited: bool = False
    """Whether a part of its time was credited back: then less than all is due, or nothing."""

    @property
    def name(self) -> str:
        """The period's name, for causes and accounts."""
        return f"{self.ends_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(slots=True)
class _Paid:
    """A line that was paid: the price of a period, or of the rest of one.

    `until` is from when on it was credited back, by a later change.
    """

    line: InvoiceLine
    invoice: Invoice
    until: datetime | None = None


def reckon(row: Subscription, invoices: Sequence[Invoice], terms: Mapping[str, Terms]) -> list[Due]:
    """All that was paid for, in the order of periods; of one period each rise is one of them."""
    lines = [
        (line, invoice)
        for invoice in invoices
        if invoice.status == "paid"
        for line in invoice.lines
        if (plan := terms.get(line.price_id or "")) is not None and plan.credits
    ]
    lines.sort(key=lambda pair: pair[0].period_start)
    paid = [_Paid(line, invoice) for line, invoice in lines if _pays(row, line)]
    for line, _ in lines:
        if line.proration and line.amount_minor < 0:
            _credit(paid, line)
    found = [due for one in paid for due in _due(terms[one.line.price_id or ""], one)]
    return sorted(found, key=lambda due: (due.ends_at, due.target))


def _credit(paid: Sequence[_Paid], credit: InvoiceLine) -> None:
    """Note from when on a line was credited back: the latest of that price that runs then."""
    for one in reversed(paid):
        line = one.line
        same = (line.price_id, line.quantity, line.period_end)
        if (
            one.until is None
            and same == (credit.price_id, credit.quantity, credit.period_end)
            and line.period_start <= credit.period_start
        ):
            one.until = credit.period_start
            return


def _pays(row: Subscription, line: InvoiceLine) -> bool:
    """Whether a line is the price of a period, or of the rest of one: no credit, no trial.

    With a coupon of 100 % a line still has its price; a trial's has none.
    """
    if line.amount_minor < 0 or line.quantity < 1 or line.period_end <= line.period_start:
        return False
    # A trial that was ended early ended before its line does.
    trial = row.trial_end is not None and line.period_start < row.trial_end
    return line.amount_minor > 0 or (not trial and not line.proration)


def _due(plan: Terms, paid: _Paid) -> Iterator[Due]:
    line, invoice = paid.line, paid.invoice

    def due(starts_at: datetime, ends_at: datetime) -> Due:
        target = plan.credits * line.quantity
        if paid.until is not None and paid.until < ends_at:
            kept = max(timedelta(), paid.until - starts_at)
            target = (
                target * int(kept.total_seconds()) // int((ends_at - starts_at).total_seconds())
            )
        return Due(
            unit=plan.unit,
            starts_at=starts_at,
            ends_at=ends_at,
            target=target,
            payment_id=invoice.payment_id,
            paid_at=invoice.paid_at or invoice.created_at,
            rollover=plan.rollover,
            credited=paid.until is not None,
        )

    if plan.yearly_credits == "once" or line.period_end - line.period_start <= LONG:
        yield due(line.period_start, line.period_end)
        return
    starts_at = line.period_start
    for left in reversed(range(MONTHS)):
        ends_at = months_before(line.period_end, left)
        if ends_at > starts_at:
            yield due(starts_at, ends_at)
            starts_at = ends_at


def months_before(end: datetime, months: int) -> datetime:
    """The same day and time so many months earlier; the month's last day where it has none such."""
    end = end.astimezone(UTC)
    years, month = divmod(end.month - 1 - months, 12)
    year, month = end.year + years, month + 1
    day = min(end.day, calendar.monthrange(year, month)[1])
    return end.replace(year=year, month=month, day=day)


def periods(dues: Sequence[Due]) -> list[Due]:
    """The greatest of each period, in order of their ends."""
    greatest: dict[tuple[str, datetime], Due] = {}
    for due in dues:
        known = greatest.get((due.unit, due.ends_at))
        if known is None or due.target > known.target:
            greatest[due.unit, due.ends_at] = due
    return sorted(greatest.values(), key=lambda due: due.ends_at)
