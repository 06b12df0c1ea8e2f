"""The customer portal's tasks with cards: add one, charge another, remove one.

Owns the routes under /p/session/{secret}/cards. The form's fields and their checks are those of the
hosted payment page.
"""

from __future__ import annotations

import calendar
import time
from dataclasses import asdict

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.stripe import portal_acts, portal_cards
from bursar_sandbox.stripe.checkout import AtBank, Declined
from bursar_sandbox.stripe.pages import card_form, drawer, portal
from bursar_sandbox.stripe.pages.card_form import Entered
from bursar_sandbox.stripe.pages.countries import COUNTRIES
from bursar_sandbox.stripe.pages.portal import Visit
from bursar_sandbox.stripe.pages.wording import refusal
from bursar_sandbox.stripe.portal_acts import NotAllowed


def ask(visit: Visit) -> Response:
    """GET …/cards/new: the form."""
    if not visit.portal.features["payment_method_update"]["enabled"]:
        raise NotAllowed
    customer = visit.portal.customer
    address = customer["address"] or {}
    entered = Entered(
        name=customer["name"] or "",
        country=address.get("country") or "US",
        postal_code=address.get("postal_code") or "",
    )
    card = drawer.find_card(visit.fields.get("card", ""))
    if card is not None:
        entered = drawer.filled(entered, card, time.gmtime(visit.tx.now).tm_year)
    return _form(visit, entered)


def add(visit: Visit) -> Response:
    """POST …/cards/new: save the card, by way of the bank if that wants to see the person."""
    known = {name: visit.fields.get(name, "") for name in card_form.FIELD_NAMES}
    # The customer has an address already, or needs none here.
    entered = Entered(**{**known, "email": ""})
    today = time.gmtime(visit.tx.now)
    wrong = card_form.problems(entered, year=today.tm_year, month=today.tm_mon)
    wrong.pop("email", None)
    if wrong:
        return _form(visit, entered, wrong, list(wrong.items()), status=422)
    outcome = portal_cards.add(
        visit.tx,
        visit.portal,
        card_form.card_details(entered),
        name=entered.name,
        country=entered.country,
        postal_code=entered.postal_code,
        return_url=f"{visit.tx.base_url}{visit.base}/cards/added",
    )
    if isinstance(outcome, AtBank):
        return RedirectResponse(outcome.path, 303, headers={"cache-control": "no-store"})
    if isinstance(outcome, Declined):
        return _declined(visit, entered, outcome, status=402)
    return portal.done(visit, "added")


def back_from_bank(visit: Visit) -> Response:
    """GET …/cards/added?setup_intent=…: what came of it at the bank."""
    outcome = portal_cards.finish(visit.tx, visit.portal, visit.fields.get("setup_intent", ""))
    if isinstance(outcome, Declined):
        return _declined(visit, Entered(), outcome, status=200)
    return portal.done(visit, "added")


def see_to(visit: Visit) -> Response:
    """POST …/cards/{method}: charge it from now on, or remove it."""
    method_id, act = visit.request.path_params["method"], visit.fields.get("do", "")
    if act == "default":
        portal_acts.make_default(visit.tx, visit.portal, method_id)
        return portal.go_home(visit, "default")
    if act == "remove":
        portal_acts.remove(visit.tx, visit.portal, method_id)
        return portal.go_home(visit, "removed")
    raise NotAllowed


def _declined(visit: Visit, entered: Entered, declined: Declined, *, status: int) -> Response:
    reason = refusal(declined.code, declined.decline_code)
    wrong = {reason.field: reason.field_message} if reason.field else {}
    return _form(visit, entered, wrong, [(reason.field or "", reason.message)], status=status)


def _form(
    visit: Visit,
    entered: Entered,
    wrong: dict[str, str] | None = None,
    summary: list[tuple[str, str]] | None = None,
    *,
    status: int = 200,
) -> Response:
    today = time.gmtime(visit.tx.now)
    values: dict[str, object] = {
        "action": f"{visit.base}/cards/new",
        "entered": entered,
        "wrong": dict.fromkeys(asdict(entered), "") | (wrong or {}),
        "summary": summary or [],
        "today_seconds": calendar.timegm(today),
        "amex": card_form.is_amex(card_form.digits_of(entered.card_number)),
        "countries": COUNTRIES,
        "cards": drawer.TEST_CARDS,
        "card_expiry": drawer.expiry_from(today.tm_year),
        "buyer": drawer.BUYER,
    }
    return portal.page(visit, "portal_card.html", values, status=status)


_CARDS = "/p/session/{secret}/cards"

routes = [
    Route(f"{_CARDS}/new", portal.task(ask), methods=["GET"]),
    Route(f"{_CARDS}/new", portal.task(add), methods=["POST"]),
    Route(f"{_CARDS}/added", portal.task(back_from_bank), methods=["GET"]),
    Route(f"{_CARDS}/{{method}}", portal.task(see_to), methods=["POST"]),
]
