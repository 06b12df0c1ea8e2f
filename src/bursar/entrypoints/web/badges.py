"""Status badges: the one place where a status gets its word, tone and icon. Pure.

List, detail, mail and export all ask here, so that a status never looks two ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import structlog

Tone = Literal["good", "wait", "bad", "note", "back", "idle"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Badge:
    """A word, the tone that colours it, and the name of its icon."""

    word: str
    tone: Tone
    icon: str


PAYMENT: dict[str, Badge] = {
    "pending": Badge("Pending", "idle", "clock"),
    "processing": Badge("Processing", "note", "clock"),
    "needs_bank": Badge("Needs bank", "wait", "shield"),
    "unknown": Badge("Checking", "note", "search"),
    "authorized": Badge("Authorized", "wait", "clock"),
    "completed": Badge("Paid", "good", "check"),
    "failed": Badge("Failed", "bad", "cross"),
    "expired": Badge("Expired", "idle", "clock"),
    "canceled": Badge("Canceled", "idle", "dash"),
    "partially_refunded": Badge("Partly refunded", "back", "arrow"),
    "refunded": Badge("Refunded", "back", "arrow"),
    "disputed": Badge("Disputed", "bad", "flag"),
}

REFUND: dict[str, Badge] = {
    "pending": Badge("Pending", "idle", "clock"),
    "settled": Badge("Refunded", "back", "arrow"),
    "released": Badge("Failed", "bad", "cross"),
}
DISPUTE: dict[str, Badge] = {
    "pending": Badge("With the bank", "note", "clock"),
    "settled": Badge("Lost", "bad", "cross"),
    "released": Badge("Won", "good", "check"),
}
KEY: dict[str, Badge] = {
    "active": Badge("Active", "good", "check"),
    "revoked": Badge("Revoked", "idle", "dash"),
    "expired": Badge("Expired", "idle", "clock"),
}
SUBSCRIPTION: dict[str, Badge] = {
    "incomplete": Badge("Not finished", "idle", "clock"),
    "trialing": Badge("Trial", "note", "clock"),
    "active": Badge("Active", "good", "check"),
    "past_due": Badge("Payment failed", "bad", "alert"),
    "unpaid": Badge("Unpaid", "bad", "cross"),
    "paused": Badge("Paused", "idle", "pause"),
    "canceled": Badge("Ended", "idle", "dash"),
}
INVOICE: dict[str, Badge] = {
    "draft": Badge("In preparation", "idle", "clock"),
    "open": Badge("Due", "wait", "clock"),
    "paid": Badge("Paid", "good", "check"),
    "void": Badge("Void", "idle", "dash"),
    "uncollectible": Badge("Unpaid", "bad", "cross"),
}


def payment_badge(status: str, *, mismatch: bool = False) -> Badge:
    """The badge of a payment's public status.

    A payment that does not match its order is being looked at, whatever its state. A status that
    nobody named here shows as it is and is logged.
    """
    if mismatch and status == "completed":
        return PAYMENT["unknown"]
    return _badge("payment", PAYMENT, status)


def order_badge(status: str, *, deciding: bool) -> Badge:
    """The badge of an order under review: its payment's, unless a decision is under way."""
    return PAYMENT["unknown"] if deciding else payment_badge(status)


def reversal_badge(kind: str, state: str) -> Badge:
    """The badge of a refund or a dispute."""
    return _badge(kind, DISPUTE if kind == "dispute" else REFUND, state)


def subscription_badge(status: str, *, trial_until: str = "", ends: str = "") -> Badge:
    """The badge of a subscription; `trial_until` and `ends` are days in words, if there are any."""
    if ends and status in ("trialing", "active"):
        return Badge(f"Ends {ends}", "wait", "clock")
    if trial_until and status == "trialing":
        return Badge(f"Trial until {trial_until}", "note", "clock")
    return _badge("subscription", SUBSCRIPTION, status)


def invoice_badge(status: str, *, failed: bool) -> Badge:
    """The badge of an invoice; `failed` when an attempt to take its money was refused."""
    if failed and status == "open":
        return SUBSCRIPTION["past_due"]
    return _badge("invoice", INVOICE, status)


def _badge(kind: str, badges: dict[str, Badge], status: str) -> Badge:
    badge = badges.get(status)
    if badge is None:
        log.warning("badge_unknown", kind=kind, status=status)
        return Badge(status, "idle", "dot")
    return badge
