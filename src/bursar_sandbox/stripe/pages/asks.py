"""What a session asks of the buyer beside the payment: to save a card, to pay with a saved one,
to agree to terms.

Owns the reading of these wishes for the payment form, and noting what the buyer has ticked. It
never charges and never attaches anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import link_visits, records
from bursar_sandbox.stripe.pages.card_form import Entered

_BRANDS = {"amex": "American Express", "jcb": "JCB", "unionpay": "UnionPay"}
_MOST_SAVED = 5


@dataclass(frozen=True, slots=True)
class Saved:
    """A card that the buyer may pay with again. `id` is its payment method's."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Asks:
    """`saves_only` is for a page that takes no money; `thanks` what it says afterwards instead of
    leading on, None when it leads on.
    """

    saves_only: bool = False
    offers_saving: bool = False
    promotions: bool = False
    terms: bool = False
    saved: tuple[Saved, ...] = ()
    thanks: str | None = None


def of_session(tx: Transaction, session: dict[str, Any]) -> Asks:
    """What the session asks for."""
    consent: dict[str, Any] = session["consent_collection"] or {}
    options: dict[str, Any] = session["saved_payment_method_options"] or {}
    named = session["customer"] if session["customer_creation"] is None else None
    keeps = named is not None or session["customer_creation"] == "always"
    paying = session["mode"] != "setup"
    return Asks(
        saves_only=session["mode"] == "setup",
        offers_saving=session["mode"] == "payment"
        and keeps
        and options.get("payment_method_save") == "enabled",
        promotions=consent.get("promotions") == "auto",
        terms=consent.get("terms_of_service") == "required",
        saved=_saved(tx, named, options) if named is not None and paying else (),
        thanks=link_visits.confirmation(tx, session),
    )


def _saved(tx: Transaction, customer_id: str, options: dict[str, Any]) -> tuple[Saved, ...]:
    """The cards that the page may show, newest first: those that the buyer has agreed to."""
    shown = options.get("allow_redisplay_filters") or ["always"]
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'payment_method' AND customer = ?"
        " AND label = 'card' ORDER BY seq DESC",
        (customer_id,),
    ).fetchall()
    methods = [orjson.loads(row[0]) for row in rows]
    return tuple(
        Saved(method["id"], name_of(method["card"]))
        for method in methods
        if method["allow_redisplay"] in shown
    )[:_MOST_SAVED]


def name_of(card: dict[str, Any]) -> str:
    """A card as its owner knows it."""
    brand = _BRANDS.get(card["brand"], card["brand"].title())
    return f"{brand} ending in {card['last4']}"


def problems(asks: Asks, entered: Entered) -> dict[str, str]:
    """What is missing, by field."""
    if asks.terms and not entered.terms:
        return {"terms": "Agree to the shop’s terms to go on"}
    return {}


def note(tx: Transaction, session_id: str, entered: Entered) -> None:
    """Keep what the buyer has ticked until the session is complete, by way of the bank or not."""
    ticked = {"promotions": bool(entered.promotions), "save": bool(entered.save)}
    private = tx.private(session_id)
    if private.get("ticked", {}) != ticked:
        records.replace_private(tx, session_id, {**private, "ticked": ticked})
