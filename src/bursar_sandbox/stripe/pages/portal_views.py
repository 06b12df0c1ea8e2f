"""What the customer portal says: plans, cards and invoices in words.

Owns the sentences and badges of its first page. It reads and never changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import portal_acts
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.asks import name_of
from bursar_sandbox.stripe.pages.rhythms import day_of, price_words
from bursar_sandbox.stripe.portal_acts import Portal


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in at most three words; `tone` and `icon` are the style's."""

    word: str
    tone: str
    icon: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """A subscription: `price` is `$15.00 a month`, `next` what happens next and when."""

    id: str
    name: str
    price: str
    badge: Badge
    next: str
    can_change: bool
    can_cancel: bool
    can_resume: bool
    pay_url: str = ""


@dataclass(frozen=True, slots=True)
class CardView:
    """A card or account of the customer's. `default` says that it is charged for every plan,
    `needed` that it is for one.
    """

    id: str
    name: str
    expires: str
    default: bool
    needed: bool


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """One invoice of the list; `url` is its own page."""

    number: str
    day: str
    what: str
    amount: str
    badge: Badge
    url: str


_INVOICES = {
    "open": Badge("To be paid", "wait", "clock"),
    "paid": Badge("Paid", "good", "check"),
    "uncollectible": Badge("Written off", "bad", "cross"),
    "void": Badge("Void", "idle", "dash"),
}


def plans(tx: Transaction, portal: Portal) -> list[PlanView]:
    """The customer's subscriptions, newest first."""
    return [_plan(tx, portal, found) for found in portal_acts.subscriptions_of(tx, portal)]


def _plan(tx: Transaction, portal: Portal, found: dict[str, Any]) -> PlanView:
    badge, pay_url = badge_of(found), ""
    if found["status"] in ("past_due", "unpaid", "incomplete"):
        latest = tx.find(found["latest_invoice"] or "") or {}
        if latest.get("status") == "open":
            pay_url = latest["hosted_invoice_url"] or ""
    return PlanView(
        id=found["id"],
        name=plan_name(tx, found),
        price=plan_price(found),
        badge=badge,
        next=_next(tx, portal, found),
        can_change=portal_acts.may_change(portal, found)
        and (len(portal_acts.offers(tx, portal, found)) > 1 or _by_quantity(portal, found)),
        can_cancel=portal_acts.may_cancel(portal, found),
        can_resume=portal_acts.may_resume(portal, found),
        pay_url=pay_url,
    )


def _by_quantity(portal: Portal, found: dict[str, Any]) -> bool:
    price = found["items"]["data"][0]["price"]
    return portal_acts.quantities(portal, price) is not None


def plan_name(tx: Transaction, found: dict[str, Any]) -> str:
    """What a subscription is called: its products."""
    names = [product_name(tx, item["price"]) for item in found["items"]["data"]]
    return ", ".join(names) or "Plan"


def product_name(tx: Transaction, price: dict[str, Any]) -> str:
    """What a price's product is called."""
    return str((tx.find(price["product"]) or {}).get("name") or "Plan")


def plan_price(found: dict[str, Any]) -> str:
    """What a subscription costs, before discount and tax."""
    return " + ".join(
        price_words(item["price"], found["currency"], item.get("quantity", 1))
        for item in found["items"]["data"]
    )


def badge_of(found: dict[str, Any]) -> Badge:
    """A subscription's state."""
    ends, status = portal_acts.ends(found), found["status"]
    if ends is not None and status in ("active", "trialing", "past_due"):
        return Badge(f"Ends {day_of(ends)}", "wait", "clock")
    if status == "trialing":
        return Badge(f"Trial until {day_of(found['trial_end'])}", "note", "clock")
    return {
        "active": Badge("Active", "good", "check"),
        "incomplete": Badge("Not finished", "idle", "clock"),
        "past_due": Badge("Payment failed", "bad", "cross"),
        "paused": Badge("Paused", "idle", "dash"),
        "unpaid": Badge("Unpaid", "bad", "cross"),
    }.get(status, Badge(str(status), "idle", "dash"))


def _next(tx: Transaction, portal: Portal, found: dict[str, Any]) -> str:
    """What happens next, in a sentence."""
    ends, status = portal_acts.ends(found), found["status"]
    if ends is not None:
        return f"You keep it until {day_of(ends)}. Nothing more is charged for it."
    if status == "incomplete":
        return "The first payment is not made yet. Nothing was charged."
    if status == "paused":
        return "Nothing is charged while it is paused. Add a card, and ask the shop to go on."
    if status in ("past_due", "unpaid"):
        return _overdue(tx, found)
    if found["pause_collection"] is not None:
        return "The shop collects nothing for it at the moment."
    card = _card_of(tx, portal, found)
    if status == "trialing" and not card:
        return _trial_without_card(found)
    invoice = portal_acts.next_invoice(tx, found)
    if invoice is None:
        return "Nothing more is charged for it."
    amount = format_amount(invoice["amount_due"], found["currency"])
    first = "First charge" if status == "trialing" else "Next charge"
    return f"{first} {amount} on {day_of(portal_acts.period_end(found))}{card}."


def _trial_without_card(found: dict[str, Any]) -> str:
    settings = (found["trial_settings"] or {}).get("end_behavior") or {}
    ends = {
        "cancel": "the plan ends",
        "pause": "the plan is paused",
    }.get(settings.get("missing_payment_method", ""), "you get an invoice to pay")
    return f"No card is saved. Without one, {ends} on {day_of(found['trial_end'])}."


def _overdue(tx: Transaction, found: dict[str, Any]) -> str:
    invoice = tx.find(found["latest_invoice"] or "") or {}
    if invoice.get("status") != "open":
        return "A payment failed. Change the card, or pay the invoice below."
    amount = format_amount(invoice["amount_remaining"], found["currency"])
    again = invoice["next_payment_attempt"]
    later = f" The card is tried again on {day_of(again)}." if again else ""
    return f"The payment of {amount} failed. Pay it now, or change the card.{later}"


def _card_of(tx: Transaction, portal: Portal, found: dict[str, Any]) -> str:
    method_id = found["default_payment_method"] or portal_acts.default_of(portal)
    method = tx.find(method_id or "")
    return f", {method_name(method)}" if method is not None and "type" in method else ""


def method_name(method: dict[str, Any]) -> str:
    """A payment method as its owner knows it."""
    if method["type"] == "card":
        return name_of(method["card"])
    return f"Bank account ending in {method[method['type']]['last4']}"


def cards(tx: Transaction, portal: Portal) -> list[CardView]:
    """The customer's cards and accounts, the one that is charged first."""
    needed, default = portal_acts.in_use(tx, portal), portal_acts.default_of(portal)
    found = [
        CardView(
            id=method["id"],
            name=method_name(method),
            expires=f"{method['card']['exp_month']:02d} / {method['card']['exp_year'] % 100:02d}"
            if method["type"] == "card"
            else "",
            default={method["id"]} == needed if needed else method["id"] == default,
            needed=method["id"] in needed,
        )
        for method in portal_acts.cards_of(tx, portal)
    ]
    return sorted(found, key=lambda card: not card.default)


def invoices(tx: Transaction, portal: Portal) -> list[InvoiceView]:
    """The customer's invoices, newest first."""
    return [
        InvoiceView(
            number=invoice["number"],
            day=day_of(invoice["effective_at"] or invoice["created"]),
            what=_about(invoice),
            amount=format_amount(invoice["total"], invoice["currency"]),
            badge=_INVOICES.get(invoice["status"], Badge(invoice["status"], "idle", "dash")),
            url=f"/i/{invoice['id']}",
        )
        for invoice in portal_acts.invoices_of(tx, portal)
    ]


def _about(invoice: dict[str, Any]) -> str:
    lines = invoice["lines"].get("data") or [{}]
    words = str(lines[-1].get("description") or "Invoice")
    return words if len(lines) == 1 else f"{words} and {len(lines) - 1} more"
