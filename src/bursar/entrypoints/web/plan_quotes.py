"""Changes of plan in words: what can be chosen, and what a choice costs as the provider reckons it.
Pure.

An upgrade is charged at once, since what it brings begins at once; everything else goes with the
next invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from bursar import errors
from bursar.billing.catalog import Unit
from bursar.billing.catalog_plans import Plan, PlanPrice
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints import right_words
from bursar.entrypoints.subscription_words import day, price
from bursar.entrypoints.web.figures import amount_of
from bursar.money import format_money
from bursar.providers.recurring import Preview, Proration, Recurring

SEATS = "seats"
QUANTITY_MAX = 1000
KEPT = timedelta(minutes=30)
"""How long a quote is taken at its word."""
MONTHS = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan by an interval, as the address names it: `pages-pro:month`."""

    to: str
    name: str
    price: str
    brings: str
    features: str
    chosen: bool
    have: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for."""

    plan: Plan
    price: PlanPrice
    interval: Literal["month", "year"]
    quantity: int

    @property
    def to(self) -> str:
        """As an address names it."""
        return f"{self.plan.key}:{self.interval}"

    @property
    def name(self) -> str:
        """The plan's name, with how many of it."""
        return f"{self.plan.name} × {self.quantity}" if self.quantity > 1 else self.plan.name

    @property
    def total_minor(self) -> int:
        """What an interval of it costs."""
        return self.price.amount_minor * self.quantity


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """A line of what a change costs; a credit is below zero."""

    what: str
    amount: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What a change costs, with what the confirming form says of it again."""

    name: str
    price: str
    lines: tuple[QuoteLine, ...]
    today: str
    next: str
    next_on: str
    button: str
    fields: Mapping[str, str]


def offered(plans: Sequence[Plan], row: Subscription) -> list[tuple[Plan, PlanPrice]]:
    """What a subscription can be changed to, itself included, in its own currency."""
    return [
        (plan, sold)
        for plan in plans
        if plan.group == row.plan_group
        and plan.terms.addon == row.addon
        and (not row.addon or plan.key == row.plan)
        for sold in plan.prices
        if sold.currency == row.currency
    ]


def counts(found: Sequence[tuple[Plan, PlanPrice]], row: Subscription) -> bool:
    """Whether a number can be chosen: one is had already, or plans are sold by the seat."""
    seats = any(right.feature == SEATS for plan, _ in found for right in plan.rights)
    return row.quantity > 1 or seats


def choices(
    found: Sequence[tuple[Plan, PlanPrice]],
    row: Subscription,
    units: Mapping[str, Unit],
    chosen: str,
) -> list[Choice]:
    """The radio list; `chosen` is what was asked for before."""
    made: list[Choice] = []
    for plan, sold in found:
        unit, to = units.get(plan.unit), f"{plan.key}:{sold.interval}"
        have = (plan.key, sold.interval) == (row.plan, row.interval)
        made.append(
            Choice(
                to=to,
                name=plan.name,
                price=price(sold.amount_minor, sold.currency, sold.interval),
                brings=f"{amount_of(plan.credits, unit)} a month" if plan.credits and unit else "",
                features=right_words.said(plan.rights),
                chosen=to == chosen or (not chosen and have and row.quantity > 1),
                have=have,
            )
        )
    return made


def read_target(
    found: Sequence[tuple[Plan, PlanPrice]], row: Subscription, to: str, quantity: str
) -> Target:
    """What was chosen. Raises errors.Invalid and errors.UnknownItem."""
    for plan, sold in found:
        if f"{plan.key}:{sold.interval}" == to:
            target = Target(plan, sold, sold.interval, _quantity(row, quantity))
            if (sold.provider_price_id, target.quantity) == (row.price_id, row.quantity):
                raise errors.Invalid("That is what you have. Choose another plan.")
            return target
    raise errors.UnknownItem("Choose one of the plans below.")


def _quantity(row: Subscription, text: str) -> int:
    if not text:
        return row.quantity
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:6]) <= QUANTITY_MAX):
        raise errors.Invalid(f"Enter a number from 1 to {QUANTITY_MAX:,}.")
    return int(digits[:6])


def proration(row: Subscription, target: Target, can: Recurring) -> Proration:
    """When the difference is charged: at once for more, with the next invoice for less."""
    have = row.amount_minor * row.quantity / MONTHS.get(row.interval, 1)
    more = target.total_minor / MONTHS[target.interval] > have
    return "always_invoice" if more and "always_invoice" in can.prorations else "create_prorations"


def quote(preview: Preview, row: Subscription, target: Target, way: Proration) -> Quote:
    """A provider's preview in words."""
    currency, today = preview.currency, preview.due_now_minor
    lines = [
        QuoteLine(
            found.description or ("Unused time" if found.amount_minor < 0 else "The rest of it"),
            format_money(found.amount_minor, currency),
        )
        for found in preview.lines
    ]
    rest = today - sum(found.amount_minor for found in preview.lines)
    if today and rest:
        # What is charged beside the change: a period that begins at once, tax, a coupon, a balance.
        lines.append(QuoteLine(_beside(row, target, rest), format_money(rest, currency)))
    charged = format_money(today, currency)
    return Quote(
        name=target.name,
        price=price(target.total_minor, currency, target.interval),
        lines=tuple(lines),
        today=charged,
        next=format_money(max(0, preview.next_total_minor), currency),
        next_on=day(preview.next_at),
        button=f"Confirm and pay {charged}" if today else "Confirm, nothing to pay today",
        fields={
            "to": target.to,
            "quantity": str(target.quantity),
            "proration": way,
            "at": preview.at.astimezone(UTC).isoformat(),
            "today": str(today),
            "next": str(preview.next_total_minor),
        },
    )


def _beside(row: Subscription, target: Target, rest: int) -> str:
    if target.interval == row.interval:
        return "Tax, discounts and credit"
    whole = f"{target.name} for a {target.interval}"
    return whole if rest == target.total_minor else f"{whole}, with tax, discounts and credit"


def read_moment(text: str, now: datetime) -> datetime | None:
    """The moment of a quote that still counts; None for one that is too old, or no moment."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None or not now - KEPT <= at <= now + timedelta(minutes=1):
        return None
    return at
