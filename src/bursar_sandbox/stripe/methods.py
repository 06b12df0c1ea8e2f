"""Payment methods: builds them from cards and accounts, attaches and detaches them.

Owns their object. Never charges one: `charging` does.
"""

from __future__ import annotations

import datetime
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    banks,
    cards,
    events,
    lists,
    metadata,
    records,
    subscription_states,
    tokens,
)
from bursar_sandbox.stripe.banks import Account
from bursar_sandbox.stripe.call import Call
from bursar_sandbox.stripe.cards import Card, Decline
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, no_such, not_played
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

_CARD = ("cvc", "exp_month", "exp_year", "networks", "number", "token")
_WORD = "PaymentMethod"
_SPENT = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer "
    "attachment, shared with a connected account without Customer attachment, or was detached from "
    "a Customer. It may not be used again. To use a PaymentMethod multiple times, you must attach "
    "it to a Customer first."
)


def today(tx: Transaction) -> datetime.date:
    """The sandbox's date, in UTC."""
    return datetime.datetime.fromtimestamp(tx.now, datetime.UTC).date()


def from_params(tx: Transaction, params: Params) -> dict[str, Any]:
    """A new, stored payment method. Raises StripeError, 402 for a card that can't be one."""
    kind = params.need_text("type")
    details = addresses.billing_details(params.table("billing_details"))
    if kind == "card":
        table = params.table("card")
        if table is None:
            raise missing_parameter(params.name("card"))
        return add_card(tx, _card_of(tx, table), details, metadata.merged(params))
    if kind in banks.CURRENCIES:
        account = banks.from_params(params, kind)
        return add_account(tx, account, details, metadata.merged(params))
    raise not_played(f"payment methods of type `{kind}`", params.name("type"))


def _card_of(tx: Transaction, table: Params) -> Card:
    table.allow(_CARD)
    token = table.text("token")
    if token is not None:
        return tokens.spend(tx, token, table.name("token"), today(tx))
    return cards.check(
        table.need_text("number"),
        table.need_integer("exp_month"),
        table.need_integer("exp_year"),
        table.text("cvc"),
        today(tx),
    )


def add_card(
    tx: Transaction,
    card: Card,
    details: dict[str, Any],
    labels: dict[str, str] | None = None,
    *,
    prefix: str = "pm",
) -> dict[str, Any]:
    """A new, stored payment method of a card that passed its checks.

    Its id begins with `prefix`: `card` for one that came by the older interface.
    """
    unchecked = "unchecked" if card.has_cvc else None
    postal = details["address"] and details["address"].get("postal_code")
    shown = {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": "unchecked" if postal else None,
            "cvc_check": unchecked,
        },
        "country": "US",
        "display_brand": card.brand,
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    private = {"number": card.test_number}
    return _add(
        tx, "card", shown, details=details, labels=labels or {}, private=private, prefix=prefix
    )


def add_account(
    tx: Transaction,
    account: Account,
    details: dict[str, Any],
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A new, stored payment method of a bank account."""
    private = {"account": account.number}
    shown = account.shown
    return _add(tx, account.kind, shown, details=details, labels=labels or {}, private=private)


def _add(
    tx: Transaction,
    kind: str,
    shown: dict[str, Any],
    *,
    details: dict[str, Any],
    labels: dict[str, str],
    private: dict[str, Any],
    prefix: str = "pm",
) -> dict[str, Any]:
    method = {
        "id": new_id(prefix),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": details,
        kind: shown,
        "created": tx.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": labels,
        "type": kind,
    }
    records.insert(tx, method, private)
    return method


def usable(
    tx: Transaction, method_id: str, param: str = "payment_method", *, in_path: bool = False
) -> dict[str, Any]:
    """The payment method with that id, or a fresh one for a shared `pm_card_…` name."""
    if method_id.startswith("pm_card_"):
        card = cards.from_token(method_id, today(tx))
        if card is None:
            raise no_such(_WORD, method_id, param, in_path=in_path)
        return add_card(tx, card, addresses.billing_details(None))
    return records.get(tx, "payment_method", method_id, param=param, in_path=in_path, word=_WORD)


def check_not_spent(tx: Transaction, method: dict[str, Any]) -> None:
    """Raise StripeError for one that was used without a customer, or detached from one."""
    if method["customer"] is None and tx.private(method["id"]).get("spent"):
        raise StripeError(_SPENT, code="payment_method_unexpected_state", param="payment_method")


def spend(tx: Transaction, method: dict[str, Any]) -> None:
    """Note that it was used: without a customer, once is all."""
    if method["customer"] is None:
        private = tx.private(method["id"])
        records.replace_private(tx, method["id"], {**private, "spent": True})


def attach_to(tx: Transaction, method: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Give the payment method to the customer. Raises StripeError, 402 for a declined card."""
    records.get(tx, "customer", customer_id, param="customer")
    if method["customer"] == customer_id:
        return method
    if method["customer"] is not None:
        raise StripeError(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
            param="payment_method",
        )
    check_not_spent(tx, method)
    _check_attaches(tx, method)
    return keep(tx, method, customer_id)


def _check_attaches(tx: Transaction, method: dict[str, Any]) -> None:
    decline = verify(tx, method)
    if decline is not None:
        raise cards.refusal(decline)


def verify(tx: Transaction, method: dict[str, Any]) -> Decline | None:
    """Ask the bank whether the method is good for later, without charging; why not, if it isn't.

    What the bank says of a card's checks is noted in the method, which the caller stores.
    """
    if method["type"] != "card":
        return None
    outcome = cards.outcome_of(tx.private(method["id"]).get("number"))
    if not outcome.attaches and outcome.decline is not None:
        return outcome.decline
    checks = method["card"]["checks"]
    if checks["cvc_check"] is not None:
        checks["cvc_check"] = outcome.cvc_check
    if checks["address_postal_code_check"] is not None:
        checks["address_postal_code_check"] = "pass"
    return None


def keep(tx: Transaction, method: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Attach without asking the bank: a payment has just done so."""
    method["customer"] = customer_id
    records.replace(tx, method)
    events.emit(tx, "payment_method.attached", method)
    return method


def renew(tx: Transaction, method: dict[str, Any]) -> None:
    """The bank has sent a new card in the old one's place: it runs three years longer.

    Raises StripeError for what is no card, or nobody's.
    """
    if method["type"] != "card" or method["customer"] is None:
        raise StripeError("Only a card that a customer has saved is renewed by its bank.")
    before = {**method, "card": dict(method["card"])}
    method["card"]["exp_year"] += 3
    records.replace(tx, method)
    former = events.changes(before, method)
    events.emit(tx, "payment_method.automatically_updated", method, former)


def detach(tx: Transaction, method: dict[str, Any]) -> dict[str, Any]:
    """Take the payment method from its customer, for good. Raises StripeError if it has none."""
    if method["customer"] is None:
        raise StripeError(
            "The payment method you provided is not attached to a customer so detachment is "
            "impossible.",
            param="payment_method",
        )
    customer = tx.find(method["customer"])
    if customer and not customer.get("deleted"):
        _forget_default(tx, customer, method["id"])
        subscription_states.forget_method(tx, customer["id"], method["id"])
    former = method["customer"]
    method["customer"] = None
    records.replace(tx, method)
    records.replace_private(tx, method["id"], {**tx.private(method["id"]), "spent": True})
    events.emit(tx, "payment_method.detached", method, {"customer": former})
    return method


def _forget_default(tx: Transaction, customer: dict[str, Any], method_id: str) -> None:
    after = {**customer, "invoice_settings": dict(customer["invoice_settings"])}
    if after["invoice_settings"]["default_payment_method"] == method_id:
        after["invoice_settings"]["default_payment_method"] = None
    if after["default_source"] == method_id:
        after["default_source"] = None
    if after != customer:
        records.replace(tx, after)
        events.emit_update(tx, customer, after)


def detach_all(tx: Transaction, customer_id: str) -> None:
    """Detach everything that the customer has."""
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'payment_method' AND customer = ?", (customer_id,)
    ).fetchall()
    for (method_id,) in rows:
        detach(tx, records.get(tx, "payment_method", method_id))


def of_customer(call: Call, customer_id: str) -> dict[str, Any]:
    """The list of the customer's payment methods."""
    query = lists.Query("payment_method")
    query.add("customer = ?", customer_id)
    query.equal(call.params, "type", "allow_redisplay")
    return lists.page(call, query)


def of_customer_one(tx: Transaction, customer_id: str, method_id: str) -> dict[str, Any]:
    """One of the customer's payment methods. Raises StripeError (404) for another's."""
    method = records.get(
        tx, "payment_method", method_id, param="payment_method", in_path=True, word=_WORD
    )
    if method["customer"] != customer_id:
        raise no_such(_WORD, method_id, "payment_method", in_path=True)
    return method


def debit_succeeds(tx: Transaction, method_id: str) -> bool:
    """Whether the debit of this bank account will succeed."""
    return banks.debit_of(tx.private(method_id)["account"]).succeeds
