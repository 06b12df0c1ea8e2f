"""Puts the Stripe sandbox together: API, hosted pages, controls, and the two tasks that run beside.

Owns the start and the stop. `app.state.store` and `app.state.delivery` are for the pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bursar_sandbox import control, mailbox
from bursar_sandbox.delivery import Deliverer
from bursar_sandbox.recording import Recorder
from bursar_sandbox.settings import Settings
from bursar_sandbox.store import Store
from bursar_sandbox.stripe import (
    account,
    balance_transactions,
    charges,
    checkout_sessions,
    coupons,
    customer_discounts,
    customers,
    dispute_routes,
    event_routes,
    fraud_warnings,
    idempotency,
    invoice_items,
    invoice_routes,
    payment_intents,
    payment_links,
    payment_methods,
    payment_pages,
    plans,
    portal_configurations,
    portal_sessions,
    previews,
    prices,
    products,
    promotion_codes,
    refunds,
    setup_intent_routes,
    sources,
    subscription_items,
    subscription_routes,
    tax_rates,
    test_clock_routes,
    timers,
    tokens,
    webhook_endpoints,
)
from bursar_sandbox.stripe.api import Api
from bursar_sandbox.stripe.browser import browser_calls, browser_routes
from bursar_sandbox.stripe.pages import page_routes

_TICK_SECONDS = 0.5
_RESOURCES = (
    account,
    balance_transactions,
    charges,
    checkout_sessions,
    coupons,
    customer_discounts,
    customers,
    dispute_routes,
    event_routes,
    fraud_warnings,
    invoice_items,
    invoice_routes,
    payment_intents,
    payment_links,
    payment_methods,
    payment_pages,
    plans,
    portal_configurations,
    portal_sessions,
    previews,
    prices,
    products,
    promotion_codes,
    refunds,
    setup_intent_routes,
    sources,
    subscription_items,
    subscription_routes,
    tax_rates,
    test_clock_routes,
    tokens,
    webhook_endpoints,
)


def create_app(settings: Settings) -> Starlette:
    """The sandbox as an ASGI application. Its state is opened here and closed at shutdown."""
    store = _open(settings)
    recorder = Recorder(settings.record)
    resources = [route for module in _RESOURCES for route in module.routes]
    api = Api(store, [*resources, *browser_calls], recorder, public_url=settings.public_url)

    def prepare() -> None:
        with store.transaction() as tx:
            account.account_id(tx)
            idempotency.forget_old(tx)
            if settings.webhook is not None:
                webhook_endpoints.register(tx, *settings.webhook)

    def reset() -> None:
        store.reset()
        prepare()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        deliverer = Deliverer(store, recorder, settings.retry_seconds, settings.answer_seconds)
        app.state.delivery = deliverer
        post = mailbox.Server(lambda letter: mailbox.keep(store, letter))
        app.state.smtp_port = await post.open(settings.host, settings.smtp_port)
        tasks = [asyncio.create_task(deliverer.run()), asyncio.create_task(_tick(store))]
        yield
        await post.close()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        store.close()
        recorder.close()

    prepare()
    routes: list[BaseRoute] = [
        Mount("/v1", app=api),
        *control.routes,
        *mailbox.mailbox_routes,
        *page_routes,
        *browser_routes,
        Route("/", Front(api)),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    # What no route knows is answered as the API answers it, whatever the address.
    app.router.default = api
    app.state.store = store
    app.state.reset = reset
    return app


class Front:
    """The bare address: a browser is led to the sandbox's page, a program hears the API."""

    def __init__(self, api: ASGIApp) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._api
        if "text/html" in Request(scope).headers.get("accept", ""):
            answer = RedirectResponse("/_sandbox/", 303)
        await answer(scope, receive, send)


def _open(settings: Settings) -> Store:
    base_url = settings.public_url or f"http://{settings.host}:{settings.port}"
    if settings.home is None:
        return Store(":memory:", base_url)
    settings.home.mkdir(parents=True, exist_ok=True)
    return Store(settings.home / "stripe.sqlite3", base_url)


async def _tick(store: Store) -> None:
    while True:
        timers.run_due(store)
        await asyncio.sleep(_TICK_SECONDS)
