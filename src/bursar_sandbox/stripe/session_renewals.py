"""What a checkout session in subscription mode costs after today: the next charges, and when.

Owns the figures behind "then $15.00 a month". It never changes the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import discounts, session_subscriptions, session_totals, totals
from bursar_sandbox.stripe.currencies import step_of


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is charged each `count` of `interval`, in minor units.

    `reduced` is what it is while a discount lasts, for `reduced_months` months or, when that is
    None, for ever; None without such a discount. `trial_days` and `trial_end`, in seconds since
    1970, are of the trial that comes first, None without one.
    """

    amount: int
    interval: str
    count: int
    reduced: int | None
    reduced_months: int | None
    trial_days: int | None
    trial_end: int | None


def of(tx: Transaction, session: dict[str, Any]) -> Renewal | None:
    """What renews when the session is completed now; None for a session that sells once."""
    if session["mode"] != "subscription":
        return None
    private = tx.private(session["id"])
    items = [item for item in private["line_items"] if item["price"]["recurring"]]
    interval, count = session_subscriptions.rhythm_of(items[0]["price"])
    duration, months = _duration(tx, private.get("discount"))
    end = session_subscriptions.trial_end(private, tx.now)
    return Renewal(
        amount=_total(tx, session, private, items, None),
        interval=interval,
        count=count,
        reduced=_total(tx, session, private, items, private["discount"]) if duration else None,
        reduced_months=months,
        trial_days=None if end is None else round((end - tx.now) / (24 * 3600)),
        trial_end=end,
    )


def _duration(tx: Transaction, terms: discounts.Terms | None) -> tuple[str, int | None]:
    """How long the discount lasts beyond the first invoice; an empty word for not at all."""
    coupon = tx.find(terms["discount"]["source"]["coupon"]) if terms else None
    if coupon is None or coupon.get("duration") not in ("forever", "repeating"):
        return "", None
    return str(coupon["duration"]), coupon.get("duration_in_months")


def _total(
    tx: Transaction,
    session: dict[str, Any],
    private: dict[str, Any],
    items: list[dict[str, Any]],
    terms: discounts.Terms | None,
) -> int:
    full = [session_subscriptions.at_full_price(tx, item) for item in items]
    lines = [session_totals.line_of(tx, session, private, item, {}) for item in full]
    off = discounts.off_of(terms, session["currency"]) if terms else None
    return sum(one.total for one in totals.reckon(lines, off, step_of(session["currency"])))
