"""What the account page says of subscriptions: the state, the next charge, what failed, what can
be done. Pure.

Turns rows into words and figures; whether an act is allowed is decided again when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bursar.billing.catalog_plans import Terms
from bursar.billing.subscription_changes import Kind
from bursar.billing.subscriptions.rows import Invoice, Subscription
from bursar.entrypoints.subscription_words import day, price, short_day, why
from bursar.entrypoints.web.badges import Badge, invoice_badge, subscription_badge
from bursar.entrypoints.web.figures import Moment, moment
from bursar.money import format_money
from bursar.providers.recurring import Recurring


@dataclass(frozen=True, slots=True)
class SubscriptionLine:
    """A subscription with what is to come. `next` is a label and its value, if money is to come."""

    id: int
    name: str
    price: str
    badge: Badge
    sentence: str
    next: tuple[str, str] | None
    note: str
    can_change: bool
    can_pause: bool
    resume: str
    """The word of the button that undoes an end or a pause; empty where there is none."""
    can_cancel: bool
    portal: bool


@dataclass(frozen=True, slots=True)
class FailedCharge:
    """An invoice that is owed: what was not paid and why, and where it can be."""

    heading: str
    sentence: str
    pay_url: str | None


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """An invoice in the list."""

    id: int
    name: str
    what: str
    amount: str
    code: str
    badge: Badge
    at: Moment
    link: tuple[str, str] | None
    """What is there, and where: to read it, or to pay it."""


def plan_name(row: Subscription, terms: Terms | None) -> str:
    """The plan's name with how many of it; a price that is no plan of ours has none."""
    name = terms.name if terms else row.plan or "Subscription"
    return f"{name} × {row.quantity}" if row.quantity > 1 else name


def price_of(row: Subscription) -> str:
    """What an interval costs, for all of its quantity."""
    total = row.amount_minor * row.quantity
    return price(total, row.currency, row.interval, row.interval_count)


def line(row: Subscription, terms: Terms | None, can: Recurring) -> SubscriptionLine:
    """A subscription that lives, in words."""
    running = row.status in ("trialing", "active")
    trial_until = short_day(row.trial_end) if row.trial_end else ""
    return SubscriptionLine(
        id=row.id,
        name=plan_name(row, terms),
        price=price_of(row),
        badge=subscription_badge(
            row.status,
            trial_until=trial_until,
            ends=short_day(row.cancel_at) if row.cancel_at else "",
        ),
        sentence=_sentence(row, terms),
        next=_next(row),
        note=_note(row, terms),
        can_change=running and can.previews and row.cancel_at is None,
        can_pause=row.status == "active" and row.cancel_at is None and can.pause,
        resume=_resume(row),
        can_cancel=row.cancel_at is None,
        portal=can.portal,
    )


def resume_kind(row: Subscription) -> Kind:
    """What going on means: to end a pause of charging, or to undo an end."""
    # A provider that says itself that it pauses does so because a trial ended without a card.
    charging_paused = row.status == "paused" and row.raw_status != "paused"
    return "unpause" if charging_paused else "resume"


def failed_charge(row: Subscription, terms: Terms | None, invoice: Invoice) -> FailedCharge:
    """What was not paid, when and why, and what happens next."""
    amount = format_money(invoice.due_minor, invoice.currency)
    said = why(invoice.failure, needs_action=invoice.needs_action)
    again = (
        f" We try again on {day(invoice.next_attempt_at)}."
        if invoice.next_attempt_at
        else " It is not tried again by itself."
    )
    return FailedCharge(
        heading=f"{amount} for {plan_name(row, terms)} was not paid",
        sentence=f"The charge for the invoice of {day(invoice.created_at)} did not go through, "
        f"because {said}.{again}",
        pay_url=invoice.url,
    )


def invoice_line(invoice: Invoice, name: str, now: datetime) -> InvoiceLine:
    """An invoice as the list shows it."""
    link = None
    if invoice.url:
        words = "Pay" if invoice.status == "open" else "View"
        link = (words, invoice.url)
    return InvoiceLine(
        id=invoice.id,
        name=invoice.number or f"Invoice {invoice.id}",
        what=name,
        amount=format_money(invoice.total_minor, invoice.currency),
        code=invoice.currency.upper(),
        badge=invoice_badge(invoice.status, failed=invoice.attempts > 0),
        at=moment(invoice.created_at, now),
        link=link,
    )


def _sentence(row: Subscription, terms: Terms | None) -> str:
    if row.cancel_at is not None and row.status in ("trialing", "active"):
        return (
            f"It ends on {day(row.cancel_at)}. Until then you keep everything; nothing more is "
            "charged."
        )
    match row.status:
        case "trialing" if row.trial_end:
            return f"Your trial runs until {day(row.trial_end)}. Nothing is charged until then."
        case "paused" if row.raw_status == "paused":
            return "Your trial ended without a card. Add a card, then resume; nothing was charged."
        case "paused":
            back = f" It goes on by itself on {day(row.resumes_at)}." if row.resumes_at else ""
            return f"While it is paused you are not charged, and its features are off.{back}"
        case "past_due":
            return "Pay what is owed, or change the card, to keep it."
        case "unpaid":
            return "Its features are off until what is owed is paid."
    return ""


def _next(row: Subscription) -> tuple[str, str] | None:
    """The next charge, and when."""
    if not row.renews or row.status == "past_due" or not row.amount_minor:
        return None
    if row.status == "trialing" and row.trial_end:
        return "First charge", f"{_total(row)} on {day(row.trial_end)}"
    return "Next charge", f"{_total(row)} on {day(row.period_end)}"


def _note(row: Subscription, terms: Terms | None) -> str:
    """What the next charge leaves open."""
    if _next(row) is None:
        return ""
    if row.status == "trialing" and terms is not None and not terms.trial_card:
        then = "the trial ends" if terms.trial_end == "cancel" else "the plan pauses"
        return f"If you have added a card by then; without one {then} and nothing is charged."
    return "Before tax, discounts and changes of plan"


def _total(row: Subscription) -> str:
    return format_money(row.amount_minor * row.quantity, row.currency)


def _resume(row: Subscription) -> str:
    return "Resume" if row.status == "paused" or row.cancel_at is not None else ""


def told(said: str, row: Subscription, terms: Terms | None) -> tuple[str, str] | None:
    """What was done just now, a heading and a sentence; None if the subscription says otherwise."""
    name, running = plan_name(row, terms), row.status in ("trialing", "active")
    if said == "changed" and running:
        return f"You have {name} now.", f"It costs {price_of(row)}."
    if said == "canceled" and row.cancel_at is not None:
        return f"{name} is canceled and ends on {day(row.cancel_at)}.", (
            "Until then you keep everything. You can resume it below until that day."
        )
    if said == "ended" and row.status == "canceled":
        return f"{name} has ended.", "You will not be charged for it again."
    if said == "resumed" and running and row.cancel_at is None:
        return f"{name} is resumed.", "It goes on as before."
    if said == "paused" and row.status == "paused":
        return f"{name} is paused.", "You are not charged until you resume it."
    return None
