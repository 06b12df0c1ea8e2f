"""Around every request: its id, the headers of every answer, a line in the log, the figures.

The log holds no header, no query and no body: secrets travel there. What nobody foresaw is logged
with its traceback here and answered as `internal_error`.
"""

from __future__ import annotations

import time
import traceback
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bursar.access.actors import Actor
from bursar.entrypoints.addresses import Networks, client_address
from bursar.entrypoints.api import problems
from bursar.entrypoints.api.bodies import Disconnected
from bursar.entrypoints.api.metrics import Metrics

log = structlog.get_logger("bursar.api")

GUARDED = ("/api/", "/user/")
KNOWN_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Requests:
    """The outermost layer of the app.

    `https_only`: refuse what a proxy took in over plain HTTP, so that a key sent in the clear is
    noticed at once. Pages decide for themselves: they can be redirected, a key can't be unsent.
    `trusted`: the proxies whose word on the client's address the log believes.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, https_only: bool, trusted: Networks = ()
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._https_only = https_only
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid4().hex}"
        scope["bursar.request_id"] = request_id
        began = time.perf_counter()
        status = 0
        guarded = scope["path"].startswith(GUARDED)

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", request_id.encode()))
                if guarded:
                    # What an account has is nobody else's to keep: no cache, no guessing of types.
                    headers.append((b"cache-control", b"no-store"))
                    headers.append((b"x-content-type-options", b"nosniff"))
            await send(message)

        try:
            if self._https_only and guarded and _came_in_clear(scope):
                refusal = problems.refused(scope, problems.Refusal("https_required"))
                await refusal(scope, receive, send_marked)
            else:
                await self._app(scope, receive, send_marked)
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
            address=client_address(scope, self._trusted),
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


def _came_in_clear(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"x-forwarded-proto":
            return bool(value.split(b",")[0].strip().lower() == b"http")
    return False
