"""The hosted payment page: shows a session's order, takes card or bank debit, leads to the shop.

Owns the two routes under /c/pay/ and their statuses. It never charges: `checkout.pay` does, in
one transaction, and it keeps no state of its own.
"""

from __future__ import annotations

import calendar
import time
from dataclasses import asdict, replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    authentication,
    checkout,
    records,
    session_renewals,
    session_totals,
)
from bursar_sandbox.stripe.pages import asks, card_form, debit_form, drawer, rendering
from bursar_sandbox.stripe.pages.card_form import Entered
from bursar_sandbox.stripe.pages.countries import COUNTRIES
from bursar_sandbox.stripe.pages.orders import Order, order_of
from bursar_sandbox.stripe.pages.wording import changed, refusal

WEBHOOK_WAIT_SECONDS = 10.0
"""How long the redirect waits for the shop to answer its webhooks, as Stripe's page does."""

METHOD_NAMES = {
    "card": "Card",
    "sepa_debit": "Bank debit (SEPA)",
    "us_bank_account": "Bank debit (US)",
}
_GONE_STATUS = {"complete": 200, "expired": 410, "unknown": 404}


async def show(request: Request) -> Response:
    """GET /c/pay/{session_id}: the form, or what became of the session."""
    session_id, back = request.path_params["session_id"], "problem" in request.query_params
    with request.app.state.store.transaction() as tx:
        _locate(tx, session_id)
        order, today = order_at(tx, session_id), time.gmtime(tx.now)
        problem = authentication.problem_of(tx, session_id) if back else None
        # The order's tax is that of a place that is known: the form begins with the same.
        place = (tx.private(session_id).get("location") if order else None) or {}
    if order is None or order.status != "open":
        return closed_page(order)
    if problem is not None:
        return _back_from_bank(order, today, *problem)
    saved = [card.id for card in order.asks.saved]
    entered = Entered(
        email=order.email,
        method=(*saved, *order.methods)[0],
        country=place.get("country") or "US",
        postal_code=place.get("postal_code") or "",
    )
    card = drawer.find_card(request.query_params.get("card", ""))
    account = drawer.find_account(request.query_params.get("card", ""))
    if card is not None:
        entered = drawer.filled(entered, card, today.tm_year)
    elif account is not None and account.method in order.methods:
        entered = drawer.filled_account(entered, account)
    return form_page(order, entered, today)


async def submit(request: Request) -> Response:
    """POST /c/pay/{session_id}: pay, then 303 to the shop, or to the bank that wants to see the
    buyer; or the form again with the reason.
    """
    try:
        entered = card_form.read(await read_body(request))
    except (ValueError, ClientDisconnect):
        return rendering.page("closed.html", {"state": "too_much", "order": None}, status=413)
    with request.app.state.store.transaction() as tx:
        answer = _charge(tx, request.path_params["session_id"], entered)
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, checkout.AtBank):
        return await onward(request, answer.path)
    return await onward(request, answer.redirect_url, answer.completed_event_id)


async def onward(request: Request, url: str, completed_event_id: str | None = None) -> Response:
    """303 to `url`, once the shop has heard of the payment, as with Stripe."""
    if completed_event_id is not None:
        await request.app.state.delivery.wait_until_answered(
            completed_event_id, WEBHOOK_WAIT_SECONDS
        )
    return RedirectResponse(url, status_code=303, headers={"cache-control": "no-store"})


routes = [
    Route("/c/pay/{session_id}", show, methods=["GET"]),
    Route("/c/pay/{session_id}", submit, methods=["POST"]),
]


async def read_body(request: Request) -> bytes:
    """The posted bytes. Raises ValueError when there are more than a form of ours can have."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > card_form.MAX_BODY_BYTES:
            raise ValueError("the body is larger than the form can be")
    return bytes(body)


def order_at(tx: Transaction, session_id: str) -> Order | None:
    """The order behind the address; None when no session has this id."""
    session = checkout.find_session(tx, session_id)
    if session is None:
        return None
    # A customer whom the page has made itself binds no one to the address typed at first.
    named = session["customer"] if session["customer_creation"] is None else None
    customer = (tx.find(named) if named else None) or {}
    return order_of(
        session,
        customer_email=customer.get("email") or "",
        intent_wishes=tx.private(session_id).get("intent"),
        discount_name=session_totals.discount_name(tx, session_id),
        asks=asks.of_session(tx, session),
        renewal=session_renewals.of(tx, session),
    )


def _locate(tx: Transaction, session_id: str, entered: Entered | None = None) -> None:
    """Let the order's tax be that of the place in the form, if it is for automatic tax.

    Without a form yet it is that of the country the form begins with, unless one is known.
    """
    session = checkout.find_session(tx, session_id)
    if session is None or session["status"] != "open":
        return
    if entered is None and session["automatic_tax"]["status"] == "complete":
        return
    form = entered or Entered()
    typed = {"country": form.country, "postal_code": form.postal_code}
    session_totals.locate(tx, records.get(tx, "checkout.session", session_id), typed)


def _charge(
    tx: Transaction, session_id: str, entered: Entered
) -> checkout.Paid | checkout.AtBank | Response:
    """Ask the bank, or say why it is not asked; a second press finds the session paid."""
    if entered.act == "update":
        _locate(tx, session_id, entered)
    order, today = order_at(tx, session_id), time.gmtime(tx.now)
    if order is None or order.status == "expired":
        return closed_page(order)
    saved = entered.method in [card.id for card in order.asks.saved]
    if entered.method not in order.methods and not saved:
        entered = replace(entered, method=order.methods[0])
    if entered.act == "update" and order.status == "open":
        return form_page(order, entered, today)
    # As on Stripe's page, an address that the shop has named is not the buyer's to change.
    entered = replace(entered, email=order.email or entered.email)
    wrong = card_form.problems(entered, year=today.tm_year, month=today.tm_mon)
    by_card = entered.method == "card"
    if order.free or not by_card:
        wrong = card_form.without_card(wrong)
    if saved:
        wrong = {}
    elif not (order.free or by_card):
        wrong = {**wrong, **debit_form.problems(entered)}
    wrong = {**wrong, **asks.problems(order.asks, entered)}
    if wrong:
        if order.status == "complete":
            return closed_page(order)
        return form_page(order, entered, today, wrong, list(wrong.items()), status=422)
    asks.note(tx, session_id, entered)
    try:
        outcome = checkout.pay(
            tx,
            session_id,
            _means(order, entered),
            email=entered.email,
            name=entered.name,
            country=entered.country,
            postal_code=entered.postal_code,
            seen_total=int(entered.seen_total) if _is_number(entered.seen_total) else None,
        )
    except checkout.SessionNotOpen:
        return closed_page(order_at(tx, session_id))
    if isinstance(outcome, checkout.Changed):
        now = order_at(tx, session_id) or order
        return form_page(
            now, entered, today, None, [("", changed(outcome.withdrawn, now))], status=409
        )
    if not isinstance(outcome, checkout.Declined):
        return outcome
    return _declined(order, entered, today, outcome, status=402)


def _means(order: Order, entered: Entered) -> checkout.Means:
    if order.free:
        return card_form.NO_CARD
    if entered.method.startswith(("card_", "pm_")):
        return checkout.SavedCard(entered.method)
    if entered.method != "card":
        return debit_form.account_details(entered)
    return card_form.card_details(entered)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _back_from_bank(
    order: Order, today: time.struct_time, declined: checkout.Declined, details: dict[str, Any]
) -> Response:
    """The form after a try that ended at the bank: why, and what was typed but for the card."""
    address = details["address"] or {}
    entered = Entered(
        email=order.email or details["email"] or "",
        name=details["name"] or "",
        country=address.get("country") or "US",
        postal_code=address.get("postal_code") or "",
    )
    return _declined(order, entered, today, declined, status=200)


def _declined(
    order: Order,
    entered: Entered,
    today: time.struct_time,
    declined: checkout.Declined,
    *,
    status: int,
) -> Response:
    reason = refusal(declined.code, declined.decline_code)
    wrong = {reason.field: reason.field_message} if reason.field else {}
    summary = [(reason.field or "", reason.message)]
    return form_page(order, entered, today, wrong, summary, status=status)


def closed_page(order: Order | None) -> Response:
    """The page of a session that takes no card any more, or of no session at all."""
    status = "unknown" if order is None else order.status
    held = order is not None and (order.free or order.captured_later or order.pending)
    state = "placed" if status == "complete" and held else status
    return rendering.page(
        "closed.html", {"state": state, "order": order}, status=_GONE_STATUS[status]
    )


def form_page(
    order: Order,
    entered: Entered,
    today: time.struct_time,
    wrong: dict[str, str] | None = None,
    summary: list[tuple[str, str]] | None = None,
    *,
    status: int = 200,
) -> Response:
    """The form with what was typed; `summary` are the lines of its problem box."""
    values: dict[str, object] = {
        "order": order,
        "action": f"/c/pay/{order.session_id}",
        "entered": entered,
        "wrong": dict.fromkeys(asdict(entered), "") | (wrong or {}),
        "summary": summary or [],
        "uncharged": status == 422,
        "accounts": [one for one in drawer.TEST_ACCOUNTS if one.method in order.methods],
        "today_seconds": calendar.timegm(today),
        "amex": card_form.is_amex(card_form.digits_of(entered.card_number)),
        "countries": COUNTRIES,
        "cards": drawer.TEST_CARDS,
        "card_expiry": drawer.expiry_from(today.tm_year),
        "buyer": drawer.BUYER,
        "method_names": METHOD_NAMES,
    }
    ways_out = (order.success_url, order.cancel_url)
    return rendering.page("pay.html", values, status=status, ways_out=ways_out)
