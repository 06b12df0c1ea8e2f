"""Entries of the account's balance: one for each movement of money.

Owns the balance transaction's object. Never decides that money moves.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import records
from bursar_sandbox.stripe.ids import new_id

AVAILABLE_SECONDS = 2 * 24 * 3600


def add(
    tx: Transaction,
    source: dict[str, Any],
    amount: int,
    *,
    kind: str,
    category: str,
    fee: int = 0,
) -> str:
    """A new entry for `source`, a charge or a refund; returns its id.

    `amount` and `fee` are in minor units of the source's currency, `amount` negative for money that
    goes out; `kind` is the entry's type and `category` what reports count it under.
    """
    currency = source["currency"]
    entry = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": tx.now + AVAILABLE_SECONDS,
        "balance_type": "payments",
        "created": tx.now,
        "currency": currency,
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [_fee(fee, currency)] if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source["id"],
        "status": "pending",
        "type": kind,
    }
    records.insert(tx, entry)
    return str(entry["id"])


def _fee(amount: int, currency: str) -> dict[str, Any]:
    return {
        "amount": amount,
        "application": None,
        "currency": currency,
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    }
