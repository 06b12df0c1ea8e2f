"""The page with the card form, the same form for the modal on the pricing page, and its one post.

Owns `/checkout`, `/checkout/form` and `/checkout/intent`. An order has a key in the page's address,
so that a reload, the back button and a second press all mean the same payment. The card is typed
into the provider's element and confirmed by the browser at the provider: no part of it comes here.
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import quote, urlencode
from uuid import uuid4

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.idempotency import Key
from bursar.billing import catalog, catalog_plans, checkouts, intents, orders, payments
from bursar.billing.orders import Order, Priced
from bursar.billing.payments import Payment
from bursar.db import Connection
from bursar.entrypoints import card_forms
from bursar.entrypoints.api.answers import Answer
from bursar.entrypoints.api.once import once
from bursar.entrypoints.web import (
    card_words,
    forms,
    outcomes,
    pages,
    pricing,
    problems,
    visitors,
    wanted_orders,
)
from bursar.entrypoints.web.figures import amount_of
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.entrypoints.web.wanted_orders import Wanted
from bursar.money import format_money
from bursar.providers.port import Provider

log = structlog.get_logger("bursar.web")

ROUTE = "POST /checkout/intent"
PAID = ("completed", "authorized", "processing", "refunded", "partially_refunded", "disputed")
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


class Begun(Answer):
    """What is kept of an order that was begun: never the secret by which it is confirmed."""

    payment_intent_id: str


async def show(site: Site, request: Request) -> Response:
    """GET /checkout?package= | plan=&months= | amount=&currency=: the order and the card form."""
    return await _show(site, request, "checkout.html")


async def show_fragment(site: Site, request: Request) -> Response:
    """GET /checkout/form?…: the form alone, for the modal on the pricing page."""
    return await _show(site, request, "card_form.html")


async def _show(site: Site, request: Request, template: str) -> Response:
    provider = pricing.provider_of(site)
    publishable_key = _publishable_key(site)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        wanted = wanted_orders.read(request.query_params)
        key = request.query_params.get("order", "")
        if not _KEY.fullmatch(key):
            return _begin_order(request, wanted)
        begun = await _find_begun(conn, provider, visitor, wanted, key)
        if begun is None:
            priced = await _price(conn, provider, visitor, wanted)
        units = {unit.name: unit for unit in await catalog.list_units(conn)}
        taxed = await pricing.says_tax(conn, provider)
        packs = bool(await catalog.list_packs(conn, provider.name))
    if begun is not None:
        begun = await _synced(site, begun)
        if begun.status in PAID:
            return RedirectResponse(_success(begun), 303, {"cache-control": "no-store"})
        if begun.status == "canceled":
            return _begin_order(request, wanted)
        async with site.wiring.db.connection() as conn:
            priced = await _price(conn, provider, visitor, wanted)
    unit = units.get(priced.unit)
    values: dict[str, object] = {
        "order_key": key,
        "fields": wanted.fields,
        "name": priced.name,
        "brings": amount_of(priced.credits, unit) if unit and priced.credits else "",
        "total": format_money(priced.amount_minor, priced.currency),
        "tax": format_money(0, priced.currency) if taxed else "",
        "hosted": wanted_orders.hosted_fields(wanted, priced),
        "packs": packs,
        "held": priced.capture_method == "manual",
        "publishable_key": publishable_key,
        "provider_receipts": provider.capabilities.receipts,
        "library": _library(provider),
        "words": card_words.words(),
        "fault": _fault(begun),
        "provider_name": provider.name.capitalize(),
    }
    return pages.render(
        site,
        request,
        template,
        values,
        visitor=visitor,
        ways_out=provider.capabilities.hosted_origins,
        card_form=provider.capabilities.card_form_origins(),
    )


def _publishable_key(site: Site) -> str:
    """The key for browsers. Raises errors.NotSupported in words for buyers; the log names the
    setting."""
    try:
        return card_forms.require_publishable_key(site.wiring)
    except errors.PublishableKeyMissing as error:
        log.warning("no_card_form", code=error.code, detail=error.detail)
        raise errors.NotSupported(
            "Cards can't be entered on this page for now. Choose from the price list instead."
        ) from error


def _begin_order(request: Request, wanted: Wanted) -> Response:
    """To the same page with a key of its own for this order."""
    query = urlencode({**wanted.fields, "order": uuid4().hex})
    return RedirectResponse(f"{request.url.path}?{query}", 303, {"cache-control": "no-store"})


def _order(visitor: Visitor, wanted: Wanted) -> Order:
    return Order(
        customer_id=visitor.user.customer_id,
        user=visitor.user,
        package=wanted.package,
        plan=wanted.plan,
        months=wanted.months,
        amount_minor=wanted.amount_minor,
        currency=wanted.currency,
    )


async def _price(conn: Connection, provider: Provider, visitor: Visitor, wanted: Wanted) -> Priced:
    if wanted.plan is not None and wanted.months is None:
        await _refuse_without_months(conn, provider, wanted.plan)
    return await orders.price(conn, provider.name, provider.capabilities, _order(visitor, wanted))


async def _refuse_without_months(conn: Connection, provider: Provider, key: str) -> NoReturn:
    """Say first that there is no such plan, if there is none.

    Raises errors.UnknownItem and errors.DurationNotOffered.
    """
    plans = await catalog_plans.list_plans(conn, provider.name)
    if key not in {plan.key for plan in plans}:
        raise errors.UnknownItem(f"There is no plan {key!r} on sale.")
    raise errors.DurationNotOffered("The address names no number of months.")


def _library(provider: Provider) -> str:
    form = provider.capabilities.card_form
    if form is None:
        raise errors.NotSupported("This payment provider has no card form.")
    return form.library_url


def _key(visitor: Visitor, wanted: Wanted, form_key: str) -> Key:
    return Key(
        visitor.actor.principal,
        ROUTE,
        f"{form_key}:{wanted.words}",
        idempotency.hash_request(visitor.user.id.encode(), wanted.words.encode()),
    )


async def _find_begun(
    conn: Connection, provider: Provider, visitor: Visitor, wanted: Wanted, form_key: str
) -> Payment | None:
    """The payment that this order began, if it did."""
    kept = await idempotency.find_answer(conn, _key(visitor, wanted, form_key))
    if kept is None:
        return None
    intent_id = orjson.loads(kept.response)["payment_intent_id"]
    return await payments.find_by_intent(conn, provider.name, intent_id)


async def _synced(site: Site, payment: Payment) -> Payment:
    """The payment as the provider has it; as we have it when the provider does not answer."""
    wiring = site.wiring
    try:
        return await checkouts.sync(
            wiring.db,
            wiring.provider(payment.provider),
            payment,
            clock=wiring.clock,
            rules=wiring.rules,
        )
    except (
        errors.ProviderUnavailable,
        errors.ProviderRejected,
        errors.ProviderUnknown,
    ) as error:
        log.warning("sync_failed", payment_id=payment.id, code=error.code, detail=error.detail)
        return payment


def _fault(begun: Payment | None) -> str:
    """Why the last try of this order failed, if one did."""
    if begun is None or begun.status != "failed":
        return ""
    return outcomes.DECLINES.get(begun.failure or "", outcomes.DECLINED)


def _success(payment: Payment) -> str:
    return f"/checkout/success?payment_intent={quote(payment.payment_intent_id or '')}"


async def open_intent(site: Site, request: Request) -> Response:
    """POST /checkout/intent: the secret with which the form's script confirms the order."""
    try:
        return await _open_intent(site, request)
    except errors.Error as error:
        return _refused(site, request, error)


async def _open_intent(site: Site, request: Request) -> Response:
    fields = await forms.read(request)
    provider, wiring = pricing.provider_of(site), site.wiring
    publishable_key = _publishable_key(site)
    async with wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
    form_key = fields.pop("order", "")
    wanted = wanted_orders.read(fields)
    if not _KEY.fullmatch(form_key):
        raise errors.Invalid("This form is incomplete. Open the price list again.")
    if wanted.plan is not None and wanted.months is None:
        raise errors.DurationNotOffered("The form names no number of months.")
    key = _key(visitor, wanted, form_key)
    page = f"/checkout?{urlencode({**wanted.fields, 'order': form_key})}"
    secrets: list[str] = []

    async def work(resume: str | None) -> Begun:
        if resume is None:
            await card_forms.count(wiring, card_forms.subject_of(wiring, request))
        opened = await intents.open(
            wiring.db,
            provider,
            _order(visitor, wanted),
            clock=wiring.clock,
            key=key,
            resume=resume,
            page=page,
        )
        secrets.append(opened.client_secret)
        return Begun(payment_intent_id=opened.payment.payment_intent_id or "")

    kept = await once(wiring.db, key, work)
    intent_id = Begun.model_validate_json(bytes(kept.body)).payment_intent_id
    secret = secrets[-1] if secrets else await provider.fetch_client_secret(intent_id)
    answer = {
        "payment_intent_id": intent_id,
        "client_secret": secret,
        "publishable_key": publishable_key,
        "next": f"{wiring.settings.base_path}/checkout/success?payment_intent={quote(intent_id)}",
    }
    return JSONResponse(answer, headers={"cache-control": "no-store"})


def _refused(site: Site, request: Request, error: errors.Error) -> Response:
    """An error in the words of its page, for the form's script to show."""
    problem = problems.problem_of(error)
    if problem.status >= 500:
        request_id = problems.request_id_of(request)
        log.warning("failed", code=error.code, detail=error.detail, request_id=request_id)
    answer: dict[str, object] = {
        "code": error.code,
        "heading": problem.heading,
        "sentence": problem.sentence,
        "detail": error.detail if problem.says_detail else "",
    }
    headers = {"cache-control": "no-store"}
    if isinstance(error, errors.Throttled):
        headers["retry-after"] = str(error.retry_after_seconds)
        answer["retry_after_seconds"] = error.retry_after_seconds
    if isinstance(error, errors.Unauthenticated):
        answer["sign_in"] = f"{site.wiring.settings.base_path}/sign-in"
    return JSONResponse(answer, problem.status, headers)
