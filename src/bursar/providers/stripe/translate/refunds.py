"""Refunds into facts. Pure."""

from __future__ import annotations

from datetime import datetime

from bursar.providers.port import Facts, PaymentFacts, RefundFact, ReversalState, Unusable
from bursar.providers.stripe.translate import fields
from bursar.providers.stripe.translate.fields import Object

REFERENCE = "bursar_refund"
"""The metadata key under which our reference stands on a refund that we asked for."""

STATES: dict[str, ReversalState] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "settled",
    "failed": "released",
    "canceled": "released",
}


def changed(refund: Object, at: datetime) -> Facts:
    """One refund, whoever asked for it."""
    state = STATES.get(str(refund.get("status") or "pending"))
    if state is None:
        raise Unusable("payload_unparseable", f"refund status {refund.get('status')!r}"[:80])
    amount = refund.get("amount")
    amount_minor = fields.minor(amount) if amount is not None else 0
    fact = RefundFact(
        provider_ref=fields.own_id(refund),
        reference=fields.text(fields.part(refund, "metadata").get(REFERENCE)),
        amount_minor=amount_minor,
        state=state,
        at=at,
        reason=fields.text(refund.get("reason")),
    )
    return PaymentFacts(
        provider="stripe",
        at=at,
        payment_intent_id=fields.find_id(refund.get("payment_intent")),
        charge_id=fields.find_id(refund.get("charge")),
        currency=fields.currency(refund.get("currency")),
        refunds=(fact,) if amount_minor else (),
        # What it does not say is asked for, never taken for the whole.
        incomplete=amount is None,
    )


def answers(refunds: list[Object]) -> list[Facts]:
    """Refunds as they were listed."""
    return [changed(refund, fields.time_of(refund.get("created"))) for refund in refunds]
