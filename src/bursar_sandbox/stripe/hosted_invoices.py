"""An open invoice that its customer pays on the page at its address, with a card typed there.

Owns that payment, by way of the bank or not, and that a subscription goes on with the card that has
paid for it. It never renders a page.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    cards,
    intents,
    invoice_payments,
    methods,
    records,
    subscription_states,
    test_clocks,
)
from bursar_sandbox.stripe.checkout import AtBank, CardDetails, Declined
from bursar_sandbox.stripe.errors import StripeError

PAYABLE = ("open", "uncollectible")


def find(tx: Transaction, invoice_id: str) -> dict[str, Any] | None:
    """The invoice that has a page; None for a draft, which nobody is to see yet, and for no such
    invoice. What follows in the transaction happens in its customer's time.
    """
    invoice = tx.find(invoice_id)
    if invoice is None or invoice["object"] != "invoice" or invoice.get("deleted"):
        return None
    test_clocks.enter_of(tx, invoice)
    return None if invoice["status"] == "draft" else invoice


def is_payable(tx: Transaction, invoice: dict[str, Any]) -> bool:
    """Whether there is something to pay on the invoice's page."""
    if invoice["status"] not in PAYABLE or not invoice["amount_remaining"]:
        return False
    intent = invoice_payments.intent_of(tx, invoice)
    return intent is not None and intent["status"] in intents.CONFIRMABLE


def pay(
    tx: Transaction,
    invoice: dict[str, Any],
    card: CardDetails,
    *,
    name: str,
    country: str,
    postal_code: str,
) -> AtBank | Declined | None:
    """Pay the invoice with the card; None when it is paid, now or before."""
    intent = invoice_payments.intent_of(tx, invoice)
    if intent is None or not is_payable(tx, invoice):
        return None
    details = addresses.billing_details(None)
    details.update(email=invoice["customer_email"], name=name)
    details["address"] = {**details["address"], "country": country, "postal_code": postal_code}
    try:
        checked = cards.check(
            card.number, card.exp_month, card.exp_year, card.cvc, methods.today(tx)
        )
        method = methods.add_card(tx, checked, details)
        # The bank leads back to the invoice's page.
        url = f"{tx.base_url}/i/{invoice['id']}"
        private = {**tx.private(intent["id"]), "return_url": url, "on_page": True}
        records.replace_private(tx, intent["id"], private)
        decline = invoice_payments.pay(tx, invoice, method)
    except StripeError as error:
        body = error.body
        return Declined(body.get("code", "invalid"), None, body["message"], body.get("param"))
    if decline is invoice_payments.ASKS:
        return AtBank(intents.bank_path(intent["id"]))
    if decline is not None:
        return Declined(decline.code, decline.decline_code, decline.message, decline.param)
    go_on_with_card(tx, invoice)
    return None


def problem_of(tx: Transaction, invoice: dict[str, Any]) -> Declined | None:
    """Why the last try on the page failed; None if it did not, or there was none."""
    intent = invoice_payments.intent_of(tx, invoice)
    error = (intent or {}).get("last_payment_error")
    if intent is None or error is None or not tx.private(intent["id"]).get("on_page"):
        return None
    return Declined(error["code"], error.get("decline_code"), error["message"], error.get("param"))


def go_on_with_card(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Charge a subscription from now on to the card that has paid its invoice on the page, as
    Stripe does where the seller collects by itself. A second time changes nothing.
    """
    intent = invoice_payments.intent_of(tx, invoice)
    if intent is None or intent["status"] != "succeeded":
        return
    private = tx.private(intent["id"])
    if not private.get("on_page"):
        return
    records.replace_private(tx, intent["id"], {**private, "on_page": False})
    found = subscription_states.of_invoice(tx, records.get(tx, "invoice", invoice["id"]))
    method = tx.find(intent["payment_method"] or "")
    if found is None or found["status"] in ("canceled", "incomplete_expired") or method is None:
        return
    charged = found["collection_method"] == "charge_automatically"
    if charged and method["customer"] == found["customer"]:
        subscription_states.save(tx, {**found, "default_payment_method": method["id"]})
