"""How Stripe's own command-line tool pays a session without a browser.

Undocumented, but official: it reads the page's state and confirms it with a payment method.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import (
    addresses,
    cards,
    checkout,
    checkout_sessions,
    methods,
    session_intents,
    session_totals,
    setup_intent_routes,
)
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError


def retrieve(call: Call) -> dict[str, Any]:
    return _page(call, checkout_sessions.find(call.tx, call.ids[0]))


def update(call: Call) -> dict[str, Any]:
    """What the page does before it is paid: tells where the buyer is, takes or drops a code."""
    tx, params = call.tx, call.params
    session = checkout_sessions.find(tx, call.ids[0])
    if session["status"] != "open":
        raise StripeError(f"This Checkout Session is {session['status']}.")
    region = params.table("tax_region")
    if region is not None:
        region.allow(("city", "country", "line1", "line2", "postal_code", "state"))
        session_totals.locate(tx, session, addresses.address(region) or {})
    if params.given("promotion_code"):
        session_totals.apply_code(tx, session, params.need_text("promotion_code"))
    elif "promotion_code" in params:
        session_totals.remove_code(tx, session)
    return _page(call, session)


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
    method = methods.usable(tx, params.need_text("payment_method"))
    worthless = session_totals.withdraw_worthless(tx, session)
    if worthless is not None:
        raise worthless
    session_totals.locate(tx, session, method["billing_details"]["address"] or {})
    expected = params.integer("expected_amount")
    if expected is not None and expected != session["amount_total"]:
        raise StripeError(
            f"The amount expected ({expected}) is not the session's ({session['amount_total']}).",
            param="expected_amount",
        )
    if not checkout.asks_for_card(session):
        checkout.complete(tx, session, method["billing_details"])
        return _page(call, session)
    outcome = checkout.pay_with(tx, session, method)
    if isinstance(outcome, Decline):
        intent = session_intents.of(tx, session) or {}
        if intent.get("object") == "setup_intent":
            raise setup_intent_routes.refusal(outcome, intent)
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
    totals = session["total_details"] or {}
    return {
        "id": f"ppage_{session['id'][-24:]}",
        "object": "payment_page",
        "session_id": session["id"],
        "amount": session["amount_total"],
        "currency": session["currency"],
        "line_item_group": {
            "due": session["amount_total"],
            "line_items": items,
            "discount": totals.get("amount_discount", 0),
            "subtotal": session["amount_subtotal"],
            "tax": totals.get("amount_tax", 0),
            "total": session["amount_total"],
        },
        "livemode": False,
        "mode": session["mode"],
        "payment_intent": _intent_to_pay(call, session),
        "payment_method_types": session["payment_method_types"],
        "payment_status": session["payment_status"],
        "state": {"complete": "succeeded", "open": "active"}.get(session["status"], "expired"),
        "status": session["status"],
        "success_url": checkout.success_url(session),
    }


def _intent_to_pay(call: Call, session: dict[str, Any]) -> dict[str, Any] | None:
    intent = session_intents.of(call.tx, session)
    return intent if intent is not None and intent["object"] == "payment_intent" else None


routes = [
    route("GET", "/v1/payment_pages/*", retrieve),
    route("POST", "/v1/payment_pages/*", update, "eid key promotion_code tax_region"),
    route(
        "POST",
        "/v1/payment_pages/*/confirm",
        confirm,
        "expected_amount expected_payment_method_type eid key payment_method return_url",
    ),
]
