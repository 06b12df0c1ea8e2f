"""Webhooks: raw bytes, verified, stored, committed, then 200. What they mean is the worker's.

A bare ASGI endpoint: this is the busiest address, and FastAPI has nothing to add to it.
"""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bursar import errors
from bursar.entrypoints.api import bodies
from bursar.entrypoints.api.intake import Intake
from bursar.entrypoints.api.metrics import Metrics
from bursar.providers.port import PROVIDER_NAMES
from bursar.wiring import Wiring

WEBHOOK_BYTES_MAX = 1024 * 1024

ROUTE = "/api/{provider}/webhook"
RECEIVED = b'{"received": true}'
HEADERS = (
    (b"content-type", b"application/json"),
    (b"content-length", str(len(RECEIVED)).encode()),
)


class Webhooks:
    """The endpoint of every provider."""

    def __init__(self, wiring: Wiring, metrics: Metrics) -> None:
        self._wiring = wiring
        self._intake = Intake(wiring.db, wiring.clock)
        self._count = {
            (name, outcome): metrics.webhooks.labels(name, outcome)
            for name in PROVIDER_NAMES
            for outcome in ("stored", "refused", "unavailable")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Refusal, errors.NotAuthentic, errors.NotSupported or errors.Unavailable."""
        scope["bursar.route"] = ROUTE
        provider = self._wiring.provider(scope["path_params"]["provider"])
        body = await bodies.read(scope, receive, WEBHOOK_BYTES_MAX)
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        try:
            message = provider.verify(body, headers)
        except errors.NotAuthentic:
            self._count[provider.name, "refused"].inc()
            raise
        try:
            await self._intake.store(message)
        except errors.Unavailable:
            self._count[provider.name, "unavailable"].inc()
            raise
        self._count[provider.name, "stored"].inc()
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS]})
        await send({"type": "http.response.body", "body": RECEIVED})


def routes(wiring: Wiring, metrics: Metrics) -> list[Route]:
    """The address of each provider, and its alias; both share one intake."""
    endpoint = Webhooks(wiring, metrics)
    return [
        Route("/api/{provider:provider}/webhook", endpoint, methods=["POST"]),
        Route("/api/webhooks/{provider:provider}", endpoint, methods=["POST"]),
    ]
