"""Disputes into facts, and our words for evidence into Stripe's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bursar.providers.after_sale import DisputeFact, DisputeStatus
from bursar.providers.port import Facts, PaymentFacts, ReversalState, Unusable
from bursar.providers.stripe.translate import fields
from bursar.providers.stripe.translate.fields import Object

STATUSES: dict[str, tuple[DisputeStatus, ReversalState, bool]] = {
    "warning_needs_response": ("needs_response", "pending", True),
    "warning_under_review": ("under_review", "pending", True),
    "warning_closed": ("closed", "released", True),
    "needs_response": ("needs_response", "pending", False),
    "under_review": ("under_review", "pending", False),
    "won": ("won", "released", False),
    "lost": ("lost", "settled", False),
    "prevented": ("prevented", "released", False),
}
"""Each of Stripe's words: ours, what it does to the money, whether the bank only asks."""

EVIDENCE = {
    "customer_name": "customer_name",
    "customer_email": "customer_email_address",
    "customer_ip": "customer_purchase_ip",
    "billing_address": "billing_address",
    "product_description": "product_description",
    "service_date": "service_date",
    "access_log": "access_activity_log",
    "refund_policy": "refund_policy_disclosure",
    "refund_refusal": "refund_refusal_explanation",
    "cancellation_policy": "cancellation_policy_disclosure",
    "cancellation_rebuttal": "cancellation_rebuttal",
    "duplicate_charge": "duplicate_charge_id",
    "duplicate_explanation": "duplicate_charge_explanation",
    "shipping_address": "shipping_address",
    "shipping_carrier": "shipping_carrier",
    "shipping_date": "shipping_date",
    "shipping_tracking_number": "shipping_tracking_number",
    "uncategorized_text": "uncategorized_text",
}
"""Our words for evidence and Stripe's. A receipt as text has no place of its own there."""


def changed(dispute: Object, at: datetime) -> Facts:
    """One dispute, whatever happened to it."""
    found = STATUSES.get(str(dispute.get("status")))
    if found is None:
        raise Unusable("payload_unparseable", f"dispute status {dispute.get('status')!r}"[:80])
    status, state, inquiry = found
    if status == "prevented" and _withdrawn(dispute):
        # It went no further because the buyer has the money back.
        state = "settled"
    amount_minor = fields.minor(dispute.get("amount"))
    due_by = fields.part(dispute, "evidence_details").get("due_by")
    fact = DisputeFact(
        provider_ref=fields.own_id(dispute),
        amount_minor=amount_minor,
        status=status,
        state=state,
        inquiry=inquiry,
        reason=fields.text(dispute.get("reason")),
        due_at=None if due_by is None else fields.time_of(due_by),
        at=at,
    )
    return PaymentFacts(
        provider="stripe",
        at=at,
        payment_intent_id=fields.find_id(dispute.get("payment_intent")),
        charge_id=fields.find_id(dispute.get("charge")),
        currency=fields.currency(dispute.get("currency")),
        disputes=(fact,) if amount_minor else (),
    )


def answers(disputes: Sequence[Object], at: datetime) -> list[Facts]:
    """Disputes as they were listed at this time: they do not say when they changed last."""
    return [changed(dispute, at) for dispute in disputes]


def evidence_of(said: Mapping[str, str]) -> dict[str, str]:
    """Evidence in Stripe's words. A receipt goes with the rest, which Stripe takes as a text."""
    told = {EVIDENCE[name]: text for name, text in said.items() if name in EVIDENCE}
    if "receipt" in said:
        receipt = f"Receipt:\n{said['receipt']}" if said["receipt"] else ""
        parts = [told.get("uncategorized_text", ""), receipt]
        told["uncategorized_text"] = "\n\n".join(part for part in parts if part)
    return told


def _withdrawn(dispute: Object) -> bool:
    """Whether the money that a dispute took and gave back comes to a loss."""
    moved = dispute.get("balance_transactions")
    amounts = [entry.get("amount") for entry in moved or () if isinstance(entry, dict)]
    return sum(amount for amount in amounts if isinstance(amount, int)) < 0
