"""Hosted checkouts that our pages open: one for each form, held to the limit of checkouts."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from bursar.access import idempotency, limits
from bursar.billing import checkouts
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from bursar.entrypoints.web import once
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.providers.port import Provider

LIMIT_SCOPE = "checkout"


async def open_once(
    site: Site,
    provider: Provider,
    visitor: Visitor,
    order: Order,
    *,
    route: str,
    form_key: str,
    words: str,
) -> Response:
    """303 to the provider's hosted page. Raises what checkouts.open does, and errors.Throttled."""

    async def work(key: idempotency.Key, resume: str | None) -> str:
        if resume is None:
            await _count(site, visitor)
        payment = await checkouts.open(
            site.wiring.db, provider, order, clock=site.wiring.clock, key=key, resume=resume
        )
        return _way_to(payment)

    return await once.do(site, visitor, work, route=route, form_key=form_key, words=words)


def success_url(site: Site) -> str:
    """Where a hosted page leads once it is paid; the provider puts its session in."""
    return f"{site.own_url}/checkout/success?session_id={{CHECKOUT_SESSION_ID}}"


async def _count(site: Site, visitor: Visitor) -> None:
    """Hold the user to the limit of checkouts, together with those opened over the API."""
    async with site.wiring.db.connection() as conn:
        await limits.take(conn, LIMIT_SCOPE, visitor.user.id, site.wiring.settings.limit_checkout)


def _way_to(payment: Payment) -> str:
    """Where a checkout goes on: at the provider, or on our own page once it is over."""
    if payment.session_url and not payment.settled:
        return payment.session_url
    return f"/checkout/success?session_id={quote(payment.session_id or '')}"
