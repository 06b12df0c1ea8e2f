"""Our events: what they are called, when one happened, and what it carries.

Compares a payment as it was with what it has become, in one transaction, so that each change is
told once, at the moment when it happens. Writes nothing: the outbox does, for those who ask. A test
holds docs/reference/events.md to the names here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bursar.billing.payment_facts import DisputeNews, Row, Sums, public_status
from bursar.ledger.holds import Hold
from bursar.messages.outbox import Event

TOPICS = (
    "payment.authorized",
    "payment.authorization_expiring",
    "payment.completed",
    "payment.failed",
    "payment.expired",
    "payment.canceled",
    "payment.refunded",
    "dispute.opened",
    "dispute.won",
    "dispute.lost",
    "subscription.started",
    "subscription.renewed",
    "subscription.changed",
    "subscription.cancel_scheduled",
    "subscription.resumed",
    "subscription.paused",
    "subscription.ended",
    "subscription.trial_ending",
    "subscription.payment_failed",
    "subscription.payment_recovered",
    "credits.hold_lapsed",
    "case.opened",
)
"""Everything that a host can ask for."""

# The states that are told of when a payment comes to them. That it is completed is told only once
# what was paid is what was asked: see _became_paid.
ENDS = ("authorized", "failed", "expired", "canceled")


def of_payments(before: Sequence[Row], after: Sequence[Sums]) -> list[Event]:
    """What happened to payments, each given as it was and as it is with its refunds."""
    found: list[Event] = []
    for was, sums in zip(before, after, strict=True):
        found += _of_payment(was, sums)
    return found


def hold_lapsed(hold: Hold) -> Event:
    """That a hold reached its end, and what it reserved was returned."""
    data = {
        "id": hold.id,
        "customer_id": hold.customer_id,
        "unit": hold.unit,
        "amount": hold.amount,
        "description": hold.description,
        "expires_at": _time(hold.expires_at),
    }
    return Event("credits.hold_lapsed", f"{hold.customer_id}:{hold.id}", hold.customer_id, data)


def authorization_expiring(row: Row) -> Event:
    """That money held for an order is let go of soon, unless somebody decides."""
    cause = f"{row.reference}:{_time(row.authorized_until)}"
    return Event("payment.authorization_expiring", cause, row.customer_id, _data(row))


def _of_payment(was: Row, sums: Sums) -> list[Event]:
    row, causes = sums.row, {}
    if row.state != was.state and row.state in ENDS:
        # A payment may fail, and fail again with another card: the time tells the two apart.
        causes[f"payment.{row.state}"] = f"{row.reference}:{_time(row.state_at)}"
    if _became_paid(was, row):
        causes["payment.completed"] = f"{row.reference}:{row.captured_minor}"
    if row.refunded_minor > was.refunded_minor:
        # The version only grows; the sum may come back when a refund fails and another follows.
        causes["payment.refunded"] = f"{row.reference}:{row.captured_minor}:{sums.version}"
    data = _data(row) if causes else {}
    told = [Event(topic, cause, row.customer_id, data) for topic, cause in causes.items()]
    return told + [_of_dispute(row, news) for news in sums.news]


def _of_dispute(row: Row, news: DisputeNews) -> Event:
    data = {
        "id": news.id,
        "payment_id": row.id,
        "user_id": row.user_id,
        "customer_id": row.customer_id,
        "provider": row.provider,
        "amount": news.amount_minor,
        "currency": row.currency,
        "reason": news.reason,
        "status": news.status,
        "inquiry": news.inquiry,
        "due_at": _time(news.due_at) or None,
    }
    # An inquiry is told of, and once more when it becomes a dispute.
    step = "inquiry" if news.inquiry else "dispute"
    cause = f"{row.reference}:{news.provider_ref}:{step}"
    return Event(f"dispute.{news.word}", cause, row.customer_id, data)


def _became_paid(was: Row, row: Row) -> bool:
    """Whether a payment is paid as asked that was not before, or more of it was captured."""
    if row.state != "completed" or row.mismatch is not None:
        return False
    paid_before = was.state == "completed" and was.mismatch is None
    return not paid_before or row.captured_minor > was.captured_minor


def _data(row: Row) -> Mapping[str, Any]:
    held = {"authorized": row.authorized_minor, "authorized_until": _time(row.authorized_until)}
    return {
        **(held if row.authorized_until else {}),
        "id": row.id,
        "user_id": row.user_id,
        "customer_id": row.customer_id,
        "provider": row.provider,
        "kind": row.kind,
        "amount": row.amount_minor,
        "currency": row.currency,
        "status": public_status(
            row.state,
            captured=row.captured_minor,
            refunded=row.refunded_minor,
            disputed=row.disputed_minor,
        ),
        "captured": row.captured_minor,
        "refunded": row.refunded_minor,
        "credits": row.credits,
        "unit": row.unit,
        "metadata": dict(row.metadata),
    }


def _time(at: datetime | None) -> str:
    """RFC 3339 in UTC; empty for a time that nobody told."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""
