"""Promotion codes on the hosted payment page: taken, refused at their field, dropped again.

Owns the routes under /c/pay/{session_id}/code. What a code is worth, `session_totals` finds out.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import records, session_totals
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages import card_form, hosted, rendering
from bursar_sandbox.stripe.pages.wording import code_problem


async def enter_code(request: Request) -> Response:
    """POST /c/pay/{session_id}/code: take the buyer's promotion code, or drop it; the form again.

    A worthless code is a problem of its field alone: the order can be paid as before.
    """
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
        if entered.act == "remove":
            session_totals.remove_code(tx, session)
        elif not entered.code:
            problem = "Enter a promotion code"
        else:
            problem = _try_code(tx, session, entered.code)
        order = hosted.order_at(tx, session_id) or order
    entered = replace(
        entered,
        email=order.email or entered.email,
        country=entered.country or "US",
        code=entered.code if problem else "",
    )
    return hosted.form_page(
        order,
        entered,
        today,
        {"code": problem} if problem else None,
        status=422 if problem else 200,
    )


def _try_code(tx: Transaction, session: dict[str, Any], code: str) -> str:
    try:
        session_totals.apply_code(tx, session, code)
    except StripeError as error:
        return code_problem(error)
    return ""


async def back_to_form(request: Request) -> Response:
    """GET /c/pay/{session_id}/code: the form has the address above."""
    return RedirectResponse(f"/c/pay/{request.path_params['session_id']}", status_code=303)


routes = [
    Route("/c/pay/{session_id}/code", enter_code, methods=["POST"]),
    Route("/c/pay/{session_id}/code", back_to_form, methods=["GET"]),
]
