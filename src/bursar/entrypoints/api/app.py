"""The app: state, routes in their order, the answers to errors, the layer around every request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from bursar.access.keys import KeyCache
from bursar.access.limits import ProcessLimit
from bursar.entrypoints import transport
from bursar.entrypoints.api import (
    addresses,
    admin_audit,
    admin_credits,
    admin_orders,
    admin_outbox,
    admin_subscriptions,
    cards,
    cases,
    checkouts,
    credits,
    disputes,
    entitlements,
    health,
    holds,
    intents,
    links,
    openapi,
    packages,
    payments,
    people,
    plans,
    portal,
    problems,
    products,
    reference,
    refunds,
    subscriptions,
    teams,
    uses,
    vouchers,
    webhook_endpoints,
    webhooks,
)
from bursar.entrypoints.api.metrics import Metrics
from bursar.entrypoints.api.middleware import Requests
from bursar.entrypoints.api.shortcuts import Shortcuts, find_shortcuts
from bursar.entrypoints.api.state import Api
from bursar.providers.port import PROVIDER_NAMES
from bursar.wiring import Wiring

VERSION = "0.1.0"
DESCRIPTION = (
    "Payments and credits. Amounts are integers in minor units; times are RFC 3339 in UTC; "
    "refusals are problems (RFC 9457) with a stable code."
)


class App(FastAPI):
    """FastAPI with a description that knows what our own dependencies read."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.make(self)
        return self.openapi_schema


def create_app(wiring: Wiring) -> FastAPI:
    """The API on `wiring`, which its opener closes; more routes may be added to what comes back.

    Raises errors.Misconfigured for trusted proxies that are no addresses.
    """
    metrics = Metrics()
    app = App(
        title="Bursar",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.api = Api(
        wiring=wiring,
        keys=KeyCache(wiring.db),
        limit=ProcessLimit(wiring.settings.limit_api),
        metrics=metrics,
    )
    addresses.register()
    # The busiest first: the router tries them in this order.
    busiest = [*webhooks.routes(wiring, metrics), *uses.routes(wiring)]
    app.router.routes.extend(busiest)
    for room in (
        credits,
        uses,
        holds,
        checkouts,
        intents,
        payments,
        refunds,
        disputes,
        cases,
        links,
        cards,
        subscriptions,
        portal,
        packages,
        plans,
        products,
        entitlements,
        people,
        teams,
        vouchers,
        admin_credits,
        admin_audit,
        admin_orders,
        admin_outbox,
        admin_subscriptions,
        webhook_endpoints,
        health,
        reference,
    ):
        app.include_router(room.router)
        reference.note(room.router.routes)
    problems.install(app)
    app.add_middleware(Shortcuts, shortcuts=find_shortcuts(busiest, PROVIDER_NAMES))
    app.add_middleware(
        Requests,
        metrics=metrics,
        transport=transport.of(wiring.settings),
    )
    return app
