"""The sandbox's own routes under `/_sandbox/`: health, clock, faults, reset, objects, deliveries,
billing rules, disputes and new cards.

Owns what they take and answer, in JSON. They need no keys.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox import deliveries, faults
from bursar_sandbox.store import Store
from bursar_sandbox.stripe import disputes, methods, records, subscription_retries, timers
from bursar_sandbox.stripe.errors import StripeError

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


async def billing(request: Request) -> Response:
    """How unpaid invoices of subscriptions are tried again, which Stripe has in its dashboard."""
    try:
        wanted = orjson.loads(await request.body()) if request.method == "POST" else {}
        if not isinstance(wanted, dict):
            return _refused('expected {"retry_days", "after_last", "upcoming_days"}')
        with request.app.state.store.transaction() as tx:
            rules = subscription_retries.change(tx, wanted)
    except ValueError as error:
        return _refused(str(error))
    return _json(asdict(rules))


async def dispute(request: Request) -> Response:
    """A buyer's bank takes a charge back, or asks about it."""
    try:
        asked = orjson.loads(await request.body())
        charge_id, reason = asked["charge"], asked.get("reason", "fraudulent")
        inquiry, amount = asked.get("inquiry", False), asked.get("amount")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return _refused('expected {"charge": id, "reason", "inquiry", "amount"}')
    if reason not in disputes.REASONS:
        return _refused(f"`reason` is one of {', '.join(disputes.REASONS)}")
    if not isinstance(charge_id, str) or type(inquiry) is not bool:
        return _refused("`charge` is an id, `inquiry` true or false")
    if amount is not None and type(amount) is not int:
        return _refused("`amount` is a whole number of minor units")
    try:
        with request.app.state.store.transaction() as tx:
            charge = records.get(tx, "charge", charge_id)
            made = disputes.add(tx, charge, reason=reason, inquiry=inquiry, amount=amount)
    except StripeError as error:
        return _refused(str(error))
    return _json(made)


async def decide(request: Request) -> Response:
    """The bank decides a dispute: `won` or `lost` for the seller, or `escalated`."""
    try:
        outcome = orjson.loads(await request.body())["outcome"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return _refused('expected {"outcome": "won", "lost" or "escalated"}')
    if outcome not in ("won", "lost", "escalated"):
        return _refused("`outcome` is won, lost or escalated")
    try:
        with request.app.state.store.transaction() as tx:
            found = records.get(tx, "dispute", request.path_params["dispute_id"])
            disputes.decide(tx, found, outcome)
    except StripeError as error:
        return _refused(str(error))
    return _json(found)


async def renew_card(request: Request) -> Response:
    """A bank sends a new card, and Stripe hears of its date before anybody else does."""
    try:
        with request.app.state.store.transaction() as tx:
            method = records.get(tx, "payment_method", request.path_params["method_id"])
            methods.renew(tx, method)
    except StripeError as error:
        return _refused(str(error))
    return _json(method)


routes = [
    Route("/_sandbox/health", health),
    Route("/_sandbox/clock", clock, methods=["GET", "POST"]),
    Route("/_sandbox/billing", billing, methods=["GET", "POST"]),
    Route("/_sandbox/faults", change_faults, methods=["GET", "POST", "DELETE"]),
    Route("/_sandbox/reset", reset, methods=["POST"]),
    Route("/_sandbox/objects/{object_id}", show_object),
    Route("/_sandbox/deliveries", list_deliveries),
    Route("/_sandbox/deliveries/{delivery_id:int}/resend", resend, methods=["POST"]),
    Route("/_sandbox/payment_methods/{method_id}/renew", renew_card, methods=["POST"]),
    Route("/_sandbox/disputes", dispute, methods=["POST"]),
    Route("/_sandbox/disputes/{dispute_id}", decide, methods=["POST"]),
]
