"""A card that is added in the customer portal: checked by a setup intent, then charged later.

Owns the steps from the typed card to the customer's default one, by way of the bank or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    cards,
    intents,
    methods,
    portal_acts,
    records,
    setup_intents,
)
from bursar_sandbox.stripe.checkout import AtBank, CardDetails, Declined
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.portal_acts import NotAllowed, Portal


@dataclass(frozen=True, slots=True)
class Added:
    """The card is the customer's, and is charged from now on."""


def add(
    tx: Transaction,
    portal: Portal,
    card: CardDetails,
    *,
    name: str,
    country: str,
    postal_code: str,
    return_url: str,
) -> Added | AtBank | Declined:
    """Save the card and charge it from now on; the bank may want to see the person first.

    After the bank the person comes to `return_url`, and `finish` does the rest. Raises NotAllowed.
    """
    if not portal.features["payment_method_update"]["enabled"]:
        raise NotAllowed
    details = addresses.billing_details(None)
    details.update(email=portal.customer["email"], name=name)
    details["address"] = {**details["address"], "country": country, "postal_code": postal_code}
    try:
        checked = cards.check(
            card.number, card.exp_month, card.exp_year, card.cvc, methods.today(tx)
        )  # fmt: skip
    except StripeError as error:
        body = error.body
        return Declined(body.get("code", "invalid"), None, body["message"], body.get("param"))
    method = methods.add_card(tx, checked, details)
    setup = setup_intents.blank(tx, ["card"])
    setup["customer"] = portal.customer["id"]
    setup_intents.add(tx, setup, {"portal": portal.session["id"]})
    decline = setup_intents.confirm(tx, setup, method, return_url=return_url)
    if decline is not None:
        return Declined(decline.code, decline.decline_code, decline.message, decline.param)
    if setup["status"] == "requires_action":
        return AtBank(intents.bank_path(setup["id"]))
    portal_acts.make_default(tx, portal, method["id"])
    return Added()


def finish(tx: Transaction, portal: Portal, setup_id: str) -> Added | Declined:
    """After the bank: charge the card from now on, or say why not. A second time changes nothing.

    Raises NotAllowed for a setup intent that was not begun in this session.
    """
    setup = tx.find(setup_id)
    private = tx.private(setup_id)
    if setup is None or private.get("portal") != portal.session["id"]:
        raise NotAllowed
    if setup["status"] == "succeeded":
        if not private.get("finished"):
            records.replace_private(tx, setup_id, {**private, "finished": True})
            portal_acts.make_default(tx, portal, setup["payment_method"])
        return Added()
    error: dict[str, Any] | None = setup["last_setup_error"]
    if error is None:
        raise NotAllowed
    return Declined(error["code"], error.get("decline_code"), error["message"], error.get("param"))
