"""The bank's page of 3-D Secure: shows a payment to its buyer and takes the answer.

Owns the routes under /c/bank/. It plays no bank in particular and looks like none; what an answer
means, `authentication` decides. With `?frame=1` the page stands in a frame that the browser library
has put over the shop's page, and tells it when the bank has its answer.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox.stripe import authentication
from bursar_sandbox.stripe.authentication import Challenge, Onward
from bursar_sandbox.stripe.pages import hosted, rendering
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.orders import shop_of

ANSWERS = {"confirm": True, "refuse": False, "time_out": False}
CODE = "428 190"
"""The code that a bank would send to a telephone; here it stands on the page already."""

_BRANDS = {"amex": "American Express", "jcb": "JCB", "unionpay": "UnionPay"}


async def show(request: Request) -> Response:
    """GET /c/bank/{intent_id}: the payment and three buttons, or the way on if nothing waits."""
    with request.app.state.store.transaction() as tx:
        found = authentication.find(tx, request.path_params["intent_id"])
    if isinstance(found, Challenge):
        return _page(found, framed=_framed(request))
    return await _go(request, found)


async def submit(request: Request) -> Response:
    """POST /c/bank/{intent_id}: take the answer, then 303 to the shop or to the payment page."""
    try:
        fields = parse_qs((await hosted.read_body(request)).decode("utf-8", "replace"))
    except (ValueError, ClientDisconnect):
        return rendering.page("closed.html", {"state": "too_much", "order": None}, status=413)
    given, method_id = (fields.get(name, [""])[0] for name in ("answer", "method"))
    if given not in ANSWERS:
        return await show(request)
    with request.app.state.store.transaction() as tx:
        onward = authentication.answer(
            tx, request.path_params["intent_id"], method_id, passed=ANSWERS[given]
        )
    return await _go(request, onward)


async def _go(request: Request, onward: Onward | None) -> Response:
    if onward is None:
        values: dict[str, object] = {"state": "unknown", "order": None}
        return rendering.page("closed.html", values, status=404)
    framed = _framed(request)
    if framed or not onward.url:
        return rendering.page("bank_done.html", {"framed": framed}, framed=framed)
    return await hosted.onward(request, onward.url, onward.completed_event_id)


def _framed(request: Request) -> bool:
    return "frame" in request.query_params


def _page(challenge: Challenge, *, framed: bool) -> Response:
    session = challenge.session or {"success_url": challenge.return_url}
    brand = _BRANDS.get(challenge.brand, challenge.brand.title())
    amount = challenge.amount
    values: dict[str, object] = {
        "action": f"/c/bank/{challenge.intent_id}{'?frame=1' if framed else ''}",
        "framed": framed,
        "method_id": challenge.method_id,
        "shop": shop_of(session),
        "amount": "" if amount is None else format_amount(amount, challenge.currency),
        "card": f"{brand} ending in {challenge.last4}",
        "code": CODE,
    }
    ways_out = [session["success_url"] or ""]
    return rendering.page("bank.html", values, ways_out=ways_out, framed=framed)


routes = [
    Route("/c/bank/{intent_id}", show, methods=["GET"]),
    Route("/c/bank/{intent_id}", submit, methods=["POST"]),
]
