"""The rows of the model: periods, invoices and their lines, subscriptions, and sums in cents.

Imports nothing of ours but the figures of the plans. Times are whole seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from simulation.subscription_year.catalogue import Plan
from simulation.subscription_year.script import later


def months_later(at: int, months: int) -> int:
    """The same day and time so many months later, or earlier; the last day of a short month."""
    return int(later(datetime.fromtimestamp(at, UTC), months).timestamp())


def part(amount: int, share: Fraction) -> int:
    """A share of an amount, to the nearest cent."""
    exact = amount * share
    decimal = Decimal(exact.numerator) / Decimal(exact.denominator)
    return int(decimal.quantize(Decimal(1), ROUND_HALF_UP))


@dataclass
class Pool:
    """The allowance of one period."""

    ends_at: int
    left: int = 0
    ended: int = 0
    closed: bool = False

    def close(self) -> None:
        if not self.closed:
            self.ended, self.left, self.closed = self.left, 0, True


@dataclass
class Line:
    """What an invoice asks for; a credit gives a part of another line back, `of`, from `start` on.

    `until` is from when on this one was given back, once that was on an invoice that is paid.
    """

    amount: int
    plan: Plan | None
    quantity: int
    start: int
    end: int
    proration: bool = False
    of: Line | None = None
    until: int | None = None

    @property
    def credits(self) -> int:
        """The allowance that it pays for: less where a part of its time was given back."""
        if self.plan is None or self.of is not None:
            return 0
        whole = self.plan.credits * self.quantity
        if self.until is None:
            return whole
        return whole * (self.until - self.start) // (self.end - self.start)

    def left(self, at: int) -> Fraction:
        """How much of its time is left then."""
        return Fraction(self.end - at, self.end - self.start)


@dataclass
class Invoice:
    reason: str
    lines: list[Line]
    due: int
    status: str = "draft"
    paid: int = 0
    attempts: int = 0
    brought: list[tuple[Pool, int]] = field(default_factory=list)
    refunded: int = 0
    taken: int = 0
    payment_kind: str = "invoice"

    @property
    def shown(self) -> tuple[str, str, int, int, int]:
        return self.reason, self.status, self.due, self.paid, self.attempts

    @property
    def payment(self) -> tuple[str, str, int, int, int] | None:
        """Kind, status, amount, captured and refunded of its payment, if it has one."""
        if self.due == 0 and self.payment_kind == "invoice":
            return None
        state = {"open": "failed", "void": "canceled", "draft": None, "paid": "completed"}
        told = state[self.status]
        if told is None:
            return None
        if self.refunded:
            told = "refunded" if self.refunded == self.paid else "partially_refunded"
        return self.payment_kind, told, self.due, self.paid, self.refunded


@dataclass
class Subscription:
    """One subscription. `charges` are what was charged of the running period and not credited."""

    plan: Plan
    price: int
    quantity: int
    anchor: int
    start: int
    end: int
    months: int = 1
    status: str = "active"
    card: str | None = "good"
    percent: int = 0
    percent_until: int | None = None
    cancels: bool = False
    pools: dict[int, Pool] = field(default_factory=dict)
    months_due: list[tuple[int, int, int, Invoice]] = field(default_factory=list)
    got: dict[int, int] = field(default_factory=dict)
    trial_pool: Pool | None = None
    charges: list[Line] = field(default_factory=list)
    waiting: list[Line] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    moments: list[tuple[int, str]] = field(default_factory=list)
    owed_since: int | None = None
    forgone_until: int = 0
    """The end of a period that nobody was to pay: it has no features."""
    balance: int = 0
    """What the provider owes the customer, and takes off the next invoices."""

    @property
    def ended(self) -> bool:
        return self.status == "canceled"

    @property
    def period_line(self) -> Line:
        """What a whole period costs."""
        return Line(self.price * self.quantity, self.plan, self.quantity, self.start, self.end)

    @property
    def shown(self) -> tuple[str, int, str, bool, int]:
        """Plan, quantity, status, whether it ends with its period, and when that is."""
        cancels = self.cancels and not self.ended
        return self.plan.key, self.quantity, self.status, cancels, 0 if self.ended else self.end

    @property
    def all_pools(self) -> list[Pool]:
        return [*self.pools.values(), *([self.trial_pool] if self.trial_pool else [])]

    def discount(self, line: Line, at: int) -> int:
        """What its coupon takes off a line drawn then."""
        runs = self.percent_until is None or at < self.percent_until
        return part(line.amount, Fraction(self.percent, 100)) if runs and self.percent else 0

    def expire(self, now: int) -> None:
        """Close the periods that are over."""
        for pool in self.all_pools:
            if pool.ends_at <= now:
                pool.close()


@dataclass
class Account:
    """All that one customer has."""

    subscriptions: list[Subscription] = field(default_factory=list)
    owed: int = 0
