"""Reckons what lines come to: discounts, taxes, totals. The one place where that is done.

All pure, all amounts in minor units. Taxes and shares of a percentage are rounded half up on each
line; an amount off is spread over the lines to the last minor unit. So the lines always add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Rate:
    """A tax rate: `percent` of 100, in the price or on top of it; `reason` says why it is so."""

    id: str
    percent: Decimal
    inclusive: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line before discount and tax."""

    amount: int
    product: str
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True, slots=True)
class Off:
    """What a coupon takes off: a percentage, or an amount; from some products, or from all."""

    percent: Decimal | None = None
    amount: int = 0
    products: frozenset[str] | None = None

    def takes_from(self, product: str) -> bool:
        """Whether the coupon is for this product."""
        return self.products is None or product in self.products


@dataclass(frozen=True, slots=True)
class Tax:
    """One rate's tax on a line; `taxable` is what it was reckoned from, without any tax."""

    rate: Rate
    amount: int
    taxable: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What became of a line. `tax` counts included taxes too; `total` is what is to be paid."""

    discount: int
    taxes: tuple[Tax, ...]
    tax: int
    total: int


def reckon(lines: Sequence[Line], off: Off | None = None, step: int = 1) -> list[Sums]:
    """The sums of each line, in order. `step` is the smallest amount that the currency charges."""
    shares = _shares(lines, off, step) if off else [0] * len(lines)
    return [_sums(line, share, step) for line, share in zip(lines, shares, strict=True)]


def _shares(lines: Sequence[Line], off: Off, step: int) -> list[int]:
    bases = [line.amount if off.takes_from(line.product) else 0 for line in lines]
    if off.percent is not None:
        return [min(base, _rounded(base * off.percent / _HUNDRED, step)) for base in bases]
    return spread(min(off.amount, sum(bases)), bases, step)


def spread(amount: int, bases: Sequence[int], step: int = 1) -> list[int]:
    """`amount` in shares like the bases'; what the division leaves goes where most was cut off."""
    whole = sum(bases)
    if not whole:
        return [0] * len(bases)
    if amount >= whole:
        return list(bases)
    shares = [amount * base // whole // step * step for base in bases]
    cut = [amount * base - share * whole for base, share in zip(bases, shares, strict=True)]
    left = amount - sum(shares)
    for place in sorted(range(len(bases)), key=lambda place: (-cut[place], place)):
        part = min(step, left)
        shares[place] += part
        left -= part
    return shares


def _sums(line: Line, discount: int, step: int) -> Sums:
    base = line.amount - discount
    within = sum((rate.percent for rate in line.rates if rate.inclusive), Decimal(0))
    net = base / (1 + within / _HUNDRED)
    amounts = [
        _rounded((net if within else base) * rate.percent / _HUNDRED, step) for rate in line.rates
    ]
    included = sum(
        amount for rate, amount in zip(line.rates, amounts, strict=True) if rate.inclusive
    )
    taxes = tuple(
        Tax(rate, amount, base - included) for rate, amount in zip(line.rates, amounts, strict=True)
    )
    tax = sum(amounts)
    return Sums(discount, taxes, tax, base + tax - included)


def _rounded(amount: Decimal, step: int) -> int:
    return int((amount / step).quantize(Decimal(1), ROUND_HALF_UP)) * step
