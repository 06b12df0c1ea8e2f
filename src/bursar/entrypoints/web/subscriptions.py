"""Subscriptions on the account page, and the acts there: cancel, resume, pause.

Owns `/account/plan/{id}/cancel`, `/resume` and `/pause`. What a subscription is, the provider says;
a page shows it as it was last read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.billing import catalog, catalog_plans, provider_customers, subscription_changes
from bursar.billing.catalog_plans import Terms
from bursar.billing.subscription_changes import Kind, Wanted
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Invoice, Subscription
from bursar.db import Connection
from bursar.entrypoints.subscription_words import day
from bursar.entrypoints.web import forms, once, pages, subscription_lines, visitors
from bursar.entrypoints.web.figures import plural
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.plan_cards import features
from bursar.entrypoints.web.subscription_lines import plan_name, price_of
from bursar.entrypoints.web.visitors import Visitor
from bursar.providers.recurring import NOT_RECURRING, Recurring

ROUTE = "POST /account/plan"
INVOICES = 12
# What was asked is stored, and what became of it will be asked about.
OPEN = (errors.ProviderUnavailable, errors.ProviderUnknown)
STORED = "/account?said=stored#plan"
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


async def own(conn: Connection, visitor: Visitor, request: Request) -> Subscription:
    """The subscription of the address, if it is the visitor's. Raises errors.NotFound."""
    named = str(request.path_params["subscription_id"])
    if not _ID.fullmatch(named):
        raise errors.NotFound()
    return await rows.get(conn, visitor.user.customer_id, int(named))


async def section(
    site: Site, request: Request, conn: Connection, visitor: Visitor
) -> dict[str, object]:
    """What the account page shows of subscriptions."""
    customer_id, now = visitor.user.customer_id, site.wiring.clock.now()
    live = await rows.list_live(conn, customer_id)
    bills = await rows.latest_invoices(conn, customer_id, None, limit=INVOICES + 1)
    everything = await rows.list_for(conn, customer_id, limit=100)
    terms = await _terms(conn, everything)
    names = {row.id: plan_name(row, terms.get(row.price_id)) for row in everything}
    shown = [bill for bill in bills[:INVOICES] if bill.status != "draft"]
    said = await _said(conn, request, visitor, terms)
    return {
        "subscriptions": [
            subscription_lines.line(row, terms.get(row.price_id), _can(site, row)) for row in live
        ],
        "failed": [
            subscription_lines.failed_charge(row, terms.get(row.price_id), bill)
            for row in live
            if row.status in ("past_due", "unpaid")
            and (bill := _owed(row, await rows.find_open_invoice(conn, row)))
        ],
        "invoices": [
            subscription_lines.invoice_line(bill, names.get(bill.subscription_id, ""), now)
            for bill in shown
        ],
        "invoices_more": len(bills) > INVOICES,
        "portal": await portal_of(site, conn, visitor),
        "told": said,
        "plan_key": uuid4().hex,
    }


def ways_out(site: Site) -> list[str]:
    """Where forms of the account page may end: at the providers' portals."""
    found = site.wiring.providers.values()
    return [origin for provider in found for origin in provider.capabilities.hosted_origins]


def _owed(row: Subscription, bill: Invoice | None) -> Invoice | None:
    return bill if bill is not None and (bill.attempts or row.status == "unpaid") else None


def _can(site: Site, row: Subscription) -> Recurring:
    provider = site.wiring.providers.get(row.provider)
    return provider.capabilities.recurring if provider else NOT_RECURRING


async def _terms(conn: Connection, found: list[Subscription]) -> dict[str, Terms]:
    terms: dict[str, Terms] = {}
    for name in {row.provider for row in found}:
        prices = [row.price_id for row in found if row.provider == name]
        terms |= await catalog_plans.list_terms(conn, name, prices)
    return terms


async def _said(
    conn: Connection, request: Request, visitor: Visitor, terms: Mapping[str, Terms]
) -> tuple[str, str] | None:
    """What was done just now, if the subscription shows it: a heading and a sentence."""
    said, of = request.query_params.get("said", ""), request.query_params.get("of", "")
    if said == "stored":
        return "We asked the payment provider, and have no answer yet.", (
            "We keep asking, and this page will say what came of it. There is no need to do it "
            "again."
        )
    if said == "have":
        return "You have a plan already.", "You were not charged. Change it here."
    if not _ID.fullmatch(of):
        return None
    try:
        row = await rows.get(conn, visitor.user.customer_id, int(of))
    except errors.NotFound:
        return None
    return subscription_lines.told(said, row, terms.get(row.price_id))


async def confirm_cancel(site: Site, request: Request) -> Response:
    """GET …/cancel: what is lost, and when."""
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        row = await own(conn, visitor, request)
        terms = (await _terms(conn, [row])).get(row.price_id)
        units = {unit.name: unit for unit in await catalog.list_units(conn)}
    if not row.live or (row.cancel_at is not None and "now" not in request.query_params):
        return once.leave("/account#plan")
    unit = units.get(terms.unit) if terms and terms.credits else None
    trial = row.status == "trialing"
    ends = row.cancel_at or (row.trial_end if trial and row.trial_end else row.period_end)
    values: dict[str, object] = {
        "row": row,
        "name": plan_name(row, terms),
        "price": price_of(row),
        "ends": day(ends),
        "trial": trial,
        # What is paused or owed has no period that is paid for.
        "at_once": row.status not in ("trialing", "active"),
        "features": features(terms.rights) if terms else (),
        "credits": plural(unit) if unit else "",
        "key": uuid4().hex,
    }
    return pages.render(site, request, "plan_cancel.html", values, visitor=visitor)


async def cancel(site: Site, request: Request) -> Response:
    """POST …/cancel: end it with its period, or now."""
    fields = await forms.read(request)
    now = fields.get("when") == "now"
    return await _steer(
        site, request, fields, "cancel_now" if now else "cancel", "ended" if now else "canceled"
    )


async def resume(site: Site, request: Request) -> Response:
    """POST …/resume: let it go on."""
    return await _steer(site, request, await forms.read(request), "resume", "resumed")


async def pause(site: Site, request: Request) -> Response:
    """POST …/pause: charge nothing, and give nothing, until it is resumed."""
    return await _steer(site, request, await forms.read(request), "pause", "paused")


async def to_account(site: Site, request: Request) -> Response:
    """GET of an address that only takes posts: back to where its button is."""
    return once.leave("/account#plan")


async def _steer(
    site: Site, request: Request, fields: Mapping[str, str], kind: Kind, said: str
) -> Response:
    form_key, wiring = once.key_of(fields), site.wiring
    async with wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        row = await own(conn, visitor, request)
    if kind == "resume":
        kind = subscription_lines.resume_kind(row)
    wanted = Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind=kind,
        requested_by=visitor.actor.principal,
        actor=visitor.actor,
        rules=wiring.rules,
    )

    async def work(key: idempotency.Key, begun: str | None) -> str:
        await subscription_changes.request(
            wiring.db, wiring.providers, wanted, clock=wiring.clock, key=key, resume=begun
        )
        return f"/account?said={said}&of={row.id}#plan"

    try:
        route = f"{ROUTE}/{said}"
        return await once.do(site, visitor, work, route=route, form_key=form_key, words=str(row.id))
    except OPEN:
        return once.leave(STORED)


async def portal_of(site: Site, conn: Connection, visitor: Visitor) -> str:
    """The provider that has a portal for this customer; empty where there is none."""
    for name, provider in site.wiring.providers.items():
        if provider.capabilities.recurring.portal:
            theirs = await provider_customers.find_name(conn, name, visitor.user.customer_id)
            if theirs is not None:
                return name
    return ""
