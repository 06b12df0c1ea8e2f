"""What is asked of a subscription, held against how it stands: is it so already, is it done now.

Pure: who asks has read the row, and writes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bursar import errors
from bursar.billing.subscriptions.rows import Subscription
from bursar.providers.recurring import SteerKind


def is_needed(row: Subscription, kind: SteerKind) -> bool:
    """Whether there is anything to do. Raises SubscriptionNotChangeable where it can't be done."""
    ended = row.status in ("canceled", "incomplete")
    match kind:
        case "cancel_now":
            return row.status != "canceled"
        case "cancel" if not ended:
            return row.cancel_at is None
        case "pause" if row.status in ("trialing", "active", "paused"):
            return row.status != "paused"
        case "unpause" if not ended:
            return row.status == "paused"
        case "resume" if not ended:
            return row.cancel_at is not None or row.status == "paused"
    raise errors.SubscriptionNotChangeable(f"The subscription is {row.status}.")


def shows(
    row: Subscription, kind: Literal["change"] | SteerKind, wanted: Mapping[str, Any]
) -> bool:
    """Whether a subscription is as a change wanted it; `wanted` has what a change names."""
    match kind:
        case "change":
            return (row.price_id, row.quantity) == (wanted["price_id"], wanted["quantity"])
        case "cancel":
            return row.cancel_at is not None or row.status == "canceled"
        case "cancel_now":
            return row.status == "canceled"
        case "pause":
            return row.status == "paused"
        case "resume":
            return row.cancel_at is None and row.status not in ("paused", "canceled")
        case "unpause":
            return row.status not in ("paused", "canceled")
