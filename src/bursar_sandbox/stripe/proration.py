"""What a change within a paid period costs: credit for the time that is left, charge for the new.

All pure. Times are seconds since 1970, amounts minor units, shares by the second and rounded half
up on each line, as Stripe does it. Credits follow what was really charged, discounts included (the
flexible billing mode); which charges there are, `proration_items` finds out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

Share = tuple[str, int]
"""A discount's id and what it takes off."""


@dataclass(frozen=True, slots=True)
class Part:
    """What an item costs, or has cost, from `start` to `end`.

    `amount` is without discounts, which stand beside it; `pricing` says by which price, `name` what
    it is called. `rates` are the ids of tax rates that are its own, None where the invoice's count.
    `source` tells which lines or item of an invoice a past charge stands on.
    """

    item: str
    name: str
    amount: int
    quantity: int
    start: int
    end: int
    pricing: dict[str, Any]
    discounts: tuple[Share, ...] = ()
    rates: tuple[str, ...] | None = None
    source: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Proration:
    """One line of a change: below zero for a credit. `credited` is the charge that it undoes."""

    item: str
    description: str
    amount: int
    quantity: int
    start: int
    end: int
    pricing: dict[str, Any]
    discounts: tuple[Share, ...]
    rates: tuple[str, ...] | None
    credited: dict[str, Any] | None

    @property
    def net(self) -> int:
        """The amount after its discounts."""
        return self.amount - sum(amount for _, amount in self.discounts)


def prorate(
    paid: Iterable[Part], wanted: Iterable[Part], at: int, *, step: int = 1
) -> list[Proration]:
    """The lines of a change at `at`: what is left of `paid` comes back, `wanted` is charged.

    `wanted` has what whole periods cost; only what is left of them at `at` is charged. `step` is
    the smallest amount that the currency charges.
    """
    credits_ = [_credit(part, at, step) for part in paid if part.amount > 0 and part.end > at]
    charges = [_charge(part, at, step) for part in wanted if part.end > at]
    return [*credits_, *charges]


def _credit(part: Part, at: int, step: int) -> Proration:
    # A charge that begins later than the change comes back whole.
    start = max(at, part.start)
    left = share(part.start, part.end, start)
    return Proration(
        part.item,
        f"Unused time on {called(part)} after {_day(at)}",
        -rounded(part.amount * left, step),
        part.quantity,
        start,
        part.end,
        part.pricing,
        tuple((name, -rounded(amount * left, step)) for name, amount in part.discounts),
        part.rates,
        part.source,
    )


def _charge(part: Part, at: int, step: int) -> Proration:
    left = share(part.start, part.end, at)
    return Proration(
        part.item,
        f"Remaining time on {called(part)} after {_day(at)}",
        rounded(part.amount * left, step),
        part.quantity,
        at,
        part.end,
        part.pricing,
        tuple((name, rounded(amount * left, step)) for name, amount in part.discounts),
        part.rates,
        None,
    )


def share(start: int, end: int, at: int) -> Fraction:
    """How much of the time from `start` to `end` is left at `at`, at most all of it."""
    return Fraction(end - min(max(at, start), end), end - start) if end > start else Fraction(0)


def rounded(amount: Fraction, step: int = 1) -> int:
    """The amount in whole steps; half a step goes away from zero, so that credit equals charge."""
    exact = Decimal(amount.numerator) / Decimal(amount.denominator) / step
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP)) * step


def percent_of(amount: int, percent: float, step: int = 1) -> int:
    """The percentage of an amount, in whole steps."""
    return rounded(amount * Fraction(str(percent)) / 100, step)


def called(part: Part) -> str:
    """What a line calls the thing: its name, after the quantity if there are several."""
    return f"{part.quantity} \u00d7 {part.name}" if part.quantity != 1 else part.name


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")


def changed(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> set[str]:
    """The ids of the subscription items that cost something else afterwards, or come or go."""
    known, wanted = _terms(before), _terms(after)
    return {
        item_id
        for item_id in known.keys() | wanted.keys()
        if known.get(item_id) != wanted.get(item_id)
    }


def _terms(items: Sequence[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    return {item["id"]: (item["price"]["id"], item.get("quantity", 1)) for item in items}


def resets_cycle(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> bool:
    """Whether a change of items begins a new period at once, as Stripe's rules have it.

    It does when the interval changes, and when the subscription goes from free to paid or back.
    """
    intervals = [{_interval(item["price"]) for item in items} for items in (before, after)]
    free = [not any(_costs(item) for item in items) for items in (before, after)]
    return bool(before and after) and (not intervals[0] & intervals[1] or free[0] != free[1])


def _interval(price: dict[str, Any]) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _costs(item: dict[str, Any]) -> bool:
    unit = item["price"]["unit_amount_decimal"]
    return unit is None or (Decimal(unit) > 0 and item.get("quantity", 1) > 0)
