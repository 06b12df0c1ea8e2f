"""A buyer opens a payment link's address: each visit opens a checkout session of its own.

Owns what a link's address leads to. It never renders a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import checkout_sessions, payment_link_params, session_params
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.params import Params

NOWHERE = "https://stripe.com"
"""What a session of a link without a redirect names as its way out, as Stripe's do."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing is sold at the address: `message` is the seller's word for it, or the reason."""

    message: str
    known: bool = True


def visit(tx: Transaction, link_id: str, query: dict[str, str]) -> dict[str, Any] | Closed:
    """The session that this visit opens; Closed for a link that ended or never was."""
    link = tx.find(link_id)
    if link is None or link["object"] != "payment_link":
        return Closed("", known=False)
    if not link["active"]:
        return Closed(link["inactive_message"] or "")
    asked = {
        **tx.private(link_id)["session"],
        **payment_link_params.of_address(query),
        "mode": "payment",
        "success_url": link["after_completion"].get("redirect", {}).get("url") or NOWHERE,
        "cancel_url": NOWHERE,
    }
    params = Params(asked)
    try:
        session_params.check(params)
        return checkout_sessions.open_one(tx, params, payment_link=link_id)
    except StripeError as error:
        return Closed(str(error))


def confirmation(tx: Transaction, session: dict[str, Any]) -> str | None:
    """What the page says after a purchase by a link that leads nowhere; None if it leads on."""
    if session["payment_link"] is None:
        return None
    link = tx.find(session["payment_link"]) or {}
    shown = link.get("after_completion", {}).get("hosted_confirmation")
    return None if shown is None else str(shown["custom_message"] or "")
