"""What a subscription is paid with, and what is said when there is nothing, or it is refused.

Owns the order in which defaults count. Never charges anybody.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    cards,
    invoice_payments,
    records,
    setup_intents,
    subscription_states,
)
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError

Body = dict[str, Any]


def of(tx: Transaction, subscription: Body) -> str | None:
    """What the subscription is paid with, by its id; None when there is nothing."""
    customer = records.get(tx, "customer", subscription["customer"])
    found: str | None = (
        subscription["default_payment_method"]
        or subscription["default_source"]
        or customer["invoice_settings"]["default_payment_method"]
        or customer["default_source"]
    )
    return found


def need_method(tx: Transaction, subscription: Body) -> None:
    """Raise StripeError when there is nothing that the subscription could be paid with."""
    if of(tx, subscription) is None:
        raise StripeError(
            "This customer has no attached payment source or default payment method. Please "
            "consider adding a default payment method. For more information, visit "
            "https://stripe.com/docs/billing/subscriptions/payment-methods-setting"
            "#payment-method-priority.",
            code="resource_missing",
        )


def ask_for_method(tx: Transaction, subscription: Body) -> None:
    """Let the seller's page save a card for later, where nothing is to be paid yet."""
    charged = subscription["collection_method"] == "charge_automatically"
    if not charged or of(tx, subscription) is not None:
        return
    kinds = subscription["payment_settings"]["payment_method_types"] or ["card"]
    setup = setup_intents.blank(tx, kinds)
    setup["customer"] = subscription["customer"]
    setup_intents.add(tx, setup, {"subscription": subscription["id"]})
    subscription["pending_setup_intent"] = setup["id"]
    subscription_states.save(tx, subscription)


def refusal(tx: Transaction, decline: Decline, invoice: Body) -> StripeError:
    """The 402 of a call that wanted everything or nothing, and leaves nothing."""
    intent = invoice_payments.intent_of(tx, invoice) or {}
    charge = (intent.get("last_payment_error") or {}).get("charge")
    return cards.refusal(decline, charge=charge)
