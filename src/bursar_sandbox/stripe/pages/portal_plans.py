"""The customer portal's tasks with a plan: change it, cancel it, let it go on.

Owns the routes under /p/session/{secret}/plans. What is allowed, and the doing, `portal_acts` owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.stripe import portal_acts
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages import portal, portal_views
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.portal import Visit
from bursar_sandbox.stripe.pages.rhythms import day_of, price_words
from bursar_sandbox.stripe.pages.wording import refusal
from bursar_sandbox.stripe.portal_acts import NotAllowed, Wanted

REASONS = {
    "too_expensive": "It’s too expensive",
    "missing_features": "It lacks what I need",
    "switched_service": "I found something else",
    "unused": "I don’t use it enough",
    "customer_service": "The service was not good",
    "too_complex": "It’s too hard to use",
    "low_quality": "It’s not good enough",
    "other": "Another reason",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A price to change to; `own` is what the person has."""

    price_id: str
    name: str
    price: str
    own: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """What a change costs. `due` is charged at once, empty when nothing is; `seen` is what stands
    in the form, so that a person confirms what is on the page.
    """

    lines: tuple[tuple[str, str], ...]
    sums: tuple[tuple[str, str], ...]
    total: str
    due: str
    later: str
    seen: str
    at: int


def _plan(visit: Visit) -> dict[str, Any]:
    return portal_acts.subscription(visit.tx, visit.portal, visit.request.path_params["plan"])


def choose(visit: Visit) -> Response:
    """GET …/plans/{plan}: what the plan can be changed to."""
    found = _plan(visit)
    if not portal_acts.may_change(visit.portal, found):
        raise NotAllowed
    item = found["items"]["data"][0]
    prices = portal_acts.offers(visit.tx, visit.portal, found)
    offers = [
        Offer(
            price["id"],
            portal_views.product_name(visit.tx, price),
            price_words(price, found["currency"]),
            price["id"] == item["price"]["id"],
        )
        for price in prices
    ]
    bounds = [portal_acts.quantities(visit.portal, price) for price in prices]
    known = [one for one in bounds if one is not None]
    values: dict[str, object] = {
        "plan": found["id"],
        "name": portal_views.plan_name(visit.tx, found),
        "offers": offers,
        "chosen": visit.fields.get("price", item["price"]["id"]),
        "quantity": item.get("quantity", 1),
        "least": min((one[0] for one in known), default=None),
        "most": max((one[1] for one in known), default=None),
        "by_number": ", ".join(
            dict.fromkeys(
                one.name for one, bound in zip(offers, bounds, strict=True) if bound is not None
            )
        ),
        "problem": visit.fields.get("problem", ""),
    }
    return portal.page(visit, "portal_change.html", values)


def show_quote(visit: Visit) -> Response:
    """GET …/plans/{plan}/change?price=…&quantity=…: what the change costs."""
    found = _plan(visit)
    wanted, item = _wanted(visit, found), found["items"]["data"][0]
    try:
        portal_acts.check_change(visit.tx, visit.portal, found, wanted)
    except NotAllowed:
        if portal.open_flow(visit) is not None or not portal_acts.may_change(visit.portal, found):
            raise
        same = wanted == Wanted(item["price"]["id"], item.get("quantity", 1))
        problem = "same" if same else "number"
        url = f"{visit.base}/plans/{found['id']}?problem={problem}&price={wanted.price_id}"
        return RedirectResponse(url, status_code=303, headers={"cache-control": "no-store"})
    return _quote_page(visit, found, wanted)


def _wanted(visit: Visit, found: dict[str, Any]) -> Wanted:
    item = found["items"]["data"][0]
    price_id = "".join(c for c in visit.fields.get("price", "") if c.isalnum() or c in "_-")[:100]
    offered = portal_acts.offers(visit.tx, visit.portal, found)
    price = next((one for one in offered if one["id"] == price_id), None)
    text = visit.fields.get("quantity", "")
    counts = price is not None and portal_acts.quantities(visit.portal, price) is not None
    if counts and text.isascii() and text.isdigit() and len(text) < 7:
        return Wanted(price_id, int(text))
    # What is not sold by number keeps the quantity that there is.
    return Wanted(price_id, item.get("quantity", 1))


def _quote_page(
    visit: Visit, found: dict[str, Any], wanted: Wanted, problem: str = "", status: int = 200
) -> Response:
    price = portal_acts.check_change(visit.tx, visit.portal, found, wanted)
    quote = _quote(visit, found, wanted, visit.tx.now)
    values: dict[str, object] = {
        "plan": found["id"],
        "before": portal_views.plan_name(visit.tx, found),
        "before_price": portal_views.plan_price(found),
        "after": portal_views.product_name(visit.tx, price),
        "after_price": price_words(price, found["currency"], wanted.quantity),
        "wanted": wanted,
        "quote": quote,
        "problem": problem,
    }
    return portal.page(visit, "portal_quote.html", values, status=status)


def _quote(visit: Visit, found: dict[str, Any], wanted: Wanted, at: int) -> Quote:
    invoice, now = portal_acts.preview(visit.tx, visit.portal, found, wanted, at)
    currency = found["currency"]
    due = invoice["amount_due"] if now else 0
    day = day_of(invoice["period_end"])
    later = "" if now else f"This is the next invoice, of {day}. Nothing is charged today."
    return Quote(
        lines=tuple(
            (str(line["description"] or "Item"), format_amount(line["amount"], currency))
            for line in invoice["lines"]["data"]
        ),
        sums=tuple(_sums(invoice, currency)),
        total=format_amount(invoice["amount_due"], currency),
        due=format_amount(due, currency) if due else "",
        later=later,
        seen=f"{int(now)}:{invoice['amount_due']}",
        at=at,
    )


def _sums(invoice: dict[str, Any], currency: str) -> list[tuple[str, str]]:
    rows = [("Subtotal", format_amount(invoice["subtotal"], currency))]
    discount = sum(part["amount"] for part in invoice["total_discount_amounts"] or [])
    tax = sum(part["amount"] for part in invoice["total_taxes"] or [])
    if discount:
        rows.append(("Discount", format_amount(-discount, currency)))
    rows.append(("Tax", format_amount(tax, currency)))
    if invoice["starting_balance"]:
        applied = invoice["amount_due"] - invoice["total"]
        rows.append(("From your balance", format_amount(applied, currency)))
    return rows


def change(visit: Visit) -> Response:
    """POST …/plans/{plan}/change: change the plan at the price that the person has seen."""
    found = _plan(visit)
    item = found["items"]["data"][0]
    wanted = _wanted(visit, found)
    if wanted == Wanted(item["price"]["id"], item.get("quantity", 1)):
        # The button was pressed twice: it is done already.
        return portal.done(visit, "changed")
    portal_acts.check_change(visit.tx, visit.portal, found, wanted)
    at = _moment(visit, found)
    try:
        seen_still = _quote(visit, found, wanted, at).seen == visit.fields.get("seen")
    except StripeError:
        seen_still = False
    if not seen_still:
        problem = "The amounts have changed since. You were not charged. Check them again."
        return _quote_page(visit, found, wanted, problem, 409)
    portal_acts.change(visit.tx, visit.portal, found, wanted, at)
    return portal.done(visit, "changed")


def _moment(visit: Visit, found: dict[str, Any]) -> int:
    """The moment for which the quote was reckoned, if it still lies in the plan's period."""
    text = visit.fields.get("at", "")
    at = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    begun = max(item["current_period_start"] for item in found["items"]["data"])
    return at if begun <= at <= visit.tx.now else visit.tx.now


def change_refused(visit: Visit, error: StripeError) -> Response:
    """The quote again, and why the change was not made."""
    found = _plan(visit)
    reason = refusal(error.body.get("code", ""), error.body.get("decline_code"))
    problem = f"{reason.message} Your plan has not changed."
    return _quote_page(visit, found, _wanted(visit, found), problem, 402)


def ask_cancel(visit: Visit) -> Response:
    """GET …/plans/{plan}/cancel: what canceling means, before it is done."""
    found = _plan(visit)
    if not portal_acts.may_cancel(visit.portal, found):
        raise NotAllowed
    terms = visit.portal.features["subscription_cancel"]
    asks = terms["cancellation_reason"]
    values: dict[str, object] = {
        "plan": found["id"],
        "name": portal_views.plan_name(visit.tx, found),
        "at_once": terms["mode"] == "immediately",
        "credited": terms["proration_behavior"] != "none",
        "until": day_of(portal_acts.period_end(found)),
        "trialing": found["status"] == "trialing",
        "reasons": {name: REASONS[name] for name in asks["options"]} if asks["enabled"] else {},
    }
    return portal.page(visit, "portal_cancel.html", values)


def cancel(visit: Visit) -> Response:
    """POST …/plans/{plan}/cancel: cancel it."""
    found = _plan(visit)
    if portal_acts.ends(found) is not None:
        return portal.done(visit, "canceled")
    if not portal_acts.may_cancel(visit.portal, found):
        raise NotAllowed
    terms = visit.portal.features["subscription_cancel"]
    asks = terms["cancellation_reason"]
    feedback = visit.fields.get("feedback", "")
    feedback = feedback if asks["enabled"] and feedback in asks["options"] else ""
    comment = visit.fields.get("comment", "").strip()[:500] if feedback else ""
    portal_acts.cancel(visit.tx, visit.portal, found, feedback, comment)
    return portal.done(visit, "ended" if terms["mode"] == "immediately" else "canceled")


def resume(visit: Visit) -> Response:
    """POST …/plans/{plan}/resume: take the cancellation back."""
    found = _plan(visit)
    if portal_acts.may_resume(visit.portal, found):
        portal_acts.resume(visit.tx, found)
    return portal.go_home(visit, "resumed")


_PLAN = "/p/session/{secret}/plans/{plan}"

routes = [
    Route(_PLAN, portal.task(choose), methods=["GET"]),
    Route(f"{_PLAN}/change", portal.task(show_quote), methods=["GET"]),
    Route(f"{_PLAN}/change", portal.task(change, change_refused), methods=["POST"]),
    Route(f"{_PLAN}/cancel", portal.task(ask_cancel), methods=["GET"]),
    Route(f"{_PLAN}/cancel", portal.task(cancel), methods=["POST"]),
    Route(f"{_PLAN}/resume", portal.task(resume), methods=["POST"]),
]
