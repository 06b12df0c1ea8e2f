"""The sandbox's own routes under `/_sandbox/`: health, clock, reset, deliveries. No keys needed."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox import delivery
from bursar_sandbox.store import Store
from bursar_sandbox.stripe import timers

_FARTHEST_SECONDS = 100 * 366 * 24 * 3600


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _refused(message: str, status: int = 400) -> Response:
    return _json({"error": {"message": message}}, status)


async def health(request: Request) -> Response:
    return _json({"ok": True})


async def clock(request: Request) -> Response:
    store: Store = request.app.state.store
    if request.method == "GET":
        return _json({"now": store.clock.now()})
    try:
        seconds = orjson.loads(await request.body())["advance"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return _refused('expected {"advance": seconds}')
    if type(seconds) is not int or not 0 <= seconds <= _FARTHEST_SECONDS:
        return _refused("`advance` is a whole number of seconds, not negative")
    store.advance(seconds)
    timers.run_due(store)
    return _json({"now": store.clock.now()})


async def reset(request: Request) -> Response:
    request.app.state.reset()
    return _json({"ok": True})


async def deliveries(request: Request) -> Response:
    try:
        limit = int(request.query_params.get("limit", "100"))
    except ValueError:
        return _refused("`limit` is a whole number")
    return _json({"data": delivery.listed(request.app.state.store, max(1, min(limit, 1000)))})


async def resend(request: Request) -> Response:
    if not delivery.resend(request.app.state.store, request.path_params["delivery_id"]):
        return _refused("no such delivery", 404)
    return _json({"ok": True})


routes = [
    Route("/_sandbox/health", health),
    Route("/_sandbox/clock", clock, methods=["GET", "POST"]),
    Route("/_sandbox/reset", reset, methods=["POST"]),
    Route("/_sandbox/deliveries", deliveries),
    Route("/_sandbox/deliveries/{delivery_id:int}/resend", resend, methods=["POST"]),
]
