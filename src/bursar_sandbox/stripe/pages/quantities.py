"""Quantities on the hosted payment page, where the shop lets the buyer change them.

Owns the route /c/pay/{session_id}/quantity. What the order comes to then, `session_totals` reckons.
"""

from __future__ import annotations

import time
from dataclasses import replace

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.stripe import records, session_totals
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages import card_form, hosted, rendering


async def change(request: Request) -> Response:
    """POST /c/pay/{session_id}/quantity: sell so many of one line; the form again."""
    session_id = request.path_params["session_id"]
    try:
        entered = card_form.read(await hosted.read_body(request))
    except (ValueError, ClientDisconnect):
        return rendering.page("closed.html", {"state": "too_much", "order": None}, status=413)
    problem = ""
    with request.app.state.store.transaction() as tx:
        order, today = hosted.order_at(tx, session_id), time.gmtime(tx.now)
        if order is None or order.status != "open":
            return hosted.closed_page(order)
        session = records.get(tx, "checkout.session", session_id)
        text = entered.quantity
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
        try:
            session_totals.change_quantity(tx, session, entered.item, number)
        except StripeError as error:
            problem = str(error)
        order = hosted.order_at(tx, session_id) or order
    entered = replace(
        entered, email=order.email or entered.email, country=entered.country or "US", act=""
    )
    summary = [("", problem)] if problem else None
    return hosted.form_page(order, entered, today, None, summary, status=422 if problem else 200)


async def back_to_form(request: Request) -> Response:
    """GET /c/pay/{session_id}/quantity: the form has the address above."""
    return RedirectResponse(f"/c/pay/{request.path_params['session_id']}", status_code=303)


routes = [
    Route("/c/pay/{session_id}/quantity", change, methods=["POST"]),
    Route("/c/pay/{session_id}/quantity", back_to_form, methods=["GET"]),
]
