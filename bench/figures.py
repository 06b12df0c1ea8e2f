"""The sums: medians, spreads and ratios of what was measured. Pure; knows no benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Write `0.66 (0.61–0.70)`, with thousands apart for rates."""
        median, low, high = (f"{v:,.{digits}f}" for v in (self.median, self.low, self.high))
        return f"{median} ({low}–{high})"


def spread(values: Sequence[float]) -> Spread:
    """Summarise the rounds of one arm. Raises ValueError without any."""
    if not values:
        raise ValueError("there is nothing to summarise")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(measured: Sequence[float], yardstick: Sequence[float]) -> list[float]:
    """Divide round by round: neighbours in time share what the machine was doing then.

    Raises ValueError when the rounds don't match, or a yardstick is not above zero.
    """
    if len(measured) != len(yardstick):
        raise ValueError(f"{len(measured)} rounds against {len(yardstick)} of the yardstick")
    if any(value <= 0 for value in yardstick):
        raise ValueError("a yardstick of zero measures nothing")
    return [one / other for one, other in zip(measured, yardstick, strict=True)]
