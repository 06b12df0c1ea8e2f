"""What a buyer asks for, priced by the catalogue. The client's own figures are never a price.

Turns a request into lines, an amount and the credits that it will bring: the snapshot that a
payment is later held against. Reads the catalogue; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from bursar import errors
from bursar.billing import catalog, catalog_plans, coupons, rights
from bursar.billing.catalog import Pack
from bursar.billing.catalog_file import product_id
from bursar.billing.catalog_plans import Plan, PlanPrice
from bursar.billing.coupons import Coupon
from bursar.billing.customers import User
from bursar.billing.rights import Right
from bursar.billing.subscriptions import rows as subscription_rows
from bursar.db.connections import Connection
from bursar.money import AMOUNT_MAX, Money, credits_for, format_money
from bursar.providers.mirrored import Discount
from bursar.providers.port import Capabilities, OrderLine
from bursar.providers.recurring import SubscribeTerms

CaptureMethod = Literal["automatic", "manual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a user asks for: exactly one of `package`, `plan`, `price_id` and `amount_minor`.

    A plan is subscribed to by the `interval`, or bought for `months`; `shown_minor` is the price
    that the buyer saw, only compared. `usual_currency` is the buyer's: it counts where no
    `currency` is asked for and the item is sold in it. `coupon` is a code.
    """

    customer_id: int
    user: User
    success_url: str = ""
    cancel_url: str = ""
    package: str | None = None
    plan: str | None = None
    interval: Literal["month", "year"] | None = None
    months: int | None = None
    shown_minor: int | None = None
    price_id: str | None = None
    amount_minor: int | None = None
    unit: str | None = None
    currency: str | None = None
    usual_currency: str | None = None
    coupon: str | None = None
    quantity: int = 1
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    capture_method: CaptureMethod | None = None


@dataclass(frozen=True, slots=True)
class Subscribes:
    """The plan that an order subscribes to, in which group, and with which trial."""

    plan: str
    group: str
    addon: bool
    terms: SubscribeTerms

    def snapshot(self) -> dict[str, Any]:
        """What tells the payment that begins it from all others."""
        return {"subscribes": self.plan, "plan_group": self.group, "addon": self.addon}


@dataclass(frozen=True, slots=True)
class Priced:
    """An order with its price before discount and tax, and what it will bring.

    `product` is the provider's id of what is bought.
    """

    name: str
    unit: str
    credits: int
    amount_minor: int
    currency: str
    capture_method: CaptureMethod
    lines: tuple[OrderLine, ...]
    rights: tuple[Right, ...] = ()
    plan: str | None = None
    months: int | None = None
    product: str = ""
    discount: Discount | None = None
    discount_minor: int = 0
    subscribes: Subscribes | None = None

    def snapshot(self) -> dict[str, Any]:
        """What the payment is held against when it comes."""
        return {
            "name": self.name,
            "unit": self.unit,
            "credits": self.credits,
            "currency": self.currency,
            "subtotal_minor": self.amount_minor,
            "discount_minor": self.discount_minor,
            **({"coupon": self.discount.name} if self.discount else {}),
            "capture_method": self.capture_method,
            "lines": [
                {"price_id": line.price_id, "quantity": line.quantity} for line in self.lines
            ],
            "rights": rights.as_json(self.rights),
            **({"plan": self.plan, "months": self.months} if self.plan else {}),
            **(self.subscribes.snapshot() if self.subscribes else {}),
        }


async def price(
    conn: Connection, provider: str, capabilities: Capabilities, order: Order
) -> Priced:
    """Look the order up in the catalogue.

    Raises Invalid, UnknownItem, UnknownUnit, DurationNotOffered, IntervalNotOffered,
    CurrencyNotSold, AmountMismatch, AmountInMajorUnits, AmountOutOfBounds, AmountTooSmall,
    NotSupported.
    """
    asked = [order.package, order.plan, order.price_id, order.amount_minor]
    if sum(value is not None for value in asked) != 1:
        raise errors.Invalid("Ask for exactly one of package, plan, price_id and amount.")
    if order.amount_minor is not None:
        priced = await _price_topup(conn, capabilities, order, order.amount_minor)
    elif order.plan is not None and order.months is None:
        return await _price_subscription(conn, provider, capabilities, order, order.plan)
    elif order.plan is not None:
        priced = await _price_plan(conn, provider, order, order.plan)
    elif order.price_id is not None:
        found = await catalog_plans.find_by_price(conn, provider, order.price_id)
        if found is not None:
            named = _order_of(order, *found)
            return await _price_subscription(conn, provider, capabilities, named, found[0].key)
        pack = await catalog.get_pack_by_price(conn, provider, order.price_id)
        if order.currency and order.currency != pack.currency:
            raise errors.CurrencyNotSold(f"That price is in {pack.currency.upper()}.")
        priced = _price_pack(pack, order)
    else:
        pack = await catalog.get_pack(
            conn,
            provider,
            order.package or "",
            currency=order.currency,
            usual=order.usual_currency,
        )
        priced = _price_pack(pack, order)
    if priced.capture_method == "manual" and not capabilities.manual_capture:
        raise errors.NotSupported("This payment provider can't capture by hand.")
    _check_shown(order, priced)
    _check_chargeable(capabilities, priced.amount_minor, priced.currency)
    if priced.credits > AMOUNT_MAX:
        raise errors.AmountOutOfBounds("This buys more credits at once than can be counted.")
    return priced


def discounted(
    capabilities: Capabilities, priced: Priced, coupon: Coupon, *, at: datetime
) -> Priced:
    """The order with a coupon. What is left to pay is nothing, or enough to be charged; of an
    order that is reviewed first something is left, for there is no holding nothing.

    Raises CouponExhausted and CouponNotApplicable.
    """
    off = coupons.check(coupon, priced.product, priced.amount_minor, priced.currency, at=at)
    if priced.subscribes and priced.subscribes.terms.trial_days:
        # It counts from the first invoice that asks for money.
        off = 0
    left, least = priced.amount_minor - off, capabilities.minimum_minor.get(priced.currency, 1)
    if 0 < left < least:
        raise errors.CouponNotApplicable(
            f"With this coupon {format_money(left, priced.currency)} is left to pay, and the "
            f"payment provider charges at least {format_money(least, priced.currency)}."
        )
    if left == 0 and priced.capture_method == "manual":
        raise errors.CouponNotApplicable(
            f"{priced.name} is reviewed before its money is taken, and with the coupon "
            f"{coupon.code!r} there is none to hold. Order it without, or give it by hand."
        )
    return replace(priced, discount=coupon.discount, discount_minor=off)


def _check_shown(order: Order, priced: Priced) -> None:
    """Raise when the buyer saw another price than the catalogue has."""
    shown, price_minor = order.shown_minor, priced.amount_minor
    if shown is None or shown == price_minor:
        return
    price = format_money(price_minor, priced.currency)
    if Money(price_minor, priced.currency).major() == shown:
        raise errors.AmountInMajorUnits(
            f"The price is {price}: send it in minor units, as {price_minor} and not as {shown}."
        )
    raise errors.AmountMismatch(
        f"The price is {price} ({price_minor} in minor units), not {shown}. Show the price anew."
    )


def _check_chargeable(capabilities: Capabilities, amount_minor: int, currency: str) -> None:
    """Raise when the provider would refuse to charge so little, or so much, at once."""
    least, most = capabilities.minimum_minor.get(currency, 1), capabilities.maximum_minor
    if amount_minor < least:
        raise errors.AmountTooSmall(
            f"The payment provider charges at least {format_money(least, currency)} in "
            f"{currency.upper()}; this is {format_money(amount_minor, currency)}. "
            "Amounts are in minor units."
        )
    if amount_minor > most:
        raise errors.AmountOutOfBounds(
            f"At most {format_money(most, currency)} can be charged at once."
        )


async def _price_plan(conn: Connection, provider: str, order: Order, key: str) -> Priced:
    """Some months of a plan, paid once: its rights for that long, its credits for each month."""
    if order.quantity != 1:
        raise errors.Invalid("A plan is bought once: quantity is 1.")
    plan, duration = await catalog_plans.get_duration(
        conn, provider, key, order.months or 1, currency=order.currency
    )
    months = duration.months
    return Priced(
        name=f"{plan.name}, {months} {'month' if months == 1 else 'months'}",
        unit=plan.unit,
        credits=(plan.credits or 0) * months,
        amount_minor=duration.amount_minor,
        currency=duration.currency,
        capture_method="automatic",
        lines=(OrderLine(1, price_id=duration.provider_price_id),),
        rights=plan.rights,
        plan=plan.key,
        months=months,
        product=product_id("plan", plan.key),
    )


def _order_of(order: Order, plan: Plan, price: PlanPrice) -> Order:
    """An order of a plan, for one that names the plan's price."""
    if order.currency and order.currency != price.currency:
        raise errors.CurrencyNotSold(f"That price is in {price.currency.upper()}.")
    return replace(
        order, price_id=None, plan=plan.key, interval=price.interval, currency=price.currency
    )


async def _price_subscription(
    conn: Connection, provider: str, capabilities: Capabilities, order: Order, key: str
) -> Priced:
    """A plan that renews. What is paid now is its first interval, or nothing while a trial runs."""
    if not capabilities.recurring.subscriptions:
        raise errors.NotSupported("This payment provider sells no subscriptions here.")
    plan, price = await catalog_plans.get_recurring(
        conn,
        provider,
        key,
        order.interval or "month",
        currency=order.currency,
        usual=order.usual_currency,
    )
    terms = plan.terms
    tries = terms.trial_days is not None and not await subscription_rows.had_trial(
        conn, order.user.id, terms.group
    )
    amount_minor = price.amount_minor * order.quantity
    if amount_minor:
        _check_chargeable(capabilities, amount_minor, price.currency)
    trial = SubscribeTerms(
        terms.trial_days if tries else None, terms.trial_card or not tries, terms.trial_end
    )
    times = f" × {order.quantity}" if order.quantity > 1 else ""
    return Priced(
        name=f"{plan.name}{times}, by the {price.interval}",
        unit=plan.unit,
        credits=0,
        amount_minor=0 if tries else amount_minor,
        currency=price.currency,
        capture_method="automatic",
        lines=(OrderLine(order.quantity, price_id=price.provider_price_id),),
        product=product_id("plan", plan.key),
        subscribes=Subscribes(plan.key, terms.group, terms.addon, trial),
    )


def _price_pack(pack: Pack, order: Order) -> Priced:
    # A buyer may ask for capture by hand; nobody may ask for less care than the catalogue does.
    manual = "manual" in (pack.capture_method, order.capture_method)
    times = f" × {order.quantity}" if order.quantity > 1 else ""
    return Priced(
        name=f"{pack.name}{times}",
        unit=pack.unit,
        credits=pack.credits * order.quantity,
        amount_minor=pack.amount_minor * order.quantity,
        currency=pack.currency,
        capture_method="manual" if manual else "automatic",
        lines=(OrderLine(order.quantity, price_id=pack.provider_price_id),),
        rights=pack.rights,
        product=product_id("pack", pack.key),
    )


async def _price_topup(
    conn: Connection, capabilities: Capabilities, order: Order, amount_minor: int
) -> Priced:
    if not capabilities.free_amount:
        raise errors.NotSupported("This payment provider sells no free amounts.")
    if order.quantity != 1:
        raise errors.Invalid("A free amount is bought once: quantity is 1.")
    unit = await catalog.get_unit(conn, order.unit)
    usual = order.usual_currency if order.usual_currency in unit.per_minor else None
    currency = order.currency or usual or catalog.DEFAULT_CURRENCY
    if currency not in unit.per_minor:
        sold = ", ".join(sorted(unit.per_minor)).upper() or "no currency"
        raise errors.CurrencyNotSold(f"{unit.label} are sold by amount in {sold}.")
    _check_chargeable(capabilities, amount_minor, currency)
    least, most = unit.bounds[currency]
    if not least <= amount_minor <= most:
        raise errors.AmountOutOfBounds(
            f"Choose an amount from {format_money(least, currency)} to "
            f"{format_money(most, currency)}; `amount` is in minor units."
        )
    bought = credits_for(amount_minor, unit.per_minor[currency])
    if bought < 1:
        raise errors.AmountOutOfBounds("This amount buys less than one credit.")
    product = product_id("topup", unit.name)
    tax = await catalog.get_tax(conn, "topup", unit.name)
    line = OrderLine(1, amount_minor=amount_minor, product_id=product, tax=tax)
    return Priced(
        name=unit.label,
        unit=unit.name,
        credits=bought,
        amount_minor=amount_minor,
        currency=currency,
        capture_method="manual" if order.capture_method == "manual" else "automatic",
        lines=(line,),
        product=product,
    )
