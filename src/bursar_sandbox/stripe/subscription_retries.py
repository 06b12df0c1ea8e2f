"""When an unpaid invoice is tried again, and what becomes of the subscription after the last try.

Owns the seller's settings for both, which the real provider keeps in its dashboard, and how many
days ahead an invoice is announced. Never tries anything itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import subscription_states
from bursar_sandbox.stripe.periods import DAY
from bursar_sandbox.stripe.subscription_objects import ENDED

ENDINGS = ("cancel", "past_due", "unpaid")
_NAME = "billing"


@dataclass(frozen=True, slots=True)
class Rules:
    """`retry_days` are the days between one try and the next; `after_last` one of ENDINGS."""

    retry_days: tuple[int, ...] = (3, 5, 7)
    after_last: str = "cancel"
    upcoming_days: int = 7


def rules(tx: Transaction) -> Rules:
    """The rules in force."""
    text = tx.meta(_NAME)
    if text is None:
        return Rules()
    kept = orjson.loads(text)
    return Rules(tuple(kept["retry_days"]), kept["after_last"], kept["upcoming_days"])


def change(tx: Transaction, wanted: dict[str, Any]) -> Rules:
    """Set some of the rules. Raises ValueError, with words for people, for what can't be one."""
    unknown = wanted.keys() - asdict(Rules()).keys()
    if unknown:
        raise ValueError(f"there is no setting `{min(unknown)}`")
    merged = {**asdict(rules(tx)), **wanted}
    days, ahead = merged["retry_days"], merged["upcoming_days"]
    if not isinstance(days, list | tuple) or not all(_is_days(day) and day for day in days):
        raise ValueError("`retry_days` is a list of whole numbers of days, from 1 to 60")
    if merged["after_last"] not in ENDINGS:
        raise ValueError(f"`after_last` is one of {', '.join(ENDINGS)}")
    if not _is_days(ahead):
        raise ValueError("`upcoming_days` is a whole number of days, from 0 to 60")
    set_rules = Rules(tuple(days), merged["after_last"], ahead)
    tx.remember(_NAME, orjson.dumps(asdict(set_rules)).decode())
    return set_rules


def _is_days(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 60


def plan(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Set when an invoice that has just failed is tried again; the caller stores it.

    Only what a running subscription charges by itself is tried again; its first invoice waits for
    the buyer.
    """
    invoice["next_payment_attempt"] = None
    subscription = subscription_states.of_invoice(tx, invoice)
    if subscription is None or subscription["status"] in (*ENDED, "incomplete"):
        return
    if invoice["collection_method"] != "charge_automatically" or not invoice["auto_advance"]:
        return
    days = rules(tx).retry_days
    tries = invoice["attempt_count"]
    if 0 < tries <= len(days):
        invoice["next_payment_attempt"] = tx.now + days[tries - 1] * DAY
        tx.store.schedule(tx, invoice["next_payment_attempt"], "invoice.retry", invoice["id"])
