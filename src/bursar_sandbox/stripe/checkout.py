"""What a hosted checkout page does to a session: reads it, and pays it by card or bank debit.

Owns the step from a buyer's card or account to a completed session. It never renders a page, never
sends a webhook (it only writes events into the store) and never sleeps.

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
    banks,
    cards,
    checkout_sessions,
    discounts,
    events,
    intents,
    invoice_payments,
    link_visits,
    methods,
    records,
    session_endings,
    session_intents,
    session_params,
    session_totals,
    session_tries,
    setup_intents,
    subscription_sessions,
    test_clocks,
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


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """The account that the buyer wants debited. `kind` is Stripe's word for it; `routing` is empty
    for one that an IBAN names.
    """

    kind: str
    number: str
    routing: str = ""


@dataclass(frozen=True, slots=True)
class SavedCard:
    """A card that the session's customer has already, by its payment method's id."""

    method_id: str


Means = CardDetails | AccountDetails | SavedCard


@dataclass(frozen=True, slots=True)
class Changed:
    """Nothing is charged: the session comes to another amount than the buyer has seen.

    `withdrawn` says why a discount is gone; without it, the tax of the buyer's place is the reason.
    """

    withdrawn: str | None = None


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
    test_clocks.enter_of(tx, session)
    if session["status"] == "open" and session["expires_at"] <= tx.now:
        checkout_sessions.expire(tx, session)
    return {**session, "line_items": tx.private(session_id)["line_items"]}


def pay(
    tx: Transaction,
    session_id: str,
    means: Means,
    *,
    email: str,
    name: str,
    country: str,
    postal_code: str,
    seen_total: int | None = None,
) -> Paid | Declined | AtBank | Changed:
    """Charge the card, or debit the account; paying a complete session again returns Paid
    unchanged. `seen_total`, in minor units, is what the buyer has agreed to.

    Raises SessionNotOpen when the session has expired or doesn't exist.
    """
    session = _payable(tx, session_id)
    if session["status"] == "complete":
        return paid(tx, session)
    details = addresses.billing_details(None)
    details.update(email=email, name=name)
    details["address"] = {**details["address"], "country": country, "postal_code": postal_code}
    worthless = session_totals.withdraw_worthless(tx, session)
    session_totals.locate(tx, session, details["address"])
    if worthless is not None:
        return Changed(str(worthless))
    sells = session["mode"] != "setup"
    if sells and seen_total is not None and seen_total != session["amount_total"]:
        return Changed()
    if not asks_for_card(session):
        return complete(tx, session, details)
    try:
        method = _method(tx, session, means, details)
    except StripeError as error:
        body = error.body
        return Declined(body.get("code", "invalid"), None, body["message"], body.get("param"))
    try:
        outcome = pay_with(tx, session, method)
    except StripeError as error:
        body = error.body
        return Declined(body.get("code", "invalid"), None, body["message"], body.get("param"))
    if isinstance(outcome, Paid):
        return outcome
    intent = session_intents.of(tx, session)
    if outcome is None and intent is not None:
        return AtBank(intents.bank_path(intent["id"]))
    if outcome is None:
        raise RuntimeError("the bank asks for an intent that the session doesn't have")
    return Declined(outcome.code, outcome.decline_code, outcome.message, outcome.param)


def asks_for_card(session: dict[str, Any]) -> bool:
    """Whether the session can't be completed without a card or an account."""
    if session["mode"] == "subscription" and session["payment_method_collection"] == "always":
        return True
    return bool(session["mode"] == "setup" or session["amount_total"])


def _method(
    tx: Transaction, session: dict[str, Any], means: Means, details: dict[str, Any]
) -> dict[str, Any]:
    if isinstance(means, SavedCard):
        return methods.of_customer_one(tx, session["customer"], means.method_id)
    if isinstance(means, CardDetails):
        today = methods.today(tx)
        card = cards.check(means.number, means.exp_month, means.exp_year, means.cvc, today)
        return methods.add_card(tx, card, details)
    if means.kind == "sepa_debit":
        return methods.add_account(tx, banks.sepa_account(means.number, "iban"), details)
    return methods.add_account(tx, banks.us_account(means.routing, means.number), details)


def _payable(tx: Transaction, session_id: str) -> dict[str, Any]:
    session = tx.find(session_id)
    if session is None or session["object"] != "checkout.session":
        raise SessionNotOpen("missing")
    test_clocks.enter_of(tx, session)
    if session["status"] == "open" and session["expires_at"] <= tx.now:
        raise SessionNotOpen("expired")
    if session["status"] == "expired":
        raise SessionNotOpen("expired")
    return session


def pay_with(
    tx: Transaction, session: dict[str, Any], method: dict[str, Any]
) -> Paid | Decline | None:
    """Confirm the session's payment intent, made on the first try, with the payment method; or
    its setup intent, when it only saves one.

    None means that the bank wants to see the buyer first. Raises StripeError when the method
    doesn't go with the session, or the intent was canceled behind its back.
    """
    details = method["billing_details"]
    if session["mode"] == "setup" or not session["amount_total"]:
        return _save_with(tx, session, method)
    intent = session_tries.to_pay(tx, session, details)
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


def _save_with(
    tx: Transaction, session: dict[str, Any], method: dict[str, Any]
) -> Paid | Decline | None:
    details = method["billing_details"]
    setup = session_tries.to_save(tx, session, details)
    decline = setup_intents.confirm(tx, setup, method, return_url=session["url"])
    if decline is not None:
        return decline
    if setup["status"] == "requires_action":
        return None
    return complete(tx, session, details, setup)


def complete(
    tx: Transaction,
    session: dict[str, Any],
    details: dict[str, Any],
    intent: dict[str, Any] | None = None,
) -> Paid:
    """Close the session: what was to be done is done, or under way at the bank."""
    # Whom the seller has named is known by that address, whatever stands on the card.
    known = session["customer_details"] or {}
    session.update(
        customer_details=session_params.buyer_details(
            email=known.get("email") or details["email"],
            name=details["name"] or known.get("name"),
            phone=details["phone"],
            address=details["address"],
        ),
        status="complete",
        url=None,
    )
    if intent is not None and intent["object"] == "payment_intent":
        session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"
    if session["automatic_tax"]["enabled"]:
        session["automatic_tax"]["status"] = "complete"
    session_endings.conclude(tx, session, details, intent)
    if session["mode"] == "subscription":
        subscription_sessions.begin(tx, session, intent)
    records.replace(tx, session)
    event_id = events.emit(tx, "checkout.session.completed", session)
    private = tx.private(session["id"])
    records.replace_private(tx, session["id"], {**private, "completed_event": event_id})
    if private.get("discount"):
        discounts.redeem(tx, private["discount"])
    return paid(tx, session)


def settle(tx: Transaction, intent_id: str, *, succeeds: bool | None = None) -> None:
    """The bank's answer to a debit has come: end the payment, and tell the session's seller.

    Without `succeeds` the account decides.
    """
    intent = records.get(tx, "payment_intent", intent_id)
    if intent["status"] != "processing":
        return
    if succeeds is None:
        succeeds = methods.debit_succeeds(tx, intent["payment_method"])
    intents.settle(tx, intent, succeeds=succeeds)
    session_id = tx.private(intent_id).get("session")
    if session_id is None:
        invoice_payments.after(tx, intent)
        return
    session = records.get(tx, "checkout.session", session_id)
    if succeeds:
        session["payment_status"] = "paid"
        session_endings.write_invoice(tx, session, intent)
        records.replace(tx, session)
    if session["mode"] == "subscription":
        invoice_payments.after(tx, intent)
    word = "succeeded" if succeeds else "failed"
    events.emit(tx, f"checkout.session.async_payment_{word}", session)


def success_url(session: dict[str, Any]) -> str:
    """Where the buyer goes next; the session's id stands in for the placeholder."""
    url = str(session["success_url"])
    return url.replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))


def paid(tx: Transaction, session: dict[str, Any]) -> Paid:
    """The way on from a complete session; a link without a redirect leads to its own page."""
    stays = link_visits.confirmation(tx, session) is not None
    url = f"/c/pay/{session['id']}" if stays else success_url(session)
    return Paid(url, tx.private(session["id"])["completed_event"])
