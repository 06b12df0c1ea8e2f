"""The coupons on the pricing page, in words: code, effect, what is left, until when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bursar.billing.coupons import Coupon

SHOWN_MAX = 3
NAMES_MAX = 3


@dataclass(frozen=True, slots=True)
class CouponLine:
    """One code: `LAUNCH15` `takes 15 % off Pro` and `38 left · until 1 Dec`."""

    code: str
    effect: str
    terms: str


def lines(
    coupons: Sequence[Coupon], sold: Mapping[str, str], *, currency: str, now: datetime
) -> list[CouponLine]:
    """The codes that lower a price of what is sold in a currency; the soonest to end first.

    `sold` are the names of what is on the page, by the provider's product id.
    """
    fitting = [
        coupon
        for coupon in coupons
        if (coupon.percent_off is not None or currency in coupon.amounts)
        and any(coupon.is_for(product) for product in sold)
    ]
    never = datetime.max.replace(tzinfo=UTC)
    fitting.sort(key=lambda coupon: (coupon.ends_at or never, coupon.code))
    return [
        CouponLine(
            code=coupon.code,
            effect=f"takes {coupon.effect_in(currency)}{_what(coupon, sold)}",
            terms=" · ".join(_terms(coupon, now)),
        )
        for coupon in fitting[:SHOWN_MAX]
    ]


def _what(coupon: Coupon, sold: Mapping[str, str]) -> str:
    """What it is for, where that is not everything."""
    names = list(dict.fromkeys(name for product, name in sold.items() if coupon.is_for(product)))
    if all(coupon.is_for(product) for product in sold) or len(names) > NAMES_MAX:
        return "" if all(coupon.is_for(product) for product in sold) else " some of these"
    return f" {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _terms(coupon: Coupon, now: datetime) -> Iterable[str]:
    if coupon.left is not None:
        yield f"{coupon.left:,} left"
    if coupon.ends_at is not None:
        at = coupon.ends_at.astimezone(UTC)
        day = f"until\N{NO-BREAK SPACE}{at.day}\N{NO-BREAK SPACE}{at:%b}"
        yield day + (f" {at.year}" if at.year != now.astimezone(UTC).year else "")
