"""All invariants, by what they are about: each is a query that must return no rows."""

from bursar.checks.invariants import (
    ledger,
    messages,
    orders,
    payments,
    people,
    subscriptions,
)
from bursar.checks.invariants.invariant import Invariant

INVARIANTS: tuple[Invariant, ...] = (
    *ledger.INVARIANTS,
    *payments.INVARIANTS,
    *orders.INVARIANTS,
    *subscriptions.INVARIANTS,
    *messages.INVARIANTS,
    *people.INVARIANTS,
)

__all__ = ["INVARIANTS", "Invariant"]
