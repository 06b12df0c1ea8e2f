"""Stripe's words into facts. Their names for things stop in this room. Pure.

Works on plain dictionaries, so that an event's snapshot and an answer to a call are read alike,
and reads of events only fields that stand in the same place in every API version since 2022-11-15,
or each place in which they stood.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bursar.providers.port import Facts, Ignored, Unusable
from bursar.providers.stripe.translate import (
    catalog,
    charges,
    disputes,
    fields,
    intents,
    invoices,
    refunds,
    sessions,
    subscriptions,
)
from bursar.providers.stripe.translate.fields import Object


def event(message: Object) -> Facts:
    """What an event says. Raises Unusable when a field that matters can't be read."""
    read = HANDLED.get(str(message.get("type")))
    if read is None:
        return Ignored("event type is not used")
    data = message.get("data")
    body = data.get("object") if isinstance(data, dict) else None
    if not isinstance(body, dict):
        raise Unusable("payload_unparseable", "data.object is no object")
    return read(body, fields.time_of(message.get("created")))


HANDLED: dict[str, Callable[[Object, datetime], Facts]] = {
    "checkout.session.completed": sessions.completed,
    "checkout.session.async_payment_succeeded": sessions.completed,
    "checkout.session.async_payment_failed": sessions.failed,
    "checkout.session.expired": sessions.expired,
    "payment_intent.amount_capturable_updated": intents.held,
    "payment_intent.succeeded": intents.succeeded,
    "payment_intent.payment_failed": intents.failed,
    "payment_intent.canceled": intents.canceled,
    "charge.succeeded": charges.succeeded,
    "charge.captured": charges.captured,
    "charge.expired": charges.expired,
    "charge.refunded": charges.refunded,
    "charge.dispute.created": disputes.changed,
    "charge.dispute.updated": disputes.changed,
    "charge.dispute.closed": disputes.changed,
    "charge.dispute.funds_withdrawn": disputes.changed,
    "charge.dispute.funds_reinstated": disputes.changed,
    "charge.refund.updated": refunds.changed,
    "refund.created": refunds.changed,
    "refund.updated": refunds.changed,
    "refund.failed": refunds.changed,
    **subscriptions.HANDLED,
    **invoices.HANDLED,
    **catalog.HANDLED,
}
"""Stripe's event types that say something of money or the catalogue, and how each is read."""
