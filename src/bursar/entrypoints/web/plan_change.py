"""The pages on which a subscriber changes plan: a choice, what it costs, and the confirmation.

Owns `/account/plan/{id}/change`. What a change costs is asked of the provider when it is shown, and
again, for the same moment, when it is confirmed: another amount is shown before anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.billing import catalog, catalog_plans, subscription_changes
from bursar.billing.catalog_plans import Plan, PlanPrice
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints.web import forms, once, pages, plan_quotes, subscriptions, visitors
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.plan_quotes import Quote, Target
from bursar.entrypoints.web.subscription_lines import plan_name, price_of
from bursar.entrypoints.web.visitors import Visitor
from bursar.providers.recurring import Preview

ROUTE = "POST /account/plan/change"
DECLINED = (
    "The payment provider could not take the money, so nothing was changed and you were not "
    "charged. Update your card, or try again."
)
REQUOTED = "What this costs has changed since it was shown to you. Nothing was charged."

log = structlog.get_logger("bursar.web")


@dataclass(frozen=True, slots=True)
class Changing:
    """Who changes what, and to what it can be changed."""

    visitor: Visitor
    row: Subscription
    name: str
    found: list[tuple[Plan, PlanPrice]]


async def show(site: Site, request: Request) -> Response:
    """GET …/change: the plans to choose from; with `to`, what that one costs."""
    changing = await _open(site, request)
    query = request.query_params
    if "to" not in query:
        return await _choose(site, request, changing)
    try:
        target = plan_quotes.read_target(
            changing.found, changing.row, query["to"], query.get("quantity", "")
        )
    except errors.Invalid as error:
        return await _choose(site, request, changing, fault=error.detail)
    preview = await _preview(site, changing, target)
    return _quote(site, request, changing, target, preview)


async def _open(site: Site, request: Request) -> Changing:
    """Raises NotFound, Unauthenticated, SubscriptionNotChangeable and NotSupported."""
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        row = await subscriptions.own(conn, visitor, request)
        plans = await catalog_plans.list_plans(conn, row.provider)
        terms = await catalog_plans.list_terms(conn, row.provider, [row.price_id])
    name = plan_name(row, terms.get(row.price_id))
    if row.cancel_at is not None and row.live:
        raise errors.SubscriptionNotChangeable(f"{name} is about to end. Resume it first.")
    if row.status not in ("trialing", "active"):
        raise errors.SubscriptionNotChangeable(
            f"{name} can only be changed while it runs. Your account says what it waits for."
        )
    found = plan_quotes.offered(plans, row)
    if not found:
        raise errors.SubscriptionNotChangeable(f"There is no other plan to change {name} to.")
    return Changing(visitor, row, name, found)


async def _choose(site: Site, request: Request, changing: Changing, *, fault: str = "") -> Response:
    async with site.wiring.db.connection() as conn:
        units = {unit.name: unit for unit in await catalog.list_units(conn)}
    row, query = changing.row, request.query_params
    values: dict[str, object] = {
        "row": row,
        "name": changing.name,
        "price": price_of(row),
        "choices": plan_quotes.choices(changing.found, row, units, query.get("to", "")),
        "counts": plan_quotes.counts(changing.found, row),
        "quantity": query.get("quantity", "")[:6] or str(row.quantity),
        "fault": fault,
    }
    status = 422 if fault else 200
    return pages.render(
        site, request, "plan_change.html", values, visitor=changing.visitor, status=status
    )


async def _preview(
    site: Site, changing: Changing, target: Target, at: datetime | None = None
) -> Preview:
    wiring = site.wiring
    wanted = _wanted(site, changing, target, at)
    return await subscription_changes.preview(
        wiring.db, wiring.providers, wanted, clock=wiring.clock
    )


def _wanted(site: Site, changing: Changing, target: Target, at: datetime | None) -> Wanted:
    wiring, row, visitor = site.wiring, changing.row, changing.visitor
    return Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind="change",
        plan=target.plan.key,
        interval=target.interval,
        quantity=target.quantity,
        proration=plan_quotes.proration(
            row, target, wiring.provider(row.provider).capabilities.recurring
        ),
        at=at,
        requested_by=visitor.actor.principal,
        actor=visitor.actor,
        rules=wiring.rules,
    )


def _quote(
    site: Site,
    request: Request,
    changing: Changing,
    target: Target,
    preview: Preview,
    *,
    told: str = "",
    declined: str = "",
) -> Response:
    wanted = _wanted(site, changing, target, None)
    provider = site.wiring.provider(changing.row.provider)
    made: Quote = plan_quotes.quote(preview, changing.row, target, wanted.proration)
    values: dict[str, object] = {
        "row": changing.row,
        "name": changing.name,
        "price": price_of(changing.row),
        "quote": made,
        "told": told,
        "declined": declined,
        "portal": provider.name if provider.capabilities.recurring.portal else "",
        "key": uuid4().hex,
    }
    return pages.render(
        site,
        request,
        "plan_quote.html",
        values,
        visitor=changing.visitor,
        status=409 if told or declined else 200,
        ways_out=provider.capabilities.hosted_origins,
    )


async def confirm(site: Site, request: Request) -> Response:
    """POST …/change: make the change that was shown, at the price that was shown."""
    fields = await forms.read(request)
    form_key = once.key_of(fields)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        row = await subscriptions.own(conn, visitor, request)
    done = f"/account?said=changed&of={row.id}#plan"
    requoted: list[Preview] = []

    async def work(key: idempotency.Key, resume: str | None) -> str:
        changing = None if resume else await _open(site, request)
        wanted = Wanted(
            customer_id=row.customer_id,
            subscription_id=row.id,
            kind="change",
            requested_by=visitor.actor.principal,
        )
        if changing is not None:
            target = plan_quotes.read_target(
                changing.found, changing.row, fields.get("to", ""), fields.get("quantity", "")
            )
            preview, agreed = await _agree(site, changing, target, fields)
            if not agreed:
                requoted.append(preview)
                raise errors.Conflict("What the change costs is not what was shown.")
            wanted = _wanted(site, changing, target, preview.at)
        wiring = site.wiring
        await subscription_changes.request(
            wiring.db, wiring.providers, wanted, clock=wiring.clock, key=key, resume=resume
        )
        return done

    words = f"{row.id}:{fields.get('to')}:{fields.get('quantity')}:{fields.get('at')}"
    try:
        return await once.do(site, visitor, work, route=ROUTE, form_key=form_key, words=words)
    except errors.Conflict:
        if not requoted:
            raise
        return await _again(site, request, fields, preview=requoted[0])
    except errors.ProviderRejected as error:
        log.info("change_refused", subscription_id=row.id, detail=error.detail)
        return await _again(site, request, fields, declined=DECLINED)
    except subscriptions.OPEN:
        return once.leave(subscriptions.STORED)


async def _agree(
    site: Site, changing: Changing, target: Target, fields: Mapping[str, str]
) -> tuple[Preview, bool]:
    """What the change costs by the quote that was shown, and whether the provider still says so.

    A quote that is too old is reckoned for this moment.
    """
    at = plan_quotes.read_moment(fields.get("at", ""), site.wiring.clock.now())
    preview = await _preview(site, changing, target, at)
    made = plan_quotes.quote(
        preview, changing.row, target, _wanted(site, changing, target, None).proration
    )
    same = all(made.fields[name] == fields.get(name) for name in ("proration", "today", "next"))
    return preview, at is not None and same


async def _again(
    site: Site,
    request: Request,
    fields: Mapping[str, str],
    *,
    preview: Preview | None = None,
    declined: str = "",
) -> Response:
    """The quote as it is now, and why nothing was done."""
    told = "" if declined else REQUOTED
    changing = await _open(site, request)
    target = plan_quotes.read_target(
        changing.found, changing.row, fields.get("to", ""), fields.get("quantity", "")
    )
    preview = preview or await _preview(site, changing, target)
    return _quote(site, request, changing, target, preview, told=told, declined=declined)
