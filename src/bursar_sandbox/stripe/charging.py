"""Charges a payment method for a payment intent, and settles what was pending.

Owns the charge; what is given back of it is up to `refunding`, what the bank takes back to
`disputes`. Never decides whether the intent may be charged: the caller has checked its status.
"""

from __future__ import annotations

import uuid
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    balance,
    banks,
    cards,
    disputes,
    events,
    fraud_warnings,
    records,
)
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.currencies import fee_of
from bursar_sandbox.stripe.ids import new_id, random_text

BANK_DECLINE = Decline(
    "payment_intent_payment_attempt_failed",
    "generic_decline",
    "The payment failed.",
)
HELD_SECONDS = 7 * 24 * 3600


def charge_card(
    tx: Transaction,
    intent: dict[str, Any],
    method: dict[str, Any],
    *,
    authenticated: bool = False,
    decline: Decline | None = None,
) -> dict[str, Any]:
    """Ask the card's bank; the charge returned is succeeded or failed, and stored.

    `authenticated` says that the buyer has confirmed the payment with the bank; `decline`, why it
    is refused whatever the card.
    """
    outcome = cards.outcome_of(tx.private(method["id"]).get("number"))
    held = intent["capture_method"] == "manual"
    charge = _charge(tx, intent, method)
    charge["payment_method_details"] = _card_details(charge, method, outcome.cvc_check)
    if authenticated:
        _note_authentication(charge["payment_method_details"]["card"])
    refused = decline or outcome.decline
    if refused is not None:
        _fail(charge, refused)
        _store(tx, charge)
        return charge
    charge.update(status="succeeded", paid=True, outcome=_authorized())
    charge["receipt_url"] = receipt_url(tx, charge)
    if held:
        charge["captured"] = False
        details = charge["payment_method_details"]["card"]
        details["capture_before"] = tx.now + HELD_SECONDS
        tx.store.schedule(tx, details["capture_before"], "intent.lapse", intent["id"])
    else:
        _take(tx, charge, charge["amount"])
    _store(tx, charge)
    if not held:
        _look_back(tx, charge)
    return charge


def charge_account(
    tx: Transaction, intent: dict[str, Any], method: dict[str, Any]
) -> dict[str, Any]:
    """Ask for a bank's debit; the charge returned is pending, and a timer will settle it."""
    charge = _charge(tx, intent, method)
    charge["payment_method_details"] = _account_details(method)
    charge.update(status="pending", outcome=_authorized())
    charge["captured"] = True
    records.insert(tx, charge)
    events.emit(tx, "charge.pending", charge)
    debit = banks.debit_of(tx.private(method["id"])["account"])
    tx.store.schedule(tx, tx.now + debit.seconds, "intent.settle", intent["id"])
    return charge


def _account_details(method: dict[str, Any]) -> dict[str, Any]:
    kind = method["type"]
    shown = {**method[kind], "mandate": new_id("mandate")}
    # What only the payment method tells of an account.
    for name in ("financial_connections_account", "generated_from", "networks", "status_details"):
        shown.pop(name, None)
    if kind == "us_bank_account":
        shown["payment_reference"] = None
    return {kind: shown, "type": kind}


def settle(tx: Transaction, charge: dict[str, Any], *, succeeds: bool) -> dict[str, Any]:
    """End a pending charge."""
    if succeeds:
        charge.update(status="succeeded", paid=True, receipt_url=receipt_url(tx, charge))
        _take(tx, charge, charge["amount"])
    else:
        _fail(charge, BANK_DECLINE)
    records.replace(tx, charge)
    events.emit(tx, "charge.succeeded" if succeeds else "charge.failed", charge)
    return charge


def capture(tx: Transaction, charge: dict[str, Any], amount: int) -> dict[str, Any]:
    """Take `amount`, in minor units, of a held charge.

    The rest is released: since 2025-03-31 Stripe neither makes a refund of that nor counts it among
    `amount_refunded`.
    """
    before = dict(charge)
    _take(tx, charge, amount)
    records.replace(tx, charge)
    events.emit(tx, "charge.captured", charge, events.changes(before, charge))
    _look_back(tx, charge)
    return charge


def expire(tx: Transaction, charge: dict[str, Any]) -> None:
    """Tell that a held charge has lapsed. Nothing was taken, so nothing is given back either."""
    events.emit(tx, "charge.expired", charge)


def _look_back(tx: Transaction, charge: dict[str, Any]) -> None:
    """Let follow what follows money that some test cards have paid."""
    outcome = cards.outcome_of(tx.private(charge["payment_method"]).get("number"))
    if outcome.claim is not None:
        disputes.add(tx, charge, reason=outcome.claim.reason, inquiry=outcome.claim.inquiry)
    if outcome.warned:
        fraud_warnings.add(tx, charge)
    if outcome.at_once:
        events.emit(tx, "balance.available", balance.current(tx))


def _charge(tx: Transaction, intent: dict[str, Any], method: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": _descriptor(intent),
        "captured": False,
        "created": tx.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": None,
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


def receipt_url(tx: Transaction, charge: dict[str, Any]) -> str:
    """The page that says what was paid."""
    return f"{tx.base_url}/receipts/{charge['id']}"


def _note_authentication(card: dict[str, Any]) -> None:
    card["electronic_commerce_indicator"] = "05"
    card["three_d_secure"] = {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": str(uuid.uuid4()),
        "version": "2.2.0",
    }


def _descriptor(intent: dict[str, Any]) -> str:
    suffix = intent["statement_descriptor_suffix"]
    return f"SANDBOX* {suffix}"[:22] if suffix else intent["statement_descriptor"] or "SANDBOX"


def _card_details(charge: dict[str, Any], method: dict[str, Any], cvc_check: str) -> dict[str, Any]:
    card = method["card"]
    checks = card["checks"]
    postal = checks["address_postal_code_check"]
    return {
        "card": {
            "amount_authorized": charge["amount"],
            "authorization_code": random_text(6).upper(),
            "brand": card["brand"],
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": "pass" if postal else None,
                "cvc_check": cvc_check if checks["cvc_check"] else None,
            },
            "country": card["country"],
            "electronic_commerce_indicator": None,
            "exp_month": card["exp_month"],
            "exp_year": card["exp_year"],
            "extended_authorization": {"status": "disabled"},
            "fingerprint": card["fingerprint"],
            "funding": card["funding"],
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "last4": card["last4"],
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card["brand"],
            "network_token": {"used": False},
            "network_transaction_id": random_text(15),
            "overcapture": {
                "maximum_amount_capturable": charge["amount"],
                "status": "unavailable",
            },
            "regulated_status": card["regulated_status"],
            "three_d_secure": None,
            "transaction_link_id": None,
            "wallet": None,
        },
        "type": "card",
    }


def _authorized() -> dict[str, Any]:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }


def _fail(charge: dict[str, Any], decline: Decline) -> None:
    reason = decline.decline_code or decline.code
    charge.update(
        status="failed",
        paid=False,
        captured=False,
        failure_code=decline.code,
        failure_message=decline.message,
        outcome={
            **_authorized(),
            "advice_code": "try_again_later" if reason == "insufficient_funds" else None,
            "network_status": "declined_by_network",
            "reason": reason,
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        },
    )


def _take(tx: Transaction, charge: dict[str, Any], amount: int) -> None:
    card = "card" in charge["payment_method_details"]
    number = tx.private(charge["payment_method"]).get("number") if card else None
    entry_id = balance.add(
        tx,
        charge,
        amount,
        kind="charge" if card else "payment",
        category="charge",
        fee=fee_of(amount),
        at_once=cards.outcome_of(number).at_once,
    )
    charge.update(captured=True, amount_captured=amount, balance_transaction=entry_id)


def _store(tx: Transaction, charge: dict[str, Any]) -> None:
    records.insert(tx, charge)
    events.emit(tx, f"charge.{charge['status']}", charge)
