"""Single-use tokens of cards, and the card object that Stripe's older interface shows.

Owns the token and the shape of that card object. Never charges and never attaches.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import cards, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.cards import Card
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, no_such, not_played
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

_BRANDS = {
    "amex": "American Express",
    "diners": "Diners Club",
    "discover": "Discover",
    "jcb": "JCB",
    "mastercard": "MasterCard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}
_LINES = ("address_city", "address_country", "address_line1", "address_line2", "address_state",
          "address_zip")  # fmt: skip
_CARD = frozenset("currency cvc exp_month exp_year name networks number".split()) | set(_LINES)
_LATER = ("bank_account", "cvc_update", "person", "pii")


def create(call: Call) -> dict[str, Any]:
    params = call.params
    for name in (*_LATER, "customer"):
        if params.given(name):
            raise not_played(f"tokens of `{name}`", name)
    table = params.table("card")
    if table is None:
        raise missing_parameter("card")
    today = datetime.datetime.fromtimestamp(call.tx.now, datetime.UTC).date()
    card = read_card(table, today)
    lines = {line: table.text(line) for line in _LINES}
    token = {
        "id": new_id("tok"),
        "object": "token",
        "card": {**shown(card, new_id("card")), **lines, "name": table.text("name")},
        "client_ip": None,
        "created": call.tx.now,
        "livemode": False,
        "type": "card",
        "used": False,
    }
    records.insert(call.tx, token, {"card": asdict(card)})
    return token


def read_card(table: Params, today: datetime.date) -> Card:
    """The card that a table of parameters spells out. Raises StripeError."""
    table.allow(_CARD)
    return cards.check(
        table.need_text("number"),
        table.need_integer("exp_month"),
        table.need_integer("exp_year"),
        table.text("cvc"),
        today,
    )


def spend(tx: Transaction, token_id: str, param: str, today: datetime.date) -> Card:
    """The card behind a token, one of Stripe's test tokens or one made here, which serves once.

    Raises StripeError when there is none, or it was used.
    """
    card = cards.from_token(token_id, today)
    if card is not None:
        return card
    token = tx.find(token_id)
    if token is None or token["object"] != "token":
        raise no_such("token", token_id, param)
    if token["used"]:
        raise StripeError(
            f"You cannot use a Stripe token more than once: {token_id}.",
            code="token_already_used",
            param=param,
        )
    records.replace(tx, {**token, "used": True})
    return Card(**tx.private(token_id)["card"])


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "token", call.ids[0], param="token", in_path=True)


def shown(card: Card, card_id: str) -> dict[str, Any]:
    """The card object of a card that nobody has yet."""
    return {
        "id": card_id,
        "object": "card",
        **dict.fromkeys(_LINES),
        "address_line1_check": None,
        "address_zip_check": None,
        "brand": _BRANDS.get(card.brand, "Unknown"),
        "country": "US",
        "cvc_check": "unchecked" if card.has_cvc else None,
        "dynamic_last4": None,
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "last4": card.last4,
        "metadata": {},
        "name": None,
        "regulated_status": "unregulated",
        "tokenization_method": None,
    }


def shown_method(method: dict[str, Any]) -> dict[str, Any]:
    """A payment method of a card, as the card object that the older interface shows."""
    card, details = method["card"], method["billing_details"]
    address = details["address"] or {}
    return {
        "id": method["id"],
        "object": "card",
        "address_city": address.get("city"),
        "address_country": address.get("country"),
        "address_line1": address.get("line1"),
        "address_line1_check": card["checks"]["address_line1_check"],
        "address_line2": address.get("line2"),
        "address_state": address.get("state"),
        "address_zip": address.get("postal_code"),
        "address_zip_check": card["checks"]["address_postal_code_check"],
        "allow_redisplay": method["allow_redisplay"],
        "brand": _BRANDS.get(card["brand"], "Unknown"),
        "country": card["country"],
        "customer": method["customer"],
        "cvc_check": card["checks"]["cvc_check"],
        "dynamic_last4": None,
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "last4": card["last4"],
        "metadata": method["metadata"],
        "name": details["name"],
        "regulated_status": card["regulated_status"],
        "tokenization_method": None,
    }


routes = [
    route("POST", "/v1/tokens", create, "bank_account card customer cvc_update person pii"),
    route("GET", "/v1/tokens/*", retrieve),
]
