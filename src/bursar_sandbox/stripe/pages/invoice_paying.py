"""The form on an open invoice's page: card typed, paid, declined, led to the bank and back.

Owns the route POST /i/{invoice_id}. What the page shows of the invoice, `invoices` owns; what is
charged, `hosted_invoices`.
"""

from __future__ import annotations

import calendar
import time
from dataclasses import asdict

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import hosted_invoices
from bursar_sandbox.stripe.checkout import AtBank, Declined
from bursar_sandbox.stripe.pages import card_form, drawer, hosted, invoices, rendering
from bursar_sandbox.stripe.pages.card_form import Entered
from bursar_sandbox.stripe.pages.countries import COUNTRIES
from bursar_sandbox.stripe.pages.wording import refusal


async def show(request: Request) -> Response:
    """GET /i/{invoice_id}: what it is for, what it comes to, whether it is paid, or the form."""
    with request.app.state.store.transaction() as tx:
        invoice = hosted_invoices.find(tx, request.path_params["invoice_id"])
        if invoice is None:
            return invoices.unknown()
        hosted_invoices.go_on_with_card(tx, invoice)
        customer = tx.find(invoice["customer"]) or {}
        address = invoice["customer_address"] or {}
        entered = Entered(
            name=customer.get("name") or "",
            country=address.get("country") or "US",
            postal_code=address.get("postal_code") or "",
        )
        card = drawer.find_card(request.query_params.get("card", ""))
        if card is not None:
            entered = drawer.filled(entered, card, time.gmtime(tx.now).tm_year)
        back = request.query_params.get("redirect_status") == "failed"
        declined = hosted_invoices.problem_of(tx, invoice) if back else None
        if declined is not None:
            return _declined(tx, invoice["id"], entered, declined, status=200)
        return _page(tx, invoice["id"], entered)


async def pay(request: Request) -> Response:
    """POST /i/{invoice_id}: pay it, then 303 to the same page; or the form with the reason."""
    try:
        entered = card_form.read(await hosted.read_body(request))
    except (ValueError, ClientDisconnect):
        return rendering.page("closed.html", {"state": "too_much", "order": None}, status=413)
    base_url = str(request.base_url).rstrip("/")
    with request.app.state.store.transaction(base_url=base_url) as tx:
        invoice = hosted_invoices.find(tx, request.path_params["invoice_id"])
        if invoice is None:
            return invoices.unknown()
        here = f"/i/{invoice['id']}"
        if not hosted_invoices.is_payable(tx, invoice):
            return _go(here)
        today = time.gmtime(tx.now)
        wrong = card_form.problems(entered, year=today.tm_year, month=today.tm_mon)
        # The receipt goes to the address that the invoice was made out to.
        wrong.pop("email", None)
        if wrong:
            lines = list(wrong.items())
            return _page(tx, invoice["id"], entered, wrong, lines, status=422)
        outcome = hosted_invoices.pay(
            tx,
            invoice,
            card_form.card_details(entered),
            name=entered.name,
            country=entered.country,
            postal_code=entered.postal_code,
        )
        if isinstance(outcome, Declined):
            return _declined(tx, invoice["id"], entered, outcome, status=402)
        return _go(outcome.path if isinstance(outcome, AtBank) else here)


def _go(url: str) -> Response:
    return RedirectResponse(url, status_code=303, headers={"cache-control": "no-store"})


def _declined(
    tx: Transaction, invoice_id: str, entered: Entered, declined: Declined, *, status: int
) -> Response:
    reason = refusal(declined.code, declined.decline_code)
    wrong = {reason.field: reason.field_message} if reason.field else {}
    summary = [(reason.field or "", reason.message)]
    return _page(tx, invoice_id, entered, wrong, summary, status=status)


def _page(
    tx: Transaction,
    invoice_id: str,
    entered: Entered,
    wrong: dict[str, str] | None = None,
    summary: list[tuple[str, str]] | None = None,
    *,
    status: int = 200,
) -> Response:
    invoice = hosted_invoices.find(tx, invoice_id)
    if invoice is None:
        return invoices.unknown()
    today = time.gmtime(tx.now)
    values: dict[str, object] = {
        "invoice": invoices.words_of(tx, invoice),
        "payable": hosted_invoices.is_payable(tx, invoice),
        "action": f"/i/{invoice_id}",
        "entered": entered,
        "wrong": dict.fromkeys(asdict(entered), "") | (wrong or {}),
        "summary": summary or [],
        "uncharged": status == 422,
        "today_seconds": calendar.timegm(today),
        "amex": card_form.is_amex(card_form.digits_of(entered.card_number)),
        "countries": COUNTRIES,
        "cards": drawer.TEST_CARDS,
        "card_expiry": drawer.expiry_from(today.tm_year),
        "buyer": drawer.BUYER,
    }
    return rendering.page("invoice.html", values, status=status)


routes = [
    Route("/i/{invoice_id}", show, methods=["GET"]),
    Route("/i/{invoice_id}", pay, methods=["POST"]),
]
