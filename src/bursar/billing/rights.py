"""Rights: a feature and how much of it, and what a right and a count come to. Pure.

A catalogue's item, an order's snapshot and a customer's entitlement all say theirs in these words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Per = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Right:
    """A feature; with `amount` so many of it, in each `per` (None: once and for all)."""

    feature: str
    amount: int | None = None
    per: Per | None = None


@dataclass(frozen=True, slots=True)
class Entitled:
    """Whether a feature may be used now.

    Without `limit` it is used freely and not counted; who does not have it has a limit of 0.
    `resets_at` is when counting begins anew.
    """

    feature: str
    allowed: bool
    limit: int | None
    used: int
    left: int | None
    resets_at: datetime | None


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time in which is counted; without bounds it is all of time."""

    name: Literal["ever", "day", "month"]
    start: datetime | None
    end: datetime | None


def period(per: Per | None, at: datetime) -> Period:
    """The day or month, in UTC, that `at` is in."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return Period("day", day, day + timedelta(days=1))
    if per == "month":
        first = day.replace(day=1)
        return Period("month", first, (first + timedelta(days=31)).replace(day=1))
    return Period("ever", None, None)


def entitled(feature: str, right: Right | None, used: int, at: datetime) -> Entitled:
    """What a right and a count come to."""
    if right is None:
        return Entitled(feature, False, 0, 0, 0, None)
    if right.amount is None:
        return Entitled(feature, True, None, 0, None, None)
    # A limit that was lowered may lie below what was used before.
    left = max(0, right.amount - used)
    return Entitled(feature, left > 0, right.amount, used, left, period(right.per, at).end)


def as_json(rights: Sequence[Right]) -> list[dict[str, Any]]:
    """Rights as a snapshot keeps them."""
    return [{"feature": r.feature, "amount": r.amount, "per": r.per} for r in rights]


def from_json(said: Sequence[Mapping[str, Any]]) -> tuple[Right, ...]:
    """Rights as `as_json` wrote them."""
    return tuple(Right(**entry) for entry in said)
