"""How Stripe's own command-line tool pays a session without a browser.

Undocumented, but official: it reads the page's state and confirms it with a payment method.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import cards, checkout, checkout_sessions, methods, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError


def retrieve(call: Call) -> dict[str, Any]:
    return _page(call, checkout_sessions.find(call.tx, call.ids[0]))


def confirm(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    session = checkout_sessions.find(tx, call.ids[0])
    if session["status"] == "complete":
        return _page(call, session)
    if session["status"] == "expired":
        raise StripeError(
            "This Checkout Session has expired and can no longer be paid.",
            code="payment_intent_unexpected_state",
        )
    expected = params.integer("expected_amount")
    if expected is not None and expected != session["amount_total"]:
        raise StripeError(
            f"The amount expected ({expected}) is not the session's ({session['amount_total']}).",
            param="expected_amount",
        )
    method = methods.usable(tx, params.need_text("payment_method"))
    if not session["amount_total"]:
        checkout.complete(tx, session, method["billing_details"])
        return _page(call, session)
    outcome = checkout.pay_with(tx, session, method)
    if isinstance(outcome, Decline):
        intent = records.get(tx, "payment_intent", session["payment_intent"])
        raise cards.refusal(
            outcome,
            keeps=True,
            charge=intent["latest_charge"],
            payment_intent=intent,
            payment_method=method,
        )
    return _page(call, session)


def _page(call: Call, session: dict[str, Any]) -> dict[str, Any]:
    items = call.tx.private(session["id"])["line_items"]
    intent_id = session["payment_intent"]
    return {
        "id": f"ppage_{session['id'][-24:]}",
        "object": "payment_page",
        "session_id": session["id"],
        "amount": session["amount_total"],
        "currency": session["currency"],
        "line_item_group": {
            "due": session["amount_total"],
            "line_items": items,
            "subtotal": session["amount_subtotal"],
            "total": session["amount_total"],
        },
        "livemode": False,
        "mode": session["mode"],
        "payment_intent": call.tx.find(intent_id) if intent_id else None,
        "payment_method_types": session["payment_method_types"],
        "payment_status": session["payment_status"],
        "state": {"complete": "succeeded", "open": "active"}.get(session["status"], "expired"),
        "status": session["status"],
        "success_url": checkout.success_url(session),
    }


routes = [
    route("GET", "/v1/payment_pages/*", retrieve),
    route(
        "POST",
        "/v1/payment_pages/*/confirm",
        confirm,
        "expected_amount expected_payment_method_type eid key payment_method return_url",
    ),
]
