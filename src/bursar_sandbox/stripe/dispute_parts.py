"""The parts of a dispute: its object when it is new, the evidence it can hold, the networks' codes.

Never stores a dispute and never emits an event.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.ids import new_id

EVIDENCE_TEXTS = (
    "access_activity_log", "billing_address", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_email_address", "customer_name", "customer_purchase_ip",
    "duplicate_charge_explanation", "duplicate_charge_id", "product_description",
    "refund_policy_disclosure", "refund_refusal_explanation", "service_date", "shipping_address",
    "shipping_carrier", "shipping_date", "shipping_tracking_number", "uncategorized_text",
)  # fmt: skip
EVIDENCE_FILES = (
    "cancellation_policy", "customer_communication", "customer_signature",
    "duplicate_charge_documentation", "receipt", "refund_policy", "service_documentation",
    "shipping_documentation", "uncategorized_file",
)  # fmt: skip
_DAY = 24 * 3600
_DAYS_TO_ANSWER = 8
_CODES = {
    "visa": {
        "fraudulent": "10.4",
        "unrecognized": "10.4",
        "duplicate": "12.6.1",
        "product_not_received": "13.1",
        "subscription_canceled": "13.2",
        "product_unacceptable": "13.3",
        "credit_not_processed": "13.6",
    },
    "mastercard": {
        "fraudulent": "4837",
        "unrecognized": "4837",
        "duplicate": "4834",
        "product_not_received": "4853",
        "subscription_canceled": "4853",
        "product_unacceptable": "4853",
        "credit_not_processed": "4853",
    },
}


def due(now: int) -> int:
    """The last second of the day by which the seller has to answer."""
    return (now // _DAY + _DAYS_TO_ANSWER + 1) * _DAY - 1


def code_of(brand: str, reason: str) -> str | None:
    """The card network's own word for the reason; None where none is known here."""
    return _CODES.get(brand, {}).get(reason)


def build(
    tx: Transaction, charge: dict[str, Any], amount: int, reason: str, *, inquiry: bool
) -> dict[str, Any]:
    """A new dispute over `amount` in minor units, not stored yet; no money has moved."""
    dispute: dict[str, Any] = {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": tx.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {
            **dict.fromkeys(sorted((*EVIDENCE_TEXTS, *EVIDENCE_FILES))),
            "enhanced_evidence": {},
        },
        "evidence_details": {
            "due_by": due(tx.now),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "intended_submission_method": None,
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "network_reason_code": None,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    card = charge["payment_method_details"].get("card")
    if card is not None:
        code = "10" if inquiry else code_of(card["brand"], reason)
        dispute["network_reason_code"] = code
        dispute["payment_method_details"] = {
            "card": {
                "brand": card["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": card["network"],
                "network_reason_code": code,
            },
            "type": "card",
        }
    return dispute
