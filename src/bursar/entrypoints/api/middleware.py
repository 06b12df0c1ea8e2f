"""Around every request: its id, the headers of every answer, a line in the log, the figures.

The log holds no header, no query and no body: secrets travel there. What nobody foresaw is logged
with its traceback here and answered as `internal_error`.
"""

from __future__ import annotations

import time
import traceback
from uuid import uuid4

import structlog
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bursar.access.actors import Actor
from bursar.entrypoints import headers as browsers
from bursar.entrypoints.addresses import client_address
from bursar.entrypoints.api import problems
from bursar.entrypoints.api.bodies import Disconnected
from bursar.entrypoints.api.metrics import Metrics
from bursar.entrypoints.transport import IN_CLEAR, Transport

log = structlog.get_logger("bursar.api")

KNOWN_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Requests:
    """The outermost layer of the app.

    `transport` says what becomes of requests that came in the clear, and which proxies the log
    believes about the client's address. Every answer leaves with what a browser must be told.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, transport: Transport) -> None:
        self._app = app
        self._metrics = metrics
        self._transport = transport
        self._hsts = transport.live and transport.secured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid4().hex}"
        scope["bursar.request_id"] = request_id
        began = time.perf_counter()
        status = 0
        in_clear = self._transport.in_clear(scope)
        hsts = self._hsts and not in_clear

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", request_id.encode()))
                browsers.complete(headers, hsts=hsts)
            await send(message)

        try:
            app = self._judged(scope) if in_clear else self._app
            await app(scope, receive, send_marked)
        except Disconnected:
            status = status or 499
        except Exception:
            # As text made here: a renderer might print the frames' locals, and keys are there.
            log.error(
                "crashed",
                request_id=request_id,
                route=_route(scope),
                traceback=traceback.format_exc(),
            )
            if status:
                raise
            await problems.crashed(scope)(scope, receive, send_marked)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _judged(self, scope: Scope) -> ASGIApp:
        """Who answers a request that came in the clear."""
        verdict = self._transport.judge(scope)
        if verdict == "refuse":
            return problems.refused(scope, problems.Refusal("https_required"))
        if verdict == "redirect":
            # Not kept: a proxy that is set up wrong for an hour must not be felt for ever.
            kept = {"cache-control": "no-store"}
            return RedirectResponse(self._transport.secure_url(scope), 301, kept)
        scope[IN_CLEAR] = verdict == "page"
        return self._app

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        actor = scope.get("bursar.actor")
        log.info(
            "request",
            request_id=scope["bursar.request_id"],
            method=method,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            code=scope.get("bursar.code"),
            principal=actor.principal if isinstance(actor, Actor) else None,
            address=client_address(scope, self._transport.trusted),
        )


def _route(scope: Scope) -> str:
    """The pattern that matched, so that ids and tokens in paths stay out of logs and labels.

    Plain routes leave no pattern behind: theirs is set by the endpoint, or is its name.
    """
    if "bursar.route" in scope:
        return str(scope["bursar.route"])
    if "route" in scope:
        return str(getattr(scope["route"], "path", "unmatched"))
    return str(getattr(scope.get("endpoint"), "__name__", "unmatched"))
