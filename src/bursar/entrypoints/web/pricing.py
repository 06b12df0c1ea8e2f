"""The pricing page, and the buying that begins there.

Owns `/`, `/pricing` and `/pricing/buy`. A press of Buy opens a hosted checkout once for each key
that the page carried, so that a second press leads to the same one. It sets no price.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.billing import catalog, catalog_plans, coupons, mirror
from bursar.billing.catalog import Pack, Unit
from bursar.billing.catalog_file import product_id
from bursar.billing.orders import Order
from bursar.db import Connection
from bursar.entrypoints.currencies import usual_currency
from bursar.entrypoints.web import (
    coupon_lines,
    durations,
    forms,
    offers,
    once,
    opening,
    pages,
    subscribing,
    visitors,
)
from bursar.entrypoints.web.coupon_lines import CouponLine
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.money import Money
from bursar.providers.port import Provider

ROUTE = "POST /pricing/buy"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_CURRENCY = re.compile(r"[a-z]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Typed:
    """The amount that was typed, which is kept, and what is wrong with it, if anything is."""

    amount: str
    currency: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a form asks for: a pack by its key, or an amount."""

    package: str | None
    amount_minor: int | None
    currency: str

    @property
    def words(self) -> str:
        """The same for the same order, so that it can stand in an idempotency key."""
        return f"{self.package or self.amount_minor}:{self.currency}"


def provider_of(site: Site) -> Provider:
    """The provider at which this shop sells. Raises errors.NotSupported if there is none."""
    for provider in site.wiring.providers.values():
        return provider
    raise errors.NotSupported("No payment provider is set up.")


async def show(site: Site, request: Request) -> Response:
    """GET / and /pricing: what is for sale."""
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.find(conn, request)
        query = request.query_params
        typed = Typed(query.get("amount", "")[: offers.AMOUNT_LENGTH_MAX], query.get("topup", ""))
        return await _page(site, request, conn, visitor, typed)


def _currency(site: Site, request: Request, sold: Sequence[str]) -> str:
    """The currency that prices are shown in: the one asked for, the visitor's, the default."""
    asked = request.query_params.get("currency", "")
    wanted = (asked, usual_currency(request, site.wiring.settings), *sold)
    return next((c for c in wanted if c is not None and c in sold), catalog.DEFAULT_CURRENCY)


async def _page(
    site: Site,
    request: Request,
    conn: Connection,
    visitor: Visitor | None,
    typed: Typed,
) -> Response:
    provider = provider_of(site)
    query = request.query_params
    sold = await catalog.list_currencies(conn, provider.name)
    currency = _currency(site, request, sold)
    packs = await catalog.list_packs(conn, provider.name, usual=currency)
    topup = None
    if provider.capabilities.free_amount:
        topup = offers.top_up(await catalog.list_units(conn), provider.capabilities.minimum_minor)
    plans = await _durations(site, conn, provider, currency)
    values: dict[str, object] = {
        **await subscribing.section(site, request, conn, provider, visitor, currency=currency),
        "durations": plans,
        "tables": offers.rates(packs, kept=query.get("package")),
        "topup": topup,
        "typed": typed,
        "canceled": query.get("canceled") == "1",
        "key": uuid4().hex,
        "currencies": sorted({pack.currency.upper() for pack in packs}),
        "currency": currency,
        "sold": sold if len(sold) > 1 else [],
        "coupons": await _coupons(site, provider, packs, currency),
        "provider_name": provider.name.capitalize(),
        "taxed": await says_tax(conn, provider),
    }
    return pages.render(
        site,
        request,
        "pricing.html",
        values,
        visitor=visitor,
        status=422 if typed.fault else 200,
        ways_out=provider.capabilities.hosted_origins,
        card_form=provider.capabilities.card_form_origins() if plans and visitor else None,
    )


async def says_tax(conn: Connection, provider: Provider) -> bool:
    """Whether buyers meet tax at all: by the provider's reckoning, or because a price says so."""
    return provider.capabilities.terms.automatic_tax or await catalog.says_tax(conn, provider.name)


async def _coupons(
    site: Site, provider: Provider, packs: Sequence[Pack], currency: str
) -> list[CouponLine]:
    """The codes to show, where codes can be typed; from the mirror, never from the provider."""
    wiring = site.wiring
    if not provider.capabilities.terms.promotion_codes:
        return []
    now = wiring.clock.now()
    things = await mirror.list_cached(wiring.db, wiring.tags, provider.name)
    named = {product_id("pack", pack.key): pack.name for pack in packs}
    return coupon_lines.lines(coupons.shown(things, at=now), named, currency=currency, now=now)


async def _durations(
    site: Site, conn: Connection, provider: Provider, currency: str | None
) -> list[durations.Offer]:
    """Plans by duration, where cards can be taken in a form of ours."""
    if provider.capabilities.card_form is None or not site.wiring.settings.publishable_key:
        return []
    units = {unit.name: unit for unit in await catalog.list_units(conn)}
    plans = await catalog_plans.list_plans(conn, provider.name)
    return durations.offers(plans, units, currency=currency)


async def buy(site: Site, request: Request) -> Response:
    """POST /pricing/buy: open a checkout, then 303 to the provider's hosted page."""
    fields = await forms.read(request)
    provider = provider_of(site)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        key = once.key_of(fields)
        try:
            bought = await _read(conn, provider, fields)
        except errors.Invalid as error:
            if "amount" not in fields:
                raise
            amount = fields["amount"][: offers.AMOUNT_LENGTH_MAX]
            typed = Typed(amount, fields.get("currency", ""), error.detail)
            return await _page(site, request, conn, visitor, typed)
    return await opening.open_once(
        site,
        provider,
        visitor,
        _order(site, visitor, bought),
        route=ROUTE,
        form_key=key,
        words=bought.words,
    )


async def _read(conn: Connection, provider: Provider, fields: dict[str, str]) -> Bought:
    currency = fields.get("currency", "").lower()
    if not _CURRENCY.fullmatch(currency):
        raise errors.CurrencyNotSold("Nothing is sold in this currency.")
    if "amount" not in fields:
        package = fields.get("package", "")
        if not _PACKAGE.fullmatch(package):
            raise errors.UnknownItem("There is no such package on sale.")
        return Bought(package, None, currency)
    unit = await _topup_unit(conn)
    minimum = provider.capabilities.minimum_minor.get(currency, 1)
    amount = offers.read_amount(fields["amount"], unit, currency, minimum=minimum)
    return Bought(None, amount, currency)


async def _topup_unit(conn: Connection) -> Unit:
    unit = await catalog.get_unit(conn, None)
    if not unit.per_minor:
        raise errors.UnknownUnit("Nothing is sold by amount.")
    return unit


def _order(site: Site, visitor: Visitor, bought: Bought) -> Order:
    left = {"canceled": "1"}
    if bought.amount_minor is not None:
        currency = bought.currency
        left |= {"amount": str(Money(bought.amount_minor, currency).major()), "topup": currency}
    elif bought.package:
        left["package"] = bought.package
        if bought.currency != catalog.DEFAULT_CURRENCY:
            left["currency"] = bought.currency
    return Order(
        customer_id=visitor.user.customer_id,
        user=visitor.user,
        package=bought.package,
        amount_minor=bought.amount_minor,
        currency=bought.currency,
        success_url=opening.success_url(site),
        cancel_url=f"{site.own_url}/pricing?{urlencode(left)}",
    )
