"""What a customer's balance does to an invoice: credit pays of it, debt comes on top.

Owns the step from an invoice's total to the amount that is asked for. Minor units; a balance below
zero is the customer's credit.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, records
from bursar_sandbox.stripe.currencies import minimum_of


def apply(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Settle an invoice that is being finalized with its customer's balance; the caller stores.

    A total below zero becomes credit, and what is too little to be charged waits as debt.
    """
    customer = records.get(tx, "customer", invoice["customer"])
    total, balance = invoice["total"], customer["balance"]
    taken = max(balance, -total) if total > 0 else 0
    due = total + taken if total > 0 else 0
    left = balance - taken + min(total, 0)
    if 0 < due < minimum_of(invoice["currency"]) and _waits(invoice):
        left, due = left + due, 0
    invoice.update(
        amount_due=due, amount_remaining=due, ending_balance=left, starting_balance=balance
    )
    _set(tx, customer, left)


def _waits(invoice: dict[str, Any]) -> bool:
    """Whether a small amount may wait: a subscription will have another invoice."""
    return bool(invoice["parent"])


def give_back(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Undo what the balance did to an invoice that is void."""
    moved = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    customer = tx.find(invoice["customer"])
    if invoice["ending_balance"] is not None and customer and not customer.get("deleted"):
        _set(tx, customer, customer["balance"] + moved)


def _set(tx: Transaction, before: dict[str, Any], balance: int) -> None:
    if balance != before["balance"]:
        after = {**before, "balance": balance}
        records.replace(tx, after)
        events.emit_update(tx, before, after)
