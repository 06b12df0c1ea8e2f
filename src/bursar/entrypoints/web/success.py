"""The page that a buyer comes back to: it shows what became of the payment, not what we hope.

Owns `/checkout/success` and the fragment that watches it. It settles through the same function as
the webhook, so the balance is right whichever comes first; a payment of somebody else is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.billing import catalog, checkouts, customers, payments
from bursar.billing.payments import Payment
from bursar.db import Connection
from bursar.entrypoints.web import outcomes, pages, visitors
from bursar.entrypoints.web.outcomes import Credited, Outcome
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.ledger import balances

log = structlog.get_logger("bursar.web")

SESSION_ID_MAX = 255
POSTINGS_LOOKED_AT = 100
REFRESH_SECONDS = 4
# The page without script asks again by itself for a while, and then leaves it to the reader.
REFRESHES_UNTIL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks at what, and for how many seconds already."""

    visitor: Visitor
    outcome: Outcome
    waited_seconds: int


async def show(site: Site, request: Request) -> Response:
    """GET /checkout/success?session_id=: the payment's outcome as a page."""
    return _render(site, request, "success.html", await _look(site, request))


async def show_fragment(site: Site, request: Request) -> Response:
    """GET /checkout/success/status?session_id=: the outcome alone, for the page's script."""
    return _render(site, request, "outcome.html", await _look(site, request))


def _render(site: Site, request: Request, template: str, look: Look) -> Response:
    session_id = request.query_params["session_id"]
    waited = look.waited_seconds + REFRESH_SECONDS
    again = urlencode({"session_id": session_id, "waited": waited})
    values: dict[str, object] = {
        "outcome": look.outcome,
        "watch": f"/checkout/success/status?{urlencode({'session_id': session_id})}",
        "refresh": f"{REFRESH_SECONDS};url=/checkout/success?{again}",
        "refreshes": look.outcome.waiting and waited < REFRESHES_UNTIL_SECONDS,
    }
    return pages.render(site, request, template, values, visitor=look.visitor)


async def _look(site: Site, request: Request) -> Look:
    """Raises errors.Unauthenticated and errors.NotFound."""
    session_id = request.query_params.get("session_id", "")
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        payment = await _find(site, conn, session_id)
        if payment is None:
            raise errors.NotFound()
        await customers.customer_for(conn, visitor.user, payment.customer_id)
    payment = await _synced(site, payment)
    async with site.wiring.db.connection() as conn:
        brought = await _credited(conn, payment)
    waited = _seconds(request.query_params.get("waited", ""))
    outcome = outcomes.outcome(payment, waited_seconds=waited, brought=brought)
    return Look(visitor, outcome, waited)


async def _find(site: Site, conn: Connection, session_id: str) -> Payment | None:
    if not 1 <= len(session_id) <= SESSION_ID_MAX or not session_id.isprintable():
        return None
    for name in site.wiring.providers:
        payment = await payments.find_by_session(conn, name, session_id)
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
            of_spent=wiring.settings.refund_of_spent,
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


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
