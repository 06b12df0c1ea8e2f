"""3-D Secure: what the bank shows the buyer, and what comes of the buyer's answer.

Owns the step between an intent, to pay or to save a card, that asks for action and its end, with
or without a session around it. It never renders a page and never charges: `intents` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    checkout,
    intents,
    invoice_payments,
    records,
    session_intents,
    setup_intents,
)
from bursar_sandbox.stripe.checkout import Declined, Paid

_INTENTS = ("payment_intent", "setup_intent")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What waits for the buyer. `amount` is in minor units, None when a card is saved, for which
    nothing is charged; `method_id` names the try.
    """

    intent_id: str
    method_id: str
    amount: int | None
    currency: str
    brand: str
    last4: str
    session: dict[str, Any] | None
    return_url: str | None


@dataclass(frozen=True, slots=True)
class Onward:
    """Where the buyer goes next. With `completed_event_id`, once the shop has heard of it.

    An empty `url` means that there is nowhere to go: the seller named no address.
    """

    url: str
    completed_event_id: str | None = None


def find(tx: Transaction, intent_id: str) -> Challenge | Onward | None:
    """What waits for the buyer; where to go if nothing does any more; None for no such payment."""
    session = _session(tx, intent_id)
    intent = _intent(tx, intent_id)
    if intent is None:
        return None
    if intent["status"] != "requires_action":
        return _onward(tx, intent, session)
    method = records.get(tx, "payment_method", intent["payment_method"])
    redirect = intent["next_action"].get("redirect_to_url") or {}
    return Challenge(
        intent_id=intent_id,
        method_id=method["id"],
        amount=intent.get("amount"),
        currency=intent.get("currency", ""),
        brand=method["card"]["brand"],
        last4=method["card"]["last4"],
        session=session,
        return_url=redirect.get("return_url"),
    )


def answer(tx: Transaction, intent_id: str, method_id: str, *, passed: bool) -> Onward | None:
    """Take the buyer's answer to one challenge; None for no such payment.

    An answer to an earlier try, or a second one to the same, changes nothing.
    """
    session = _session(tx, intent_id)
    intent = _intent(tx, intent_id)
    if intent is None:
        return None
    if intent["status"] == "requires_action" and intent["payment_method"] == method_id:
        redirect = intent["next_action"].get("redirect_to_url") or {}
        _remember_return(tx, intent_id, redirect.get("return_url"))
        method = records.get(tx, "payment_method", method_id)
        went_well = _authenticated(tx, intent, method, passed=passed)
        if session is None:
            invoice_payments.after(tx, intent)
        elif went_well:
            paid = checkout.complete(tx, session, method["billing_details"], intent)
            return Onward(paid.redirect_url, paid.completed_event_id)
    return _onward(tx, intent, session)


def _authenticated(
    tx: Transaction, intent: dict[str, Any], method: dict[str, Any], *, passed: bool
) -> bool:
    """Whether the payment is made, or the card saved."""
    act = setup_intents if intent["object"] == "setup_intent" else intents
    return act.authenticate(tx, intent, method, passed=passed) is None


def problem_of(tx: Transaction, session_id: str) -> tuple[Declined, dict[str, Any]] | None:
    """Why the open session's last try failed, with the billing details typed for it."""
    session = checkout.find_session(tx, session_id)
    if session is None or session["status"] != "open":
        return None
    intent = session_intents.of(tx, records.get(tx, "checkout.session", session_id)) or {}
    error = intent.get("last_payment_error") or intent.get("last_setup_error")
    if error is None or intent["status"] != "requires_payment_method":
        return None
    declined = Declined(
        error["code"], error.get("decline_code"), error["message"], error.get("param")
    )
    return declined, error["payment_method"]["billing_details"]


def _intent(tx: Transaction, intent_id: str) -> dict[str, Any] | None:
    intent = tx.find(intent_id)
    return intent if intent is not None and intent["object"] in _INTENTS else None


def _session(tx: Transaction, intent_id: str) -> dict[str, Any] | None:
    """The session around the intent. One whose time is over expires here, and its intent with it,
    so this comes before the intent is read.
    """
    session_id = tx.private(intent_id).get("session")
    if session_id is None or checkout.find_session(tx, session_id) is None:
        return None
    return tx.find(session_id)


def _remember_return(tx: Transaction, intent_id: str, return_url: str | None) -> None:
    # The intent forgets its next action, but a second press of the button has to lead there too.
    private = {**tx.private(intent_id), "returned_to": return_url}
    records.replace_private(tx, intent_id, private)


def _onward(tx: Transaction, intent: dict[str, Any], session: dict[str, Any] | None) -> Onward:
    if session is not None:
        if session["status"] == "complete":
            paid: Paid = checkout.paid(tx, session)
            return Onward(paid.redirect_url, paid.completed_event_id)
        return Onward(f"/c/pay/{session['id']}?problem=bank")
    private = tx.private(intent["id"])
    url = private.get("returned_to") or private.get("return_url")
    return Onward(_with_outcome(url, intent) if url else "")


def _with_outcome(url: str, intent: dict[str, Any]) -> str:
    """The seller's address, with what Stripe adds to it."""
    went_well = intent["status"] in ("succeeded", "requires_capture", "processing")
    parts = urlsplit(url)
    kind = intent["object"]
    added = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if went_well else "failed",
    }
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *added.items()])
    return urlunsplit(parts._replace(query=query))
