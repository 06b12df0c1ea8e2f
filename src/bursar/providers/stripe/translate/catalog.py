"""Products, prices, coupons and promotion codes into facts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from bursar.providers.mirrored import CHANGED, GONE, MADE, READ, CatalogFact, Kind
from bursar.providers.port import Facts, Unusable
from bursar.providers.stripe.translate import fields
from bursar.providers.stripe.translate.fields import Object

STEPS = {"created": MADE, "updated": CHANGED, "deleted": GONE}
METADATA_MAX = 50


def fact(kind: Kind, thing: Object, at: datetime, step: int = READ) -> CatalogFact:
    """How a thing stands, or stood. Raises Unusable."""
    gone = step == GONE or thing.get("deleted") is True
    return CatalogFact(
        provider="stripe",
        kind=kind,
        id=fields.own_id(thing),
        at=at,
        step=step,
        body={} if gone else BODIES[kind](thing),
    )


def answer(kind: Kind, thing: Object) -> CatalogFact:
    """A thing as it was listed or fetched; until more is told, it stands so since it was made."""
    # A deleted one has nothing but its id.
    return fact(kind, thing, fields.time_of(thing.get("updated") or thing.get("created") or 0))


def _product(product: Object) -> dict[str, Any]:
    return {
        "name": fields.text(product.get("name")) or "",
        "description": fields.text(product.get("description")),
        "active": product.get("active") is True,
        "metadata": _metadata(product),
    }


def _price(price: Object) -> dict[str, Any]:
    amount = price.get("unit_amount")
    return {
        "product": fields.find_id(price.get("product")),
        "currency": fields.currency(price.get("currency")),
        "amount_minor": None if amount is None else fields.minor(amount),
        "recurring": fields.text(fields.part(price, "recurring").get("interval")),
        "active": price.get("active") is True,
    }


def _coupon(coupon: Object) -> dict[str, Any]:
    """A coupon; an event says nothing of its products, for which it must be asked for."""
    amounts: dict[str, int] = {}
    for currency, option in fields.part(coupon, "currency_options").items():
        name = fields.currency(currency)
        if name is not None and isinstance(option, dict):
            amounts[name] = fields.minor(option.get("amount_off"))
    base = fields.currency(coupon.get("currency"))
    if base is not None and coupon.get("amount_off") is not None:
        amounts[base] = fields.minor(coupon["amount_off"])
    told = {
        "name": fields.text(coupon.get("name")),
        "percent_off": _percent(coupon.get("percent_off")),
        "amounts": amounts,
        "valid": coupon.get("valid") is True,
        "ends_at": _time(coupon.get("redeem_by")),
        **_uses(coupon),
    }
    if "applies_to" in coupon:
        listed = fields.part(coupon, "applies_to").get("products")
        ids = map(fields.find_id, listed) if isinstance(listed, list) else ()
        told["products"] = [found for found in ids if found is not None] or None
    return told


def _promotion_code(promotion: Object) -> dict[str, Any]:
    # Until 2025-09-30 the coupon itself stood in `coupon`.
    coupon = fields.part(promotion, "promotion").get("coupon") or promotion.get("coupon")
    limits = fields.part(promotion, "restrictions")
    least = limits.get("minimum_amount")
    return {
        "coupon": fields.find_id(coupon),
        "code": fields.text(promotion.get("code")) or "",
        "active": promotion.get("active") is True,
        "customer": fields.find_id(promotion.get("customer")),
        "first_time": limits.get("first_time_transaction") is True,
        "minimum_minor": None if least is None else fields.minor(least),
        "minimum_currency": fields.currency(limits.get("minimum_amount_currency")),
        "ends_at": _time(promotion.get("expires_at")),
        **_uses(promotion),
    }


def _uses(thing: Object) -> dict[str, Any]:
    most = thing.get("max_redemptions")
    return {
        "max_redemptions": None if most is None else fields.minor(most),
        "times_redeemed": fields.minor(thing.get("times_redeemed") or 0),
        "metadata": _metadata(thing),
    }


def _percent(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        raise Unusable("payload_unparseable", f"percent_off {value!r}"[:80])
    return format(Decimal(str(value)).normalize(), "f")


def _time(value: object) -> str | None:
    return None if value is None else fields.time_of(value).isoformat()


def _metadata(thing: Object) -> dict[str, str]:
    said = {fields.text(k): fields.text(v) for k, v in fields.part(thing, "metadata").items()}
    return {k: v for k, v in list(said.items())[:METADATA_MAX] if k is not None and v is not None}


BODIES: dict[Kind, Callable[[Object], dict[str, Any]]] = {
    "product": _product,
    "price": _price,
    "coupon": _coupon,
    "promotion_code": _promotion_code,
}


def _reader(kind: Kind, step: int) -> Callable[[Object, datetime], Facts]:
    def read(thing: Object, at: datetime) -> Facts:
        return fact(kind, thing, at, step)

    return read


# A promotion code is never deleted; Stripe refuses endpoints that ask for an event it hasn't.
HANDLED = {
    f"{kind}.{word}": _reader(kind, step)
    for kind in BODIES
    for word, step in STEPS.items()
    if (kind, word) != ("promotion_code", "deleted")
}
