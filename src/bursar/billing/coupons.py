"""Coupons: what a code stands for, whether it is for an order, and what it takes off.

A code is a promotion code as buyers type it, or a coupon's id. It is looked up in the mirror, and
at the provider when it is not there. What is really taken off the provider reckons; here it is
reckoned once more so that a buyer is told before. It changes no price of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bursar import errors
from bursar.billing import mirror
from bursar.billing.mirror import Thing
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.money import exponent, format_money
from bursar.providers.mirrored import Discount
from bursar.providers.port import Provider

HIDDEN = "bursar_hidden"
"""The metadata key that keeps a code off our pages; who knows it may use it all the same."""


@dataclass(frozen=True, slots=True)
class Coupon:
    """What a code stands for. Of `percent_off` and `amounts` (minor units) one takes something off.

    `left` is how often it can still be used, None for any number; `products` are the provider's ids
    of what it is for, None for everything.
    """

    code: str
    discount: Discount
    percent_off: Decimal | None
    amounts: Mapping[str, int]
    products: frozenset[str] | None
    left: int | None
    ends_at: datetime | None
    active: bool
    hidden: bool = False
    minimum_minor: int | None = None
    minimum_currency: str | None = None

    def is_for(self, product: str) -> bool:
        """Whether it is for something of this product."""
        return self.products is None or product in self.products

    def runs(self, at: datetime) -> bool:
        """Whether it can be used now."""
        return self.active and self.left != 0 and (self.ends_at is None or at < self.ends_at)

    def taken_off(self, subtotal_minor: int, currency: str) -> int:
        """What it takes off an order of one line, in minor units; 0 in a currency it is not for."""
        if self.percent_off is None:
            return min(subtotal_minor, self.amounts.get(currency, 0))
        # Of three decimals the last is never charged.
        step = 10 if exponent(currency) == 3 else 1
        share = subtotal_minor * self.percent_off / 100 / step
        return min(subtotal_minor, int(share.quantize(Decimal(1), ROUND_HALF_UP)) * step)

    def effect(self) -> str:
        """What it does, in words: `15 % off`, `$5.00 off`."""
        if self.percent_off is not None:
            return f"{self.percent_off:f}\N{NO-BREAK SPACE}% off"
        named = sorted(self.amounts.items(), key=lambda amount: (amount[0] != "usd", amount))
        return _in_words(named)

    def effect_in(self, currency: str) -> str:
        """The same for one currency."""
        if self.percent_off is not None or currency not in self.amounts:
            return self.effect()
        return _in_words([(currency, self.amounts[currency])])


def _in_words(amounts: Sequence[tuple[str, int]]) -> str:
    return " or ".join(format_money(amount, currency) for currency, amount in amounts) + " off"


async def find(db: Database, provider: Provider, code: str, *, at: datetime) -> Coupon:
    """What a code stands for: one that can be used, if there is one of that name.

    Raises CouponUnknown, ProviderUnavailable, ProviderRejected, ProviderUnknown.
    """
    async with db.connection() as conn:
        found = await _in_mirror(conn, provider.name, code)
    if not found:
        facts = await provider.find_discount(code)
        async with db.transaction() as conn:
            await mirror.remember(conn, facts)
            found = await _in_mirror(conn, provider.name, code)
    if not found:
        raise errors.CouponUnknown(f"There is no coupon {code!r}.")
    return next((coupon for coupon in found if coupon.runs(at)), found[0])


def check(coupon: Coupon, product: str, subtotal_minor: int, currency: str, *, at: datetime) -> int:
    """What a coupon takes off an order of one product, in minor units.

    Raises CouponExhausted and CouponNotApplicable.
    """
    if not coupon.runs(at):
        used = coupon.left == 0
        why = "was used as often as it can be" if used else "is not valid any more"
        raise errors.CouponExhausted(f"The coupon {coupon.code!r} {why}.")
    if not coupon.is_for(product):
        raise errors.CouponNotApplicable(f"The coupon {coupon.code!r} is not for this item.")
    if coupon.percent_off is None and currency not in coupon.amounts:
        raise errors.CouponNotApplicable(
            f"The coupon {coupon.code!r} takes nothing off a price in {currency.upper()}."
        )
    least = coupon.minimum_minor
    if least is not None and coupon.minimum_currency == currency and subtotal_minor < least:
        raise errors.CouponNotApplicable(
            f"The coupon {coupon.code!r} is for orders of {format_money(least, currency)} or more."
        )
    return coupon.taken_off(subtotal_minor, currency)


def refusal(error: errors.ProviderCouponRefused) -> errors.Error:
    """What a provider's refusal of a coupon means to whoever named it."""
    why = error.fields.get("why")
    if isinstance(why, type) and issubclass(why, errors.Error):
        return why(error.detail)
    return errors.CouponNotApplicable(error.detail)


async def list_shown(conn: Connection, provider: str, *, at: datetime) -> list[Coupon]:
    """The codes that anybody may use now, in the order of their names.

    Codes for one customer, for first orders and those marked as hidden are not among them.
    """
    things = await mirror.list_things(conn, provider, ("coupon", "promotion_code"))
    return shown(things, at=at)


def shown(things: Sequence[Thing], *, at: datetime) -> list[Coupon]:
    """The same from things that were read before."""
    by_id = {thing.id: thing for thing in things if thing.kind == "coupon"}
    codes = [thing for thing in things if thing.kind == "promotion_code"]
    found = [
        _coupon(by_id[code.body["coupon"]], code)
        for code in codes
        if code.body["coupon"] in by_id
        and not code.body["customer"]
        and not code.body["first_time"]
        # What it is for is not told by events; until it is read nothing is promised.
        and "products" in by_id[code.body["coupon"]].body
    ]
    running = [coupon for coupon in found if coupon.runs(at) and not coupon.hidden]
    return sorted(running, key=lambda coupon: coupon.code)


async def _in_mirror(conn: Connection, provider: str, code: str) -> list[Coupon]:
    found: list[Coupon] = []
    for promotion in await mirror.find_codes(conn, provider, code):
        base = await mirror.find(conn, provider, "coupon", str(promotion.body["coupon"]))
        if base is not None:
            found.append(_coupon(base, promotion))
    base = await mirror.find(conn, provider, "coupon", code)
    return [*found, _coupon(base, None)] if base else found


def _coupon(base: Thing, promotion: Thing | None) -> Coupon:
    bodies = [base.body, *([promotion.body] if promotion else [])]
    lefts = [max(0, b["max_redemptions"] - b["times_redeemed"]) for b in bodies if _limited(b)]
    ends = [datetime.fromisoformat(b["ends_at"]) for b in bodies if b["ends_at"]]
    percent, said = base.body["percent_off"], promotion.body if promotion else {}
    products = base.body.get("products")
    return Coupon(
        code=str(said.get("code") or base.id),
        discount=Discount(base.id, promotion.id if promotion else None),
        percent_off=None if percent is None else Decimal(percent),
        amounts=base.body["amounts"],
        products=None if products is None else frozenset(products),
        left=min(lefts, default=None),
        ends_at=min(ends, default=None),
        active=_active(base.body, said),
        hidden=any(b["metadata"].get(HIDDEN) for b in bodies),
        minimum_minor=said.get("minimum_minor"),
        minimum_currency=said.get("minimum_currency"),
    )


def _limited(body: Mapping[str, Any]) -> bool:
    return body["max_redemptions"] is not None


def _active(base: Mapping[str, Any], promotion: Mapping[str, Any]) -> bool:
    return bool(base["valid"] and promotion.get("active", True))
