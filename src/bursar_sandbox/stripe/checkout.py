"""What a hosted checkout page does to a session: reads it, and pays it with a card.

Owns the step from a buyer's card to a completed session. It never renders a page, never sends a
webhook (it only writes events into the store) and never sleeps.

A page works like this::

    with request.app.state.store.transaction() as tx:
        outcome = checkout.pay(tx, session_id, card, email=..., name=..., country=..., ...)
    if isinstance(outcome, checkout.Paid):
        await request.app.state.delivery.wait_until_answered(outcome.completed_event_id, 10.0)

What follows when the bank wants to see the buyer first, `authentication` owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    cards,
    checkout_sessions,
    customers,
    events,
    intents,
    methods,
    records,
    session_params,
)
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError


@dataclass(frozen=True, slots=True)
class CardDetails:
    """What the buyer typed. `number` may hold spaces and dashes; `exp_year` is of four digits."""

    number: str
    exp_month: int
    exp_year: int
    cvc: str


@dataclass(frozen=True, slots=True)
class Paid:
    """The session is complete. `redirect_url` is the success URL with the session's id in it."""

    redirect_url: str
    completed_event_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The card was refused and nothing was charged; the same session may be tried again."""

    code: str
    decline_code: str | None
    message: str
    param: str | None


@dataclass(frozen=True, slots=True)
class AtBank:
    """Nothing is charged yet: the bank wants the buyer to confirm first, on the page at `path`."""

    path: str


class SessionNotOpen(Exception):
    """The session can't be paid any more. `status` is `expired`, or `missing` for no such id."""

    def __init__(self, status: str) -> None:
        super().__init__(f"the checkout session is {status}")
        self.status = status


def find_session(tx: Transaction, session_id: str) -> dict[str, Any] | None:
    """The session as the API shows it, with its line items as a list under `line_items`.

    None if there is no such session. One whose time is over is expired by the way.
    """
    session = tx.find(session_id)
    if session is None or session["object"] != "checkout.session":
        return None
    if session["status"] == "open" and session["expires_at"] <= tx.now:
        checkout_sessions.expire(tx, session)
    return {**session, "line_items": tx.private(session_id)["line_items"]}


def pay(
    tx: Transaction,
    session_id: str,
    card: CardDetails,
    *,
    email: str,
    name: str,
    country: str,
    postal_code: str,
) -> Paid | Declined | AtBank:
    """Charge the card for the session; paying a complete session again returns Paid unchanged.

    Raises SessionNotOpen when the session has expired or doesn't exist.
    """
    session = _payable(tx, session_id)
    if session["status"] == "complete":
        return paid(tx, session)
    details = addresses.billing_details(None)
    details.update(email=email, name=name)
    details["address"] = {**details["address"], "country": country, "postal_code": postal_code}
    if not session["amount_total"]:
        return complete(tx, session, details)
    try:
        checked = cards.check(
            card.number, card.exp_month, card.exp_year, card.cvc, methods.today(tx)
        )
    except StripeError as error:
        body = error.body
        return Declined(body["code"], None, body["message"], body.get("param"))
    try:
        outcome = pay_with(tx, session, methods.add_card(tx, checked, details))
    except StripeError as error:
        body = error.body
        return Declined(body.get("code", "invalid"), None, body["message"], body.get("param"))
    if isinstance(outcome, Paid):
        return outcome
    if outcome is None:
        return AtBank(intents.bank_path(session["payment_intent"]))
    return Declined(outcome.code, outcome.decline_code, outcome.message, outcome.param)


def _payable(tx: Transaction, session_id: str) -> dict[str, Any]:
    session = tx.find(session_id)
    if session is None or session["object"] != "checkout.session":
        raise SessionNotOpen("missing")
    if session["status"] == "open" and session["expires_at"] <= tx.now:
        raise SessionNotOpen("expired")
    if session["status"] == "expired":
        raise SessionNotOpen("expired")
    return session


def pay_with(
    tx: Transaction, session: dict[str, Any], method: dict[str, Any]
) -> Paid | Decline | None:
    """Confirm the session's payment intent, made on the first try, with the payment method.

    None means that the bank wants to see the buyer first. Raises StripeError when the method
    doesn't go with the session, or the intent was canceled behind its back.
    """
    details = method["billing_details"]
    intent = _intent(tx, session, details)
    if intent["status"] not in intents.CONFIRMABLE:
        raise StripeError(
            f"The session's PaymentIntent can't be paid: it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    decline = intents.confirm(tx, intent, method, return_url=session["url"])
    if decline is not None:
        return decline
    if intent["status"] == "requires_action":
        return None
    return complete(tx, session, details, intent)


def _intent(tx: Transaction, session: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    if session["payment_intent"] is not None:
        return records.get(tx, "payment_intent", session["payment_intent"])
    wanted = tx.private(session["id"])["intent"]
    intent = intents.blank(tx, session["amount_total"], session["currency"])
    intent.update(wanted)
    intent["payment_method_types"] = session["payment_method_types"]
    intent["payment_method_options"] = intents.options_for(session["payment_method_types"])
    card = session["payment_method_options"].get("card", {})
    if card.get("capture_method"):
        intent["capture_method"] = "manual"
    if card.get("request_three_d_secure"):
        shown = intent["payment_method_options"]["card"]
        shown["request_three_d_secure"] = card["request_three_d_secure"]
    keeps = session["customer_creation"] == "always" or intent["setup_future_usage"]
    if session["customer"] is None and keeps:
        customer = customers.add(
            tx, email=details["email"], name=details["name"], address=details["address"]
        )
        session["customer"] = customer["id"]
    intent["customer"] = session["customer"]
    intents.add(tx, intent, {"session": session["id"]})
    session["payment_intent"] = intent["id"]
    records.replace(tx, session)
    return intent


def complete(
    tx: Transaction,
    session: dict[str, Any],
    details: dict[str, Any],
    intent: dict[str, Any] | None = None,
) -> Paid:
    """Close the session: what was to be done is done, or under way at the bank."""
    session.update(
        customer_details=session_params.buyer_details(
            email=details["email"] or session["customer_email"],
            name=details["name"],
            phone=details["phone"],
            address=details["address"],
        ),
        status="complete",
        url=None,
    )
    if intent is not None:
        session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"
    if session["automatic_tax"]["enabled"]:
        session["automatic_tax"]["status"] = "complete"
    records.replace(tx, session)
    event_id = events.emit(tx, "checkout.session.completed", session)
    private = tx.private(session["id"])
    records.replace_private(tx, session["id"], {**private, "completed_event": event_id})
    return paid(tx, session)


def settle(tx: Transaction, intent_id: str) -> None:
    """The bank's answer to a debit has come: end the payment, and tell the session's seller."""
    intent = records.get(tx, "payment_intent", intent_id)
    if intent["status"] != "processing":
        return
    succeeds = methods.debit_succeeds(tx, intent["payment_method"])
    intents.settle(tx, intent, succeeds=succeeds)
    session_id = tx.private(intent_id).get("session")
    if session_id is None:
        return
    session = records.get(tx, "checkout.session", session_id)
    if succeeds:
        session["payment_status"] = "paid"
        records.replace(tx, session)
    word = "succeeded" if succeeds else "failed"
    events.emit(tx, f"checkout.session.async_payment_{word}", session)


def success_url(session: dict[str, Any]) -> str:
    """Where the buyer goes next; the session's id stands in for the placeholder."""
    url = str(session["success_url"])
    return url.replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))


def paid(tx: Transaction, session: dict[str, Any]) -> Paid:
    """The way on from a complete session."""
    return Paid(success_url(session), tx.private(session["id"])["completed_event"])
