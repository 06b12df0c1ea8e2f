"""Subscribing from the pricing page: what it shows of plans that renew, and the press of a button.

Owns `/pricing/subscribe`. One subscription of a group lives at a time: who has one is led to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.billing import catalog, catalog_plans
from bursar.billing.catalog_plans import Plan
from bursar.billing.orders import Order
from bursar.billing.subscriptions import rows
from bursar.db import Connection
from bursar.entrypoints.web import forms, once, opening, plan_cards, visitors
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.plan_cards import Interval, Shown
from bursar.entrypoints.web.visitors import Visitor
from bursar.providers.port import Provider

ROUTE = "POST /pricing/subscribe"
HAVE = "/account?said=have#plan"
_PLAN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_CURRENCY = re.compile(r"[a-z]{3}", re.ASCII)


async def section(
    site: Site,
    request: Request,
    conn: Connection,
    provider: Provider,
    visitor: Visitor | None,
    *,
    currency: str,
) -> dict[str, object]:
    """What the pricing page shows of plans that renew."""
    plans: Sequence[Plan] = []
    if provider.capabilities.recurring.subscriptions:
        plans = await catalog_plans.list_plans(conn, provider.name)
    live = await rows.list_live(conn, visitor.user.customer_id) if visitor else []
    shown = Shown(
        interval=_interval(request.query_params.get("period")) or _usual(plans),
        currency=currency,
        kept=request.query_params.get("plan"),
        signed_in=visitor is not None,
        live=live,
        had=await _had(conn, visitor, plans),
        now=site.wiring.clock.now(),
    )
    units = {unit.name: unit for unit in await catalog.list_units(conn)}
    return {
        "plan_groups": plan_cards.groups(plans, units, shown),
        "periods": plan_cards.switches(plans, shown),
        "period": shown.interval,
    }


async def _had(conn: Connection, visitor: Visitor | None, plans: Sequence[Plan]) -> frozenset[str]:
    """The groups whose trial the visitor has had."""
    if visitor is None:
        return frozenset()
    tried = {plan.group for plan in plans if plan.trial_days}
    return frozenset(
        [group for group in tried if await rows.had_trial(conn, visitor.user.id, group)]
    )


def _usual(plans: Sequence[Plan]) -> Interval:
    """By the month, unless everything is sold by the year."""
    sold = {price.interval for plan in plans for price in plan.prices}
    return "year" if sold == {"year"} else "month"


def _interval(text: str | None) -> Interval | None:
    found: dict[str | None, Literal["month", "year"]] = {"month": "month", "year": "year"}
    return found.get(text)


async def subscribe(site: Site, request: Request) -> Response:
    """POST /pricing/subscribe: open a checkout, then 303 to the provider's hosted page."""
    fields = await forms.read(request)
    provider = _provider(site)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
    form_key = once.key_of(fields)
    order = _order(site, visitor, fields)
    words = f"{order.plan}:{order.interval}:{order.currency}"
    try:
        return await opening.open_once(
            site, provider, visitor, order, route=ROUTE, form_key=form_key, words=words
        )
    except errors.AlreadySubscribed:
        return once.leave(HAVE)


def _provider(site: Site) -> Provider:
    for provider in site.wiring.providers.values():
        if provider.capabilities.recurring.subscriptions:
            return provider
    raise errors.NotSupported("Nothing that renews is sold here.")


def _order(site: Site, visitor: Visitor, fields: dict[str, str]) -> Order:
    plan, currency = fields.get("plan", ""), fields.get("currency", "")
    interval = _interval(fields.get("period"))
    if not _PLAN.fullmatch(plan):
        raise errors.UnknownItem("There is no such plan on sale.")
    if interval is None:
        raise errors.IntervalNotOffered("Choose a plan by the month or by the year.")
    if not _CURRENCY.fullmatch(currency):
        raise errors.CurrencyNotSold("Nothing is sold in this currency.")
    left = {"canceled": "1", "plan": plan, "period": interval}
    if currency != catalog.DEFAULT_CURRENCY:
        left["currency"] = currency
    return Order(
        customer_id=visitor.user.customer_id,
        user=visitor.user,
        plan=plan,
        interval=interval,
        currency=currency,
        success_url=opening.success_url(site),
        cancel_url=f"{site.own_url}/pricing?{urlencode(left)}",
    )
