"""Charges into facts: what was taken, or held, and whether something went back. Pure."""

from __future__ import annotations

from datetime import datetime

from bursar.providers.port import Facts, PaymentFacts
from bursar.providers.stripe.translate import fields
from bursar.providers.stripe.translate.fields import Object


def succeeded(charge: Object, at: datetime) -> Facts:
    """Money taken, or held until it is captured."""
    captured = bool(charge.get("captured"))
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=fields.reference_of(charge),
        payment_intent_id=fields.find_id(charge.get("payment_intent")),
        charge_id=fields.own_id(charge),
        provider_customer_id=fields.find_id(charge.get("customer")),
        state="completed" if captured else "authorized",
        currency=fields.currency(charge.get("currency")),
        amount_minor=fields.minor(charge.get("amount")),
        captured_minor=fields.minor(charge.get("amount_captured")) if captured else None,
        receipt_url=fields.text(charge.get("receipt_url")),
    )


def refunded(charge: Object, at: datetime) -> Facts:
    """A charge of which something went back: it has the sum alone, so the refunds are listed."""
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=fields.reference_of(charge),
        payment_intent_id=fields.find_id(charge.get("payment_intent")),
        charge_id=fields.own_id(charge),
        currency=fields.currency(charge.get("currency")),
        incomplete=went_back(charge),
    )


def went_back(charge: Object) -> bool:
    """Whether money went back: what a capture of a part released counts among `amount_refunded`."""
    released = fields.minor(charge.get("amount") or 0) - fields.minor(
        charge.get("amount_captured") or 0
    )
    return fields.minor(charge.get("amount_refunded") or 0) > released
