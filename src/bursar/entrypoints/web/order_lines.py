"""What the operators' pages say of orders under review: money, time left, what happened. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar.billing.catalog import Unit
from bursar.billing.order_decisions import Decision
from bursar.billing.order_review import Order
from bursar.billing.payments import Payment
from bursar.entrypoints.web.badges import Badge, order_badge
from bursar.entrypoints.web.figures import Moment, amount_of, moment
from bursar.money import format_money

DAY = timedelta(days=1)
SOON = timedelta(days=1)
REASONS = {
    "requested_by_customer": "The customer asked for it",
    "duplicate": "A duplicate of another order",
    "fraudulent": "It looks fraudulent",
    "abandoned": "It was abandoned",
}


@dataclass(frozen=True, slots=True)
class Left:
    """How long a bank still holds money: in words, and as parts of the whole for a meter."""

    words: str
    until: Moment
    seconds: int
    whole_seconds: int
    soon_seconds: int
    soon: bool


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order in the list. `taken` is empty unless money was taken."""

    id: int
    amount: str
    code: str
    taken: str
    badge: Badge
    customer: str
    history: str
    name: str
    left: Left
    at: Moment
    can_decide: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to an order."""

    icon: str
    tone: str
    words: str
    hint: str
    at: Moment


@dataclass(frozen=True, slots=True)
class Sum:
    """A line of the money; `total` marks the last one."""

    words: str
    amount: str
    total: bool = False


def time_left(order: Order, now: datetime) -> Left:
    """How long the money of an order is still held."""
    until = order.place[0]
    left = max(until - now, timedelta())
    whole = max(until - (order.authorized_at or order.payment.created_at), DAY)
    return Left(
        words=_span(left),
        until=moment(until, now),
        seconds=int(min(left, whole).total_seconds()),
        whole_seconds=int(whole.total_seconds()),
        soon_seconds=int(SOON.total_seconds()),
        soon=left <= SOON,
    )


def _span(left: timedelta) -> str:
    if left >= 2 * DAY:
        return f"{left // DAY} days left"
    hours = left // timedelta(hours=1)
    if hours >= 2:
        return f"{hours} hours left"
    minutes = left // timedelta(minutes=1)
    return f"{minutes} min left" if minutes else "Time is up"


def order_line(order: Order, now: datetime) -> OrderLine:
    """An order as the list shows it."""
    payment = order.payment
    held = payment.authorized_minor or payment.amount_minor
    taken = payment.captured_minor
    return OrderLine(
        id=payment.id,
        amount=format_money(held, payment.currency),
        code=payment.currency.upper(),
        taken=f"{format_money(taken, payment.currency)} captured" if taken else "",
        badge=order_badge(payment.status, deciding=order.deciding),
        customer=customer_of(order),
        history=_history(order),
        name=name_of(payment),
        left=time_left(order, now),
        at=moment(payment.created_at, now),
        can_decide=payment.state == "authorized" and not order.deciding,
    )


def customer_of(order: Order) -> str:
    """Whose order it is, by what people know them."""
    who = order.user_email or order.user_name or order.payment.user_id
    return who or f"Customer {order.payment.customer_id}"


def _history(order: Order) -> str:
    words = ["First order" if order.first_order else "Has bought before"]
    if order.disputes:
        words.append(f"{order.disputes} {'dispute' if order.disputes == 1 else 'disputes'}")
    return ", ".join(words)


def name_of(payment: Payment) -> str:
    """What was ordered."""
    return str(payment.snapshot.get("name") or payment.description or "Order")


def sentence(order: Order, now: datetime) -> str:
    """The state of an order, and what it means for the money."""
    payment = order.payment
    held = format_money(payment.authorized_minor or 0, payment.currency)
    until = moment(order.place[0], now).full
    if order.deciding:
        return (
            "The decision is made, and the payment provider has not said yet what became of it. "
            "We are asking; do not decide again."
        )
    match payment.state:
        case "authorized":
            return f"{held} is held. Capture by {until}, or it lapses and nothing is charged."
        case "completed":
            taken = format_money(payment.captured_minor, payment.currency)
            rest = (payment.authorized_minor or 0) - payment.captured_minor
            if rest > 0:
                left = format_money(rest, payment.currency)
                return f"{taken} of {held} was captured. {left} was let go, and not charged."
            return f"{taken} was captured."
        case "expired":
            return "Lapsed, nothing charged. The bank let go of the money before it was captured."
    return "Canceled, nothing charged. The money that was held was let go."


def sums(order: Order) -> list[Sum]:
    """The money of an order, line by line."""
    payment = order.payment
    held = payment.authorized_minor or 0

    def line(words: str, amount: int, *, total: bool = False) -> Sum:
        return Sum(words, format_money(amount, payment.currency), total)

    lines = [line(name_of(payment), payment.amount_minor), line("Held at the bank", held)]
    if payment.state == "authorized":
        return [*lines, line("To capture", held, total=True)]
    lines.append(line("Let go", held - payment.captured_minor))
    if payment.refunded_minor:
        lines.append(line("Refunded since", payment.refunded_minor))
    return [*lines, line("Captured", payment.captured_minor, total=True)]


def brings(payment: Payment, unit: Unit | None, amount_minor: int, total_minor: int) -> str:
    """The credits that capturing so much of the whole brings, in words; empty for none."""
    if unit is None or not payment.credits or not total_minor:
        return ""
    share = payment.credits * min(amount_minor, total_minor) // total_minor
    return amount_of(share, unit)


def steps(order: Order, decisions: Sequence[Decision], now: datetime) -> list[Step]:
    """What happened to an order, the newest first."""
    payment = order.payment
    held = format_money(payment.authorized_minor or 0, payment.currency)
    found = [
        (payment.created_at, "dot", "idle", "Checkout opened", name_of(payment)),
        (order.authorized_at, "clock", "wait", f"Authorized {held}", "Held at the buyer's bank"),
    ]
    for decision in decisions:
        found.append(_decided(decision, payment))
    if payment.state == "completed":
        taken = format_money(payment.captured_minor, payment.currency)
        found.append((payment.completed_at, "check", "good", f"Captured {taken}", ""))
    elif payment.state == "expired":
        found.append((order.place[0], "clock", "idle", "Lapsed, nothing charged", ""))
    told = [step for step in found if step[0] is not None]
    # Providers tell time in seconds: of one second what was added later stands first.
    told.sort(key=lambda step: (step[0] or now).replace(microsecond=0))
    return [
        Step(icon, tone, words, hint, moment(at or now, now))
        for at, icon, tone, words, hint in reversed(told)
    ]


def _decided(decision: Decision, payment: Payment) -> tuple[datetime | None, str, str, str, str]:
    words = "Canceled"
    if decision.kind == "capture":
        words = f"Capture of {format_money(decision.amount_minor or 0, payment.currency)} asked for"
    elif decision.state != "done":
        words = "Cancellation asked for"
    ends = {
        "done": "",
        "refused": "The payment provider did not do it",
        "pending": "Under way",
        "unknown": "The payment provider did not answer; we are asking",
    }
    hints = [f"By {decision.requested_by}", REASONS.get(decision.reason or "", "")]
    hint = ". ".join(word for word in (*hints, ends[decision.state]) if word)
    tone = "bad" if decision.state == "refused" else "note" if decision.open else "idle"
    icon = {"bad": "cross", "note": "search"}.get(tone, "dash")
    return decision.created_at, icon, tone, words, hint
