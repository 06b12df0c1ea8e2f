"""Status badges: the one place where a payment's status gets its word, tone and icon. Pure.

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


def payment_badge(status: str, *, mismatch: bool = False) -> Badge:
    """The badge of a payment's public status.

    A payment that does not match its order is being looked at, whatever its state. A status that
    nobody named here shows as it is and is logged.
    """
    if mismatch and status == "completed":
        return PAYMENT["unknown"]
    badge = PAYMENT.get(status)
    if badge is None:
        log.warning("badge_unknown", kind="payment", status=status)
        return Badge(status, "idle", "dot")
    return badge
