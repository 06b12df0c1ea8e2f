"""Entries of the account's balance: one for each movement of money, and their sum.

Owns the balance transaction's object and the balance. Never decides that money moves.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import records
from bursar_sandbox.stripe.ids import new_id

_DAY = 24 * 3600
AVAILABLE_SECONDS = 2 * _DAY
_ACCOUNT_CURRENCY = "usd"


def add(
    tx: Transaction,
    source: dict[str, Any],
    amount: int,
    *,
    kind: str,
    category: str,
    fee: int = 0,
    fee_words: str = "Stripe processing fees",
    description: str | None = None,
    at_once: bool = False,
) -> str:
    """A new entry for `source`, a charge, a refund or a dispute; returns its id.

    `amount` and `fee` are in minor units of the source's currency, `amount` negative for money that
    goes out; `kind` is the entry's type and `category` what reports count it under. The money is
    there on the first midnight after two days, or `at_once`.
    """
    currency = source["currency"]
    entry = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": tx.now if at_once else -(-(tx.now + AVAILABLE_SECONDS) // _DAY) * _DAY,
        "balance_type": "payments",
        "created": tx.now,
        "currency": currency,
        "description": description or source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [_fee(fee, currency, fee_words)] if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source["id"],
        "status": "available" if at_once else "pending",
        "type": kind,
    }
    records.insert(tx, entry)
    return str(entry["id"])


def ripen(entry: dict[str, Any], now: int) -> dict[str, Any]:
    """The entry as it stands at `now`.

    Money becomes available as the clock goes on; nothing else changes, so nothing is stored.
    """
    entry["status"] = "available" if entry["available_on"] <= now else "pending"
    return entry


def current(tx: Transaction) -> dict[str, Any]:
    """The account's balance now: what is there and what is to come, by currency."""
    rows = tx.execute(
        "SELECT label, body ->> '$.available_on' <= ?, sum(body ->> '$.net') FROM objects"
        " WHERE object = 'balance_transaction' GROUP BY 1, 2",
        (tx.now,),
    ).fetchall()
    sums = {(currency, bool(there)): int(net) for currency, there, net in rows}
    # The account's own currency is always shown, others once there was something in them.
    currencies = sorted({_ACCOUNT_CURRENCY, *(currency for currency, _ in sums)})

    def part(there: bool) -> list[dict[str, Any]]:
        amounts = [(currency, sums.get((currency, there), 0)) for currency in currencies]
        return [
            {"amount": amount, "currency": currency, "source_types": {"card": amount}}
            for currency, amount in amounts
        ]

    return {
        "object": "balance",
        "available": part(True),
        "livemode": False,
        "pending": part(False),
        "refund_and_dispute_prefunding": {"available": [], "pending": []},
    }


def _fee(amount: int, currency: str, words: str) -> dict[str, Any]:
    return {
        "amount": amount,
        "application": None,
        "currency": currency,
        "description": words,
        "type": "stripe_fee",
    }
