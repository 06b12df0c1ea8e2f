"""The page that a buyer comes back to: it shows what became of the payment, not what we hope.

Owns `/checkout/success` and the fragment that watches it. It settles through the same function as
the webhook, so the balance is right whichever comes first; a payment of somebody else is not there.
A buyer whose app has a login of its own is not signed in here: the state is said, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.billing import catalog, catalog_plans, checkouts, customers, payments, plan_terms
from bursar.billing.payments import Payment
from bursar.billing.subscriptions import rows
from bursar.db import Connection
from bursar.entrypoints.web import beginnings, outcomes, pages, plan_lines, visitors
from bursar.entrypoints.web.beginnings import Begun
from bursar.entrypoints.web.outcomes import Act, Brief, Credited, Outcome
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.plan_lines import PlanLine
from bursar.entrypoints.web.visitors import Visitor
from bursar.ledger import balances

log = structlog.get_logger("bursar.web")

PROVIDER_ID_MAX = 255
POSTINGS_LOOKED_AT = 100
SUBSCRIPTIONS_LOOKED_AT = 100
REFRESH_SECONDS = 4
# The page without script asks again by itself for a while, and then leaves it to the reader.
REFRESHES_UNTIL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks at what, and for how many seconds already."""

    visitor: Visitor | None
    outcome: Outcome | Brief
    waited_seconds: int


async def show(site: Site, request: Request) -> Response:
    """GET /checkout/success?session_id= | payment_intent=: the payment's outcome as a page."""
    return _render(site, request, "success.html", await _look(site, request))


async def show_fragment(site: Site, request: Request) -> Response:
    """GET /checkout/success/status?…: the outcome alone, for the page's script."""
    look = await _look(site, request)
    return _render(site, request, _part(look), look)


def _render(site: Site, request: Request, template: str, look: Look) -> Response:
    named = _named(request)
    waited = look.waited_seconds + REFRESH_SECONDS
    again = urlencode({**named, "waited": waited})
    values: dict[str, object] = {
        "outcome": look.outcome,
        "part": _part(look),
        "watch": f"/checkout/success/status?{urlencode(named)}",
        "refresh": f"{REFRESH_SECONDS};url=/checkout/success?{again}",
        "refreshes": look.outcome.waiting and waited < REFRESHES_UNTIL_SECONDS,
    }
    return pages.render(site, request, template, values, visitor=look.visitor)


def _part(look: Look) -> str:
    return "outcome.html" if isinstance(look.outcome, Outcome) else "outcome_brief.html"


async def _look(site: Site, request: Request) -> Look:
    """Raises errors.Unauthenticated and errors.NotFound."""
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.find(conn, request)
        payment = await _find(site, conn, _named(request))
        if payment is None:
            raise errors.NotFound() if visitor else errors.Unauthenticated()
        if visitor is not None:
            await customers.customer_for(conn, visitor.user, payment.customer_id)
    payment = await _synced(site, payment)
    waited = _seconds(request.query_params.get("waited", ""))
    if visitor is None:
        return Look(None, outcomes.brief(payment, _back(site)), waited)
    async with site.wiring.db.connection() as conn:
        brought = await _credited(conn, payment)
        plan = await _plan(site, conn, payment)
        begun = await _begun(conn, payment)
    outcome = outcomes.outcome(
        payment, waited_seconds=waited, brought=brought, plan=plan, begun=begun
    )
    return Look(visitor, outcome, waited)


def _back(site: Site) -> Act:
    """To the app that sent the buyer; without one of its own, to our prices."""
    settings = site.wiring.settings
    if not settings.frontend_url:
        return Act("See prices", "/pricing")
    return Act(f"Back to {settings.shop_name}", settings.shop_url)


def _named(request: Request) -> dict[str, str]:
    """What the address names the payment by: a hosted session, or an intent of our card form."""
    for name in ("session_id", "payment_intent"):
        if name in request.query_params:
            return {name: request.query_params[name]}
    return {"session_id": ""}


async def _find(site: Site, conn: Connection, named: dict[str, str]) -> Payment | None:
    [(kind, provider_id)] = named.items()
    if not 1 <= len(provider_id) <= PROVIDER_ID_MAX or not provider_id.isprintable():
        return None
    find = payments.find_by_session if kind == "session_id" else payments.find_by_intent
    for name in site.wiring.providers:
        payment = await find(conn, name, provider_id)
        if payment is not None:
            return payment
    return None


async def _synced(site: Site, payment: Payment) -> Payment:
    """The payment as the provider has it; as we have it when the provider does not answer."""
    try:
        wiring = site.wiring
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
        # The webhook may come all the same; until then the page says that it is waiting.
        log.warning("sync_failed", payment_id=payment.id, code=error.code, detail=error.detail)
        return payment


async def _credited(conn: Connection, payment: Payment) -> Credited | None:
    if payment.state != "completed" or payment.unit is None:
        return None
    units = {unit.name: unit for unit in await catalog.list_units(conn)}
    postings = await balances.list_postings(
        conn, payment.customer_id, unit=payment.unit, before=None, limit=POSTINGS_LOOKED_AT
    )
    return outcomes.credited(postings, payment, units.get(payment.unit))


async def _plan(site: Site, conn: Connection, payment: Payment) -> PlanLine | None:
    """The months of a plan that the payment bought, if it did."""
    if payment.state != "completed" or not payment.snapshot.get("months"):
        return None
    key, now = str(payment.snapshot["plan"]), site.wiring.clock.now()
    for term in await plan_terms.list_terms(conn, payment.customer_id, plan=key):
        if term.payment_id == payment.id and term.starts_at < term.ends_at:
            name = plan_lines.plan_name(str(payment.snapshot["name"]))
            return plan_lines.plan_line([term], name, now)
    return None


async def _begun(conn: Connection, payment: Payment) -> Begun | None:
    """The subscription that the payment began, if it did."""
    if payment.status != "completed" or not payment.snapshot.get("subscribes"):
        return None
    for row in await rows.list_for(conn, payment.customer_id, limit=SUBSCRIPTIONS_LOOKED_AT):
        if row.reference == payment.reference:
            terms = await catalog_plans.list_terms(conn, row.provider, [row.price_id])
            return beginnings.begun(row, terms.get(row.price_id))
    return None


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
