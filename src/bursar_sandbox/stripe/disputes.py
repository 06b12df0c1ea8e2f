"""A buyer's bank takes a payment back, or asks about it: the dispute from its opening to its end.

Owns the dispute's status and what it does to the charge and the balance. Knows nothing
of parameters or routes: the API, the test cards and the sandbox's own page open and end disputes
in the same way.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import balance, banks, dispute_parts, events, records, refunding
from bursar_sandbox.stripe.errors import StripeError

FEE = 1500
"""What Stripe takes for a dispute, in minor units; a dispute that is won doesn't bring it back."""

REASONS = (
    "fraudulent",
    "product_not_received",
    "product_unacceptable",
    "duplicate",
    "subscription_canceled",
    "credit_not_processed",
    "unrecognized",
    "general",
)
OPEN = frozenset({"needs_response", "under_review"})
ASKING = frozenset({"warning_needs_response", "warning_under_review"})
# The texts that decide in Stripe's test mode, and what comes of each.
_DECIDING = {
    "winning_evidence": "won",
    "losing_evidence": "lost",
    "escalate_inquiry_evidence": "escalated",
}
# A bank that asked and has heard enough does nothing more within this time: the inquiry is over.
_INQUIRY_SECONDS = 120 * 24 * 3600


def add(
    tx: Transaction,
    charge: dict[str, Any],
    *,
    reason: str,
    inquiry: bool = False,
    amount: int | None = None,
) -> dict[str, Any]:
    """Open a dispute over `amount` in minor units, or over all that was not given back.

    `inquiry` says that the bank only asks and takes no money yet. Raises StripeError when the
    charge can't be disputed.
    """
    _check(tx, charge)
    if not inquiry:
        refunding.fail_under_way(tx, charge, since=None)
    left = refunding.left_of(charge)
    if not left or (amount is not None and not 0 < amount <= left):
        raise StripeError(
            f"Charge {charge['id']} can be disputed over {left} at most: the rest was given back.",
            param="amount",
        )
    dispute = dispute_parts.build(tx, charge, amount or left, reason, inquiry=inquiry)
    charge["disputed"] = True
    records.replace(tx, charge)
    records.insert(tx, dispute)
    tx.store.schedule(tx, dispute["evidence_details"]["due_by"], "dispute.due", dispute["id"])
    if inquiry:
        tx.store.schedule(tx, tx.now + _INQUIRY_SECONDS, "dispute.forget", dispute["id"])
        events.emit(tx, "charge.dispute.created", dispute)
        return dispute
    _withdraw(tx, dispute)
    records.replace(tx, dispute)
    events.emit(tx, "charge.dispute.created", dispute)
    events.emit(tx, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def _check(tx: Transaction, charge: dict[str, Any]) -> None:
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeError(f"Charge {charge['id']} can't be disputed: nothing of it was taken.")
    rows = tx.execute(
        "SELECT body ->> '$.status' FROM objects WHERE object = 'dispute' AND parent = ?",
        (charge["id"],),
    ).fetchall()
    if any(status not in ("won", "warning_closed") for (status,) in rows):
        raise StripeError(f"Charge {charge['id']} has been disputed already.")


def submit(tx: Transaction, dispute: dict[str, Any]) -> None:
    """Send the evidence to the bank; what it says of it comes a little later."""
    details = dispute["evidence_details"]
    details["submission_count"] += 1
    details["submission_method"] = "manual"
    asking = dispute["status"] in ASKING
    dispute["status"] = "warning_under_review" if asking else "under_review"
    if dispute["evidence"]["uncategorized_text"] in _DECIDING:
        tx.store.schedule(tx, tx.now + banks.SOON_SECONDS, "dispute.decide", dispute["id"])


def save(tx: Transaction, before: dict[str, Any], dispute: dict[str, Any]) -> None:
    """Store what the seller changed, and tell of it unless nothing did."""
    records.replace(tx, dispute)
    previous = events.changes(before, dispute)
    if previous:
        events.emit(tx, "charge.dispute.updated", dispute, previous)


def close(tx: Transaction, dispute: dict[str, Any]) -> None:
    """The seller gives in: a dispute is lost, an inquiry is over."""
    check_open(dispute)
    decide(tx, dispute, "lost")


def check_open(dispute: dict[str, Any]) -> None:
    """Raise StripeError for a dispute that is over."""
    if dispute["status"] not in OPEN | ASKING:
        raise StripeError("This dispute is already closed")


def decide(tx: Transaction, dispute: dict[str, Any], outcome: str) -> None:
    """The bank decides: `won` or `lost` for the seller, or `escalated` from an inquiry.

    An inquiry that is not escalated took no money, so it just ends. Raises StripeError for a
    dispute that is over.
    """
    check_open(dispute)
    if dispute["status"] in ASKING:
        if outcome == "escalated":
            _escalate(tx, dispute)
        else:
            _end(tx, dispute, "warning_closed")
    elif outcome == "won":
        _reinstate(tx, dispute)
        dispute.update(status="won", is_charge_refundable=True)
        records.replace(tx, dispute)
        events.emit(tx, "charge.dispute.funds_reinstated", dispute)
        _end(tx, dispute, "won")
    elif outcome == "lost":
        _end(tx, dispute, "lost")


def settle(tx: Transaction, dispute_id: str) -> None:
    """The bank has read the evidence, if it still had to."""
    dispute = records.get(tx, "dispute", dispute_id)
    outcome = _DECIDING.get(dispute["evidence"]["uncategorized_text"] or "")
    if outcome is not None and dispute["status"] in ("under_review", "warning_under_review"):
        decide(tx, dispute, outcome)


def run_out(tx: Transaction, dispute_id: str) -> None:
    """The time to answer is over: who has said nothing has lost."""
    dispute = records.get(tx, "dispute", dispute_id)
    details = dispute["evidence_details"]
    waits = dispute["status"] in ("needs_response", "warning_needs_response")
    if waits and details["due_by"] <= tx.now:
        details["past_due"] = True
        decide(tx, dispute, "lost")


def forget(tx: Transaction, dispute_id: str) -> None:
    """The bank has asked long ago and never came back to it."""
    dispute = records.get(tx, "dispute", dispute_id)
    if dispute["status"] in ASKING:
        _end(tx, dispute, "warning_closed")


def _end(tx: Transaction, dispute: dict[str, Any], status: str) -> None:
    dispute.update(status=status)
    records.replace(tx, dispute)
    events.emit(tx, "charge.dispute.closed", dispute)


def _escalate(tx: Transaction, dispute: dict[str, Any]) -> None:
    """The bank was not content: from now on it is a dispute like any other, with a time to answer.

    What the seller gave back while the bank asked doesn't reach the buyer, who gets all from the
    bank.
    """
    before = {**dispute, "evidence_details": dict(dispute["evidence_details"])}
    charge = records.get(tx, "charge", dispute["charge"])
    refunding.fail_under_way(tx, charge, since=dispute["created"])
    due_by = dispute_parts.due(tx.now)
    dispute["evidence_details"].update(due_by=due_by, past_due=False)
    dispute["amount"] = min(dispute["amount"], refunding.left_of(charge))
    dispute.update(status="needs_response", is_charge_refundable=False)
    if "payment_method_details" in dispute:
        card = {**dispute["payment_method_details"]["card"], "case_type": "chargeback"}
        card["network_reason_code"] = dispute_parts.code_of(card["brand"], dispute["reason"])
        dispute["payment_method_details"] = {"card": card, "type": "card"}
        dispute["network_reason_code"] = card["network_reason_code"]
    tx.store.schedule(tx, due_by, "dispute.due", dispute["id"])
    _withdraw(tx, dispute)
    save(tx, before, dispute)
    events.emit(tx, "charge.dispute.funds_withdrawn", dispute)


def _withdraw(tx: Transaction, dispute: dict[str, Any]) -> None:
    entry_id = balance.add(
        tx,
        dispute,
        -dispute["amount"],
        kind="adjustment",
        category="dispute",
        fee=FEE,
        fee_words="Dispute fee",
        description=f"Chargeback withdrawal for {dispute['charge']}",
    )
    entry = records.get(tx, "balance_transaction", entry_id)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], entry]


def _reinstate(tx: Transaction, dispute: dict[str, Any]) -> None:
    entry_id = balance.add(
        tx,
        dispute,
        dispute["amount"],
        kind="adjustment",
        category="dispute_reversal",
        description=f"Chargeback reversal for {dispute['charge']}",
    )
    entry = records.get(tx, "balance_transaction", entry_id)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], entry]
