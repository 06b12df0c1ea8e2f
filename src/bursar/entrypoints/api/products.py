"""What is for sale as the provider has it, with the codes that lower its price; for anyone.

Read from the mirror alone: no request of a visitor's reaches the provider.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from bursar.billing import coupons, mirror
from bursar.billing.coupons import Coupon
from bursar.billing.mirror import Thing
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.entitlement_bodies import LimitAnswer
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.currencies import locale_of
from bursar.money import format_money

_COUNT = re.compile("[0-9]{1,15}", re.ASCII)

router = APIRouter(tags=["catalogue"])


class ProductPriceAnswer(Answer):
    """A price of a product."""

    id: str
    amount: int = Field(description="In minor units of `currency`.")
    currency: str
    interval: str | None = Field(description="`month` or `year`; null for what is paid once.")
    price_formatted: str


class CouponAnswer(Answer):
    """A code that anybody may use for a product."""

    code: str
    effect: str = Field(description="In words, such as `15 % off`.")
    percent_off: float | None
    amount_off: dict[str, int] = Field(description="In minor units, by currency.")
    left: int | None = Field(description="How often it can still be used; null: any number.")
    ends_at: datetime | None


class ProductAnswer(Answer):
    """Something for sale."""

    id: str
    name: str
    description: str | None
    plan_key: str | None = Field(description="The catalogue's plan, if it is one.")
    features: list[str]
    limits: dict[str, LimitAnswer]
    active: bool
    prices: list[ProductPriceAnswer]
    coupons: list[CouponAnswer]


class ProductsAnswer(Answer):
    """Everything for sale."""

    data: list[ProductAnswer]


@router.get(
    "/api/products", response_model=ProductsAnswer, **described(signed_in=False, refusals=(503,))
)
async def list_products(request: Request) -> Response:
    """List products, prices and codes at the provider that this deployment uses first."""
    wiring = api_of(request).wiring
    provider = next(iter(wiring.providers), "")
    things = await mirror.list_cached(wiring.db, wiring.tags, provider)
    shown = coupons.shown(things, at=wiring.clock.now())
    prices: dict[str, list[Thing]] = {}
    for thing in things:
        if thing.kind == "price" and thing.body["active"]:
            prices.setdefault(thing.body["product"] or "", []).append(thing)
    locale = locale_of(request)
    products = [
        _product(thing, prices.get(thing.id, []), shown, locale)
        for thing in things
        if thing.kind == "product" and thing.body["active"]
    ]
    return answer(ProductsAnswer(data=products))


def _product(
    product: Thing, prices: Sequence[Thing], shown: Sequence[Coupon], locale: str
) -> ProductAnswer:
    body, said = product.body, product.body["metadata"]
    is_plan = said.get("bursar_kind") == "plan"
    ordered = sorted(prices, key=lambda p: (p.body["currency"] or "", p.body["amount_minor"] or 0))
    return ProductAnswer(
        id=product.id,
        name=body["name"],
        description=body["description"],
        plan_key=said.get("bursar_key") if is_plan else None,
        features=[name for name in said.get("bursar_features", "").split(",") if name],
        limits=_limits(said.get("bursar_limits", "")),
        active=body["active"],
        prices=[_price(p, locale) for p in ordered if p.body["amount_minor"] is not None],
        coupons=[_coupon(coupon) for coupon in shown if coupon.is_for(product.id)],
    )


def _limits(words: str) -> dict[str, LimitAnswer]:
    """Limits from the words in which they stand at the provider: `api_calls=1000/month,seats=3`.

    Somebody may have changed them there; what can't be read is left out.
    """
    limits: dict[str, LimitAnswer] = {}
    for word in words.split(","):
        name, _, said = word.partition("=")
        count, _, per = said.partition("/")
        if name and _COUNT.fullmatch(count) and per in ("", "day", "month"):
            limits[name] = LimitAnswer.model_validate({"count": int(count), "per": per or None})
    return limits


def _price(price: Thing, locale: str) -> ProductPriceAnswer:
    amount, currency = price.body["amount_minor"], price.body["currency"] or "usd"
    return ProductPriceAnswer(
        id=price.id,
        amount=amount,
        currency=currency,
        interval=price.body["recurring"],
        price_formatted=format_money(amount, currency, locale=locale),
    )


def _coupon(coupon: Coupon) -> CouponAnswer:
    return CouponAnswer(
        code=coupon.code,
        effect=coupon.effect(),
        percent_off=None if coupon.percent_off is None else float(coupon.percent_off),
        amount_off=dict(coupon.amounts),
        left=coupon.left,
        ends_at=coupon.ends_at,
    )
