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


def _badge(kind: str, badges: dict[str, Badge], status: str) -> Badge:
    badge = badges.get(status)
    if badge is None:
        log.warning("badge_unknown", kind=kind, status=status)
        return Badge(status, "idle", "dot")
    return badge
