"""Payment intents into facts. Pure."""

from __future__ import annotations

from datetime import datetime

from bursar.providers.port import Facts, PaymentFacts, PaymentState
from bursar.providers.stripe.translate import charges, fields
from bursar.providers.stripe.translate.fields import Object

# Why nobody in particular canceled an intent; `automatic` is the word before 2025-03-31.
LAPSED = ("expired", "automatic")


def succeeded(intent: Object, at: datetime) -> Facts:
    received = fields.minor(intent.get("amount_received"))
    return _intent(intent, at, state="completed", captured_minor=received)


def failed(intent: Object, at: datetime) -> Facts:
    return _intent(intent, at, state="failed", failure=failure_of(intent))


def failure_of(intent: Object) -> str:
    """Why the last attempt failed, in the provider's one word for it."""
    error = fields.part(intent, "last_payment_error")
    failure = (
        fields.find_id(error.get("decline_code"))
        or fields.find_id(error.get("code"))
        or "payment_failed"
    )
    return failure[:100]


def held(intent: Object, at: datetime) -> Facts:
    """The bank holds the money for a capture by hand; nothing is taken yet."""
    if intent.get("status") != "requires_capture":
        return _intent(intent, at, state=None)
    return _intent(intent, at, state="authorized")


def canceled(intent: Object, at: datetime) -> Facts:
    """Somebody gave the payment up, or nobody captured it in time."""
    lapsed = intent.get("cancellation_reason") in LAPSED
    return _intent(intent, at, state="expired" if lapsed else "canceled")


def answer(intent: Object) -> Facts:
    """A payment intent as it was fetched, with `latest_charge` expanded."""
    charge = intent.get("latest_charge")
    stamp = charge.get("created") if isinstance(charge, dict) else intent.get("created")
    at = fields.time_of(stamp)
    taken_at = charges.taken_at(charge) if isinstance(charge, dict) else at
    match intent.get("status"):
        case "succeeded":
            return succeeded(intent, taken_at)
        case "canceled":
            return canceled(intent, fields.time_of(intent.get("canceled_at") or stamp))
        case "processing":
            return _intent(intent, at, state="processing")
        case "requires_capture":
            return held(intent, at)
        case "requires_payment_method" if intent.get("last_payment_error"):
            return failed(intent, at)
    return _intent(intent, at, state=None)


def _intent(
    intent: Object,
    at: datetime,
    *,
    state: PaymentState | None,
    captured_minor: int | None = None,
    failure: str | None = None,
) -> Facts:
    charge = intent.get("latest_charge")
    by_hand = intent.get("capture_method") == "manual" and state in ("authorized", "completed")
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=fields.reference_of(intent),
        payment_intent_id=fields.own_id(intent),
        charge_id=fields.find_id(charge),
        provider_customer_id=fields.find_id(intent.get("customer")),
        state=state,
        currency=fields.currency(intent.get("currency")),
        amount_minor=fields.minor(intent.get("amount")),
        captured_minor=captured_minor,
        authorized_minor=_held_minor(intent) if by_hand or state == "authorized" else None,
        authorized_until=charges.held_until(charge) if isinstance(charge, dict) else None,
        failure=failure,
        receipt_url=fields.text(charge.get("receipt_url")) if isinstance(charge, dict) else None,
        incomplete=isinstance(charge, dict)
        and (charges.went_back(charge) or charges.disputed(charge)),
    )


def _held_minor(intent: Object) -> int:
    """What is held, or was before it was captured."""
    return fields.minor(intent.get("amount_capturable") or intent.get("amount"))
