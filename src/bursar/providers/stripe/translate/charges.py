"""Charges into facts: what was taken, or held, and whether something went back. Pure."""

from __future__ import annotations

from datetime import datetime

from bursar.providers.port import Facts, PaymentFacts, PaymentState
from bursar.providers.stripe.translate import fields
from bursar.providers.stripe.translate.fields import Object


def succeeded(charge: Object, at: datetime) -> Facts:
    """Money taken, or held until it is captured."""
    if not charge.get("captured"):
        return _charge(charge, at, state="authorized", held=True)
    return _charge(charge, at, state="completed", captured=True)


def captured(charge: Object, at: datetime) -> Facts:
    """Money that was held is taken, whole or in part.

    Nothing can have gone back before: what counts as refunded here is the rest that was let go,
    as API versions before 2025-03-31 have it.
    """
    let_go = fields.minor(charge.get("amount_refunded") or 0)
    return _charge(charge, at, state="completed", captured=True, held=True, released_minor=let_go)


def expired(charge: Object, at: datetime) -> Facts:
    """Money that was held and never taken: the bank has let go of it."""
    return _charge(charge, at, state="expired", held=True)


def taken_at(charge: Object) -> datetime:
    """When the money of a fetched charge was taken: what was held is taken later than charged."""
    entry = fields.part(charge, "balance_transaction")
    return fields.time_of(entry.get("created") if entry else charge.get("created"))


def held_until(charge: Object) -> datetime | None:
    """Until when the card's bank holds the money, if the charge says so."""
    card = fields.part(fields.part(charge, "payment_method_details"), "card")
    until = card.get("capture_before")
    return None if until is None else fields.time_of(until)


def _charge(
    charge: Object,
    at: datetime,
    *,
    state: PaymentState,
    captured: bool = False,
    held: bool = False,
    released_minor: int | None = None,
) -> Facts:
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=fields.reference_of(charge),
        payment_intent_id=fields.find_id(charge.get("payment_intent")),
        charge_id=fields.own_id(charge),
        provider_customer_id=fields.find_id(charge.get("customer")),
        email=fields.text(fields.part(charge, "billing_details").get("email")),
        state=state,
        currency=fields.currency(charge.get("currency")),
        amount_minor=fields.minor(charge.get("amount")),
        captured_minor=fields.minor(charge.get("amount_captured")) if captured else None,
        authorized_minor=fields.minor(charge.get("amount")) if held else None,
        authorized_until=held_until(charge) if held else None,
        released_minor=released_minor,
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
    """Whether something went back, or counts as such: the list of refunds says what."""
    return fields.minor(charge.get("amount_refunded") or 0) > 0


def disputed(charge: Object) -> bool:
    """Whether there is, or was, a dispute: the list of disputes says what became of it."""
    return charge.get("disputed") is True
