"""The sandbox's own routes under `/_sandbox/`: health, clock, faults, reset, objects and
deliveries.

Owns what they take and answer, in JSON. They need no keys.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox import deliveries, faults
from bursar_sandbox.store import Store
from bursar_sandbox.stripe import timers

FARTHEST_SECONDS = 100 * 366 * 24 * 3600


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _refused(message: str, status: int = 400) -> Response:
    return _json({"error": {"message": message}}, status)


async def health(request: Request) -> Response:
    return _json({"ok": True})


async def clock(request: Request) -> Response:
    store: Store = request.app.state.store
    if request.method == "GET":
        return _json({"now": store.clock.now(), "offset": store.clock.offset})
    try:
        seconds = orjson.loads(await request.body())["advance"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return _refused('expected {"advance": seconds}')
    if type(seconds) is not int or not 0 <= seconds <= FARTHEST_SECONDS:
        return _refused("`advance` is a whole number of seconds, not negative")
    advance(store, seconds)
    return _json({"now": store.clock.now(), "offset": store.clock.offset})


def advance(store: Store, seconds: int) -> None:
    """Move the clock forward, and let happen what is due then."""
    store.advance(seconds)
    timers.run_due(store)


async def reset(request: Request) -> Response:
    request.app.state.reset()
    return _json({"ok": True})


async def show_object(request: Request) -> Response:
    with request.app.state.store.transaction() as tx:
        found = tx.find(request.path_params["object_id"])
    if found is None:
        return _refused("no such object", 404)
    body = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    return Response(body, media_type="application/json")


async def list_deliveries(request: Request) -> Response:
    try:
        limit = int(request.query_params.get("limit", "100"))
    except ValueError:
        return _refused("`limit` is a whole number")
    return _json({"data": deliveries.listed(request.app.state.store, max(1, min(limit, 1000)))})


async def resend(request: Request) -> Response:
    if not deliveries.resend(request.app.state.store, request.path_params["delivery_id"]):
        return _refused("no such delivery", 404)
    return _json({"ok": True})


async def change_faults(request: Request) -> Response:
    plan = request.app.state.store.faults
    if request.method == "DELETE":
        plan.set(None)
    elif request.method == "POST":
        try:
            plan.set(faults.parse(orjson.loads(await request.body())))
        except ValueError as error:
            return _refused(str(error))
    return _json(plan.shown())


routes = [
    Route("/_sandbox/health", health),
    Route("/_sandbox/clock", clock, methods=["GET", "POST"]),
    Route("/_sandbox/faults", change_faults, methods=["GET", "POST", "DELETE"]),
    Route("/_sandbox/reset", reset, methods=["POST"]),
    Route("/_sandbox/objects/{object_id}", show_object),
    Route("/_sandbox/deliveries", list_deliveries),
    Route("/_sandbox/deliveries/{delivery_id:int}/resend", resend, methods=["POST"]),
]
