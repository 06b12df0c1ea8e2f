"""Stripe's words into facts. Their names for things stop in this module. Pure.

Works on plain dictionaries, so that an event's snapshot and an answer to a call are read alike,
and reads only fields that stand in the same place in every API version since 2022-11-15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bursar.money import AMOUNT_MAX
from bursar.providers.port import (
    Facts,
    Ignored,
    Line,
    PaymentFacts,
    PaymentState,
    RefundFact,
    ReversalState,
    Totals,
    Unusable,
)

REFERENCE = "bursar_reference"
"""The metadata key under which our reference stands on session, intent and charge."""

REFUND_REFERENCE = "bursar_refund"
"""The same for a refund that we asked for."""

REFUND_STATES: dict[str, ReversalState] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "settled",
    "failed": "released",
    "canceled": "released",
}

CURRENCY = re.compile("[A-Za-z]{3}")
# Prices and customers may have ids of somebody's choice; none has a slash or a blank in it.
ID = re.compile(r"[A-Za-z0-9_.:@+-]{1,255}", re.ASCII)

Object = Mapping[str, Any]


def event(message: Object) -> Facts:
    """What an event says. Raises Unusable when a field that matters can't be read."""
    read = HANDLED.get(str(message.get("type")))
    if read is None:
        return Ignored("event type is not used")
    data = message.get("data")
    body = data.get("object") if isinstance(data, dict) else None
    if not isinstance(body, dict):
        raise Unusable("payload_unparseable", "data.object is no object")
    return read(body, _time(message.get("created")))


def session_completed(session: Object, at: datetime) -> Facts:
    """A session that the buyer finished: paid, nothing to pay, or paid later."""
    status = session.get("payment_status")
    if status == "unpaid":
        return _session(session, at, state="processing")
    if status not in ("paid", "no_payment_required"):
        raise Unusable("payload_unparseable", f"payment_status {status!r}"[:80])
    # What was captured is the intent's to say: of an order captured in part, the session's total
    # is still the whole.
    captured = None if session.get("payment_intent") else _minor(session.get("amount_total"))
    return _session(session, at, state="completed", captured_minor=captured)


def session_failed(session: Object, at: datetime) -> Facts:
    """A delayed method (a bank debit) did not go through."""
    return _session(session, at, state="failed", failure="payment_failed")


def session_expired(session: Object, at: datetime) -> Facts:
    """Nobody paid in time."""
    return _session(session, at, state="expired")


def session_answer(session: Object) -> Facts:
    """A session as it was fetched, with `line_items` expanded when it is complete."""
    status = session.get("status")
    if status == "complete":
        return session_completed(session, _paid_at(session))
    if status == "expired":
        return session_expired(session, _time(session.get("expires_at")))
    return _session(session, _time(session.get("created")), state=None)


def intent_succeeded(intent: Object, at: datetime) -> Facts:
    received = _minor(intent.get("amount_received"))
    return _intent(intent, at, state="completed", captured_minor=received)


def intent_failed(intent: Object, at: datetime) -> Facts:
    error = _part(intent, "last_payment_error")
    failure = _id(error.get("decline_code")) or _id(error.get("code")) or "payment_failed"
    return _intent(intent, at, state="failed", failure=failure[:100])


def intent_canceled(intent: Object, at: datetime) -> Facts:
    return _intent(intent, at, state="canceled")


def intent_answer(intent: Object) -> Facts:
    """A payment intent as it was fetched, with `latest_charge` expanded."""
    charge = intent.get("latest_charge")
    stamp = charge.get("created") if isinstance(charge, dict) else intent.get("created")
    at = _time(stamp)
    match intent.get("status"):
        case "succeeded":
            return intent_succeeded(intent, at)
        case "canceled":
            return intent_canceled(intent, _time(intent.get("canceled_at") or stamp))
        case "processing":
            return _intent(intent, at, state="processing")
        case "requires_capture":
            return _intent(intent, at, state="authorized")
        case "requires_payment_method" if intent.get("last_payment_error"):
            return intent_failed(intent, at)
    return _intent(intent, at, state=None)


def charge_succeeded(charge: Object, at: datetime) -> Facts:
    """Money taken, or held until it is captured."""
    captured = bool(charge.get("captured"))
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=_reference(charge),
        payment_intent_id=_id(charge.get("payment_intent")),
        charge_id=_own_id(charge),
        provider_customer_id=_id(charge.get("customer")),
        state="completed" if captured else "authorized",
        currency=_currency(charge.get("currency")),
        amount_minor=_minor(charge.get("amount")),
        captured_minor=_minor(charge.get("amount_captured")) if captured else None,
        receipt_url=_text(charge.get("receipt_url")),
    )


def charge_refunded(charge: Object, at: datetime) -> Facts:
    """A charge of which something went back: it has the sum alone, so the refunds are listed."""
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=_reference(charge),
        payment_intent_id=_id(charge.get("payment_intent")),
        charge_id=_own_id(charge),
        currency=_currency(charge.get("currency")),
        incomplete=_went_back(charge),
    )


def _went_back(charge: Object) -> bool:
    """Whether money went back: what a capture of a part released counts among `amount_refunded`."""
    released = _minor(charge.get("amount") or 0) - _minor(charge.get("amount_captured") or 0)
    return _minor(charge.get("amount_refunded") or 0) > released


def refund_changed(refund: Object, at: datetime) -> Facts:
    """One refund, whoever asked for it."""
    state = REFUND_STATES.get(str(refund.get("status") or "pending"))
    if state is None:
        raise Unusable("payload_unparseable", f"refund status {refund.get('status')!r}"[:80])
    amount = refund.get("amount")
    amount_minor = _minor(amount) if amount is not None else 0
    fact = RefundFact(
        provider_ref=_own_id(refund),
        reference=_text(_part(refund, "metadata").get(REFUND_REFERENCE)),
        amount_minor=amount_minor,
        state=state,
        at=at,
        reason=_text(refund.get("reason")),
    )
    return PaymentFacts(
        provider="stripe",
        at=at,
        payment_intent_id=_id(refund.get("payment_intent")),
        charge_id=_id(refund.get("charge")),
        currency=_currency(refund.get("currency")),
        refunds=(fact,) if amount_minor else (),
        # What it does not say is asked for, never taken for the whole.
        incomplete=amount is None,
    )


def refunds_answer(refunds: list[Object]) -> list[Facts]:
    """Refunds as they were listed."""
    return [refund_changed(refund, _time(refund.get("created"))) for refund in refunds]


HANDLED: dict[str, Callable[[Object, datetime], Facts]] = {
    "checkout.session.completed": session_completed,
    "checkout.session.async_payment_succeeded": session_completed,
    "checkout.session.async_payment_failed": session_failed,
    "checkout.session.expired": session_expired,
    "payment_intent.succeeded": intent_succeeded,
    "payment_intent.payment_failed": intent_failed,
    "payment_intent.canceled": intent_canceled,
    "charge.succeeded": charge_succeeded,
    "charge.refunded": charge_refunded,
    "charge.refund.updated": refund_changed,
    "refund.created": refund_changed,
    "refund.updated": refund_changed,
    "refund.failed": refund_changed,
}
"""Stripe's event types that say something of a payment, and how each is read."""


def _session(
    session: Object,
    at: datetime,
    *,
    state: PaymentState | None,
    captured_minor: int | None = None,
    failure: str | None = None,
) -> Facts:
    if session.get("mode") != "payment":
        return Ignored(f"checkout mode {session.get('mode')!r}"[:80] + " is not used")
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=_reference(session),
        session_id=_own_id(session),
        payment_intent_id=_id(session.get("payment_intent")),
        provider_customer_id=_id(session.get("customer")),
        email=_text(_part(session, "customer_details").get("email")),
        state=state,
        currency=_currency(session.get("currency")),
        amount_minor=_minor(session.get("amount_total")),
        captured_minor=captured_minor,
        totals=_totals(session),
        failure=failure,
        session_url=_text(session.get("url")),
    )


def _intent(
    intent: Object,
    at: datetime,
    *,
    state: PaymentState | None,
    captured_minor: int | None = None,
    failure: str | None = None,
) -> Facts:
    charge = intent.get("latest_charge")
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=_reference(intent),
        payment_intent_id=_own_id(intent),
        charge_id=_id(charge),
        provider_customer_id=_id(intent.get("customer")),
        state=state,
        currency=_currency(intent.get("currency")),
        amount_minor=_minor(intent.get("amount")),
        captured_minor=captured_minor,
        failure=failure,
        receipt_url=_text(charge.get("receipt_url")) if isinstance(charge, dict) else None,
        incomplete=isinstance(charge, dict) and _went_back(charge),
    )


def _paid_at(session: Object) -> datetime:
    """When a fetched session was paid: its charge knows; a session itself does not say."""
    intent = session.get("payment_intent")
    charge = intent.get("latest_charge") if isinstance(intent, dict) else None
    return _time((charge if isinstance(charge, dict) else session).get("created"))


def _totals(session: Object) -> Totals | None:
    """The totals, if the session's lines are here; an event's snapshot never has them."""
    items = _part(session, "line_items")
    found = items.get("data")
    if not isinstance(found, list) or items.get("has_more"):
        return None
    lines: list[Line] = []
    tax_added = 0
    for item in found:
        if not isinstance(item, dict):
            raise Unusable("payload_unparseable", "a line item is no object")
        lines.append(
            Line(
                price_id=_id(item.get("price")),
                quantity=_minor(1 if item.get("quantity") is None else item["quantity"]),
                subtotal_minor=_minor(item.get("amount_subtotal")),
            )
        )
        if _part(item, "price").get("tax_behavior") != "inclusive":
            tax_added += _minor(item.get("amount_tax") or 0)
    details = _part(session, "total_details")
    return Totals(
        lines=tuple(lines),
        subtotal_minor=_minor(session.get("amount_subtotal")),
        discount_minor=_minor(details.get("amount_discount") or 0),
        tax_added_minor=tax_added,
        total_minor=_minor(session.get("amount_total")),
    )


def _reference(thing: Object) -> str | None:
    return _text(_part(thing, "metadata").get(REFERENCE))


def _part(thing: Object, name: str) -> Object:
    """An object inside of another; empty when something else, or nothing, stands there."""
    part = thing.get(name)
    return part if isinstance(part, dict) else {}


def _id(value: object) -> str | None:
    """An id, whether the object stands there expanded or not; None for what can't be one."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def _own_id(thing: Object) -> str:
    """The id of the object that a message is about. Raises Unusable."""
    found = _id(thing)
    if found is None:
        raise Unusable("payload_unparseable", f"id {thing.get('id')!r}"[:80])
    return found


def _text(value: object) -> str | None:
    # A NUL is legal JSON and illegal in PostgreSQL's text.
    return value.replace("\0", "")[:2000] or None if isinstance(value, str) else None


def _currency(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not CURRENCY.fullmatch(value):
        raise Unusable("currency_invalid", repr(value)[:50])
    return value.lower()


def _minor(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unusable("amount_invalid", repr(value)[:50])
    if value > AMOUNT_MAX:
        raise Unusable("amount_out_of_range", str(value)[:50])
    return value


def _time(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**33:
        raise Unusable("payload_unparseable", f"time {value!r}"[:80])
    return datetime.fromtimestamp(value, UTC)
