"""Gives money back, and says later whether it arrived.

Owns the refund's object and what a refund changes of its charge. Knows nothing of parameters.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import balance, banks, cards, events, records
from bursar_sandbox.stripe.currencies import shown
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id


def left_of(charge: dict[str, Any]) -> int:
    """What can still be given back of what was captured, in minor units."""
    return int(charge["amount_captured"] - charge["amount_refunded"])


def add(
    tx: Transaction,
    charge: dict[str, Any],
    amount: int | None,
    *,
    reason: str | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Give back `amount` in minor units, or all that is left; the refund is stored and told of.

    Raises StripeError when the charge can't bear it.
    """
    amount = _checked(tx, charge, amount)
    way = _way_of(tx, charge)
    refund = _refund(tx, charge, amount, way)
    refund.update(reason=reason, metadata=labels or {})
    what = f" ({charge['description']})" if charge["description"] else ""
    refund["balance_transaction"] = balance.add(
        tx,
        refund,
        -amount,
        kind=_entry_kind(charge, "refund"),
        category="refund",
        description=f"REFUND FOR CHARGE{what}",
    )
    records.insert(tx, refund)
    if way != "arrives":
        tx.store.schedule(tx, tx.now + banks.SOON_SECONDS, "refund.settle", refund["id"])
    events.emit(tx, "refund.created", refund)
    before = dict(charge)
    charge["amount_refunded"] += amount
    charge["refunded"] = left_of(charge) == 0
    if reason == "fraudulent":
        charge["fraud_details"] = {**charge["fraud_details"], "user_report": "fraudulent"}
    records.replace(tx, charge)
    events.emit(tx, "charge.refunded", charge, events.changes(before, charge))
    return refund


def _checked(tx: Transaction, charge: dict[str, Any], amount: int | None) -> int:
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeError(
            f"Charge {charge['id']} can't be refunded: nothing of it has been captured.",
            code="charge_not_refundable",
        )
    if charge["disputed"] and _charged_back(tx, charge):
        raise StripeError(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    left = left_of(charge)
    if not left:
        raise StripeError(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if amount is not None and amount > left:
        currency = charge["currency"]
        what = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
        raise StripeError(
            f"Refund amount ({shown(amount, currency)}) is greater than {what} "
            f"({shown(left, currency)})",
            param="amount",
        )
    return left if amount is None else amount


def _charged_back(tx: Transaction, charge: dict[str, Any]) -> bool:
    """Whether the bank has taken the money: an inquiry has not, and a dispute won gave it back."""
    row = tx.execute(
        "SELECT 1 FROM objects WHERE object = 'dispute' AND parent = ?"
        " AND body ->> '$.is_charge_refundable' = 0 LIMIT 1",
        (charge["id"],),
    ).fetchone()
    return row is not None


def _way_of(tx: Transaction, charge: dict[str, Any]) -> str:
    """How the money travels: `arrives` at once, `later`, or at first and then `fails`."""
    if "card" not in charge["payment_method_details"]:
        return "later"
    return cards.outcome_of(tx.private(charge["payment_method"]).get("number")).refund


def _entry_kind(charge: dict[str, Any], word: str) -> str:
    card = "card" in charge["payment_method_details"]
    kinds = {"refund": "payment_refund", "refund_failure": "payment_failure_refund"}
    return word if card else kinds[word]


def _refund(tx: Transaction, charge: dict[str, Any], amount: int, way: str) -> dict[str, Any]:
    refund: dict[str, Any] = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": tx.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    if "card" in charge["payment_method_details"]:
        refund["destination_details"] = _destination()
    if way == "later":
        refund.update(status="pending", pending_reason="processing")
    return refund


def _destination() -> dict[str, Any]:
    card = {
        "reference_status": "pending",
        "reference_type": "acquirer_reference_number",
        "type": "refund",
    }
    return {"card": card, "type": "card"}


def describe(tx: Transaction, refund: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Change the refund's metadata."""
    before = dict(refund)
    refund["metadata"] = labels
    _update(tx, before, refund)
    return refund


def settle(tx: Transaction, refund_id: str) -> None:
    """The bank's answer has come: the money arrived, or it came back."""
    refund = records.get(tx, "refund", refund_id)
    if refund["status"] == "failed":
        return
    charge = records.get(tx, "charge", refund["charge"])
    before = dict(refund)
    if _way_of(tx, charge) == "fails":
        _fail(tx, refund, charge, "expired_or_canceled_card")
        return
    refund["status"] = "succeeded"
    refund.pop("pending_reason", None)
    _update(tx, before, refund)


def fail_under_way(tx: Transaction, charge: dict[str, Any], *, since: int | None) -> None:
    """The bank takes the payment back itself: refunds that are still under way don't arrive.

    Those are the pending ones, and with `since` all that were made from that time on.
    """
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'refund' AND parent = ? ORDER BY seq",
        (charge["id"],),
    ).fetchall()
    for (text,) in rows:
        refund = orjson.loads(text)
        late = since is not None and refund["created"] >= since and refund["status"] == "succeeded"
        if refund["status"] == "pending" or late:
            _fail(tx, refund, charge, "charge_for_pending_refund_disputed")


def _fail(tx: Transaction, refund: dict[str, Any], charge: dict[str, Any], why: str) -> None:
    before = dict(refund)
    refund.update(status="failed", failure_reason=why)
    refund.pop("pending_reason", None)
    refund["failure_balance_transaction"] = balance.add(
        tx,
        refund,
        refund["amount"],
        kind=_entry_kind(charge, "refund_failure"),
        category="refund_failure",
    )
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    records.replace(tx, charge)
    _update(tx, before, refund)
    events.emit(tx, "refund.failed", refund)


def _update(tx: Transaction, before: dict[str, Any], refund: dict[str, Any]) -> None:
    """Store the refund and tell of it twice: under its own name, and under its charge's."""
    records.replace(tx, refund)
    previous = events.changes(before, refund)
    if previous:
        events.emit(tx, "refund.updated", refund, previous)
        events.emit(tx, "charge.refund.updated", refund, previous)
