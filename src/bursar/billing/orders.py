"""What a buyer asks for, priced by the catalogue. The client's own figures are never a price.

Turns a request into lines, an amount and the credits that it will bring: the snapshot that a
payment is later held against. Reads the catalogue; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bursar import errors
from bursar.billing import catalog, rights
from bursar.billing.catalog import Pack
from bursar.billing.catalog_file import product_id
from bursar.billing.customers import User
from bursar.billing.rights import Right
from bursar.db.connections import Connection
from bursar.money import AMOUNT_MAX, credits_for, format_money
from bursar.providers.port import Capabilities, OrderLine

CaptureMethod = Literal["automatic", "manual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A checkout that a user asks for: exactly one of `package`, `price_id` and `amount_minor`."""

    customer_id: int
    user: User
    success_url: str
    cancel_url: str
    package: str | None = None
    price_id: str | None = None
    amount_minor: int | None = None
    unit: str | None = None
    currency: str | None = None
    quantity: int = 1
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    capture_method: CaptureMethod | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """An order with its price and what it will bring."""

    name: str
    unit: str
    credits: int
    amount_minor: int
    currency: str
    capture_method: CaptureMethod
    lines: tuple[OrderLine, ...]
    rights: tuple[Right, ...] = ()

    def snapshot(self) -> dict[str, Any]:
        """What the payment is held against when it comes."""
        return {
            "name": self.name,
            "unit": self.unit,
            "credits": self.credits,
            "currency": self.currency,
            "subtotal_minor": self.amount_minor,
            "discount_minor": 0,
            "capture_method": self.capture_method,
            "lines": [
                {"price_id": line.price_id, "quantity": line.quantity} for line in self.lines
            ],
            "rights": rights.as_json(self.rights),
        }


async def price(
    conn: Connection, provider: str, capabilities: Capabilities, order: Order
) -> Priced:
    """Look the order up in the catalogue.

    Raises Invalid, UnknownItem, UnknownUnit, CurrencyNotSold, AmountOutOfBounds, NotSupported.
    """
    asked = [order.package, order.price_id, order.amount_minor]
    if sum(value is not None for value in asked) != 1:
        raise errors.Invalid("Ask for exactly one of package, price_id and amount.")
    if order.amount_minor is not None:
        priced = await _price_topup(conn, capabilities, order, order.amount_minor)
    elif order.price_id is not None:
        pack = await catalog.get_pack_by_price(conn, provider, order.price_id)
        if order.currency and order.currency != pack.currency:
            raise errors.CurrencyNotSold(f"That price is in {pack.currency.upper()}.")
        priced = _price_pack(pack, order)
    else:
        key = order.package or ""
        priced = _price_pack(
            await catalog.get_pack(conn, provider, key, currency=order.currency), order
        )
    if priced.capture_method == "manual" and not capabilities.manual_capture:
        raise errors.NotSupported("This payment provider can't capture by hand.")
    least, most = capabilities.minimum_minor.get(priced.currency, 1), capabilities.maximum_minor
    if not least <= priced.amount_minor <= most:
        bounds = [format_money(bound, priced.currency) for bound in (least, most)]
        raise errors.AmountOutOfBounds(f"Between {bounds[0]} and {bounds[1]} can be charged.")
    if priced.credits > AMOUNT_MAX:
        raise errors.AmountOutOfBounds("This buys more credits at once than can be counted.")
    return priced


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
    )


async def _price_topup(
    conn: Connection, capabilities: Capabilities, order: Order, amount_minor: int
) -> Priced:
    if not capabilities.free_amount:
        raise errors.NotSupported("This payment provider sells no free amounts.")
    if order.quantity != 1:
        raise errors.Invalid("A free amount is bought once: quantity is 1.")
    unit = await catalog.get_unit(conn, order.unit)
    currency = order.currency or catalog.DEFAULT_CURRENCY
    if currency not in unit.per_minor:
        sold = ", ".join(sorted(unit.per_minor)).upper() or "no currency"
        raise errors.CurrencyNotSold(f"{unit.label} are sold by amount in {sold}.")
    least, most = unit.bounds[currency]
    if not least <= amount_minor <= most:
        raise errors.AmountOutOfBounds(
            f"Choose an amount from {format_money(least, currency)} to "
            f"{format_money(most, currency)}; `amount` is in minor units."
        )
    bought = credits_for(amount_minor, unit.per_minor[currency])
    if bought < 1:
        raise errors.AmountOutOfBounds("This amount buys less than one credit.")
    line = OrderLine(1, amount_minor=amount_minor, product_id=product_id("topup", unit.name))
    return Priced(
        name=unit.label,
        unit=unit.name,
        credits=bought,
        amount_minor=amount_minor,
        currency=currency,
        capture_method="manual" if order.capture_method == "manual" else "automatic",
        lines=(line,),
    )
