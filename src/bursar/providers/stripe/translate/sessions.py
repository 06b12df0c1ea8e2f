"""Checkout sessions into facts. Pure."""

from __future__ import annotations

from datetime import datetime

from bursar.providers.port import Facts, Ignored, Line, PaymentFacts, PaymentState, Totals, Unusable
from bursar.providers.stripe.translate import charges, discounts, fields
from bursar.providers.stripe.translate.fields import Object

MODES = ("payment", "subscription")
"""The sessions that take money, or promise to: one that saves a card does neither."""


def completed(session: Object, at: datetime) -> Facts:
    """A session that the buyer finished: paid, nothing to pay, or paid later."""
    status = session.get("payment_status")
    if status == "unpaid":
        return _session(session, at, state="processing")
    if status not in ("paid", "no_payment_required"):
        raise Unusable("payload_unparseable", f"payment_status {status!r}"[:80])
    # What was captured is the intent's to say: of an order captured in part, the session's total
    # is still the whole. Of one that begins a subscription it is the invoice's.
    told_elsewhere = session.get("payment_intent") or session.get("subscription")
    total = fields.minor(session.get("amount_total"))
    captured = None if told_elsewhere and total else total
    return _session(session, at, state="completed", captured_minor=captured)


def failed(session: Object, at: datetime) -> Facts:
    """A delayed method (a bank debit) did not go through."""
    return _session(session, at, state="failed", failure="payment_failed")


def expired(session: Object, at: datetime) -> Facts:
    """Nobody paid in time."""
    return _session(session, at, state="expired")


def answer(session: Object) -> Facts:
    """A session as it was fetched, with `line_items` expanded when it is complete."""
    status = session.get("status")
    if status == "complete":
        return completed(session, _paid_at(session))
    if status == "expired":
        return expired(session, fields.time_of(session.get("expires_at")))
    return _session(session, fields.time_of(session.get("created")), state=None)


def _session(
    session: Object,
    at: datetime,
    *,
    state: PaymentState | None,
    captured_minor: int | None = None,
    failure: str | None = None,
) -> Facts:
    if session.get("mode") not in MODES:
        return Ignored(f"checkout mode {session.get('mode')!r}"[:80] + " is not used")
    return PaymentFacts(
        provider="stripe",
        at=at,
        reference=fields.reference_of(session),
        session_id=fields.own_id(session),
        payment_intent_id=fields.find_id(session.get("payment_intent")),
        provider_customer_id=fields.find_id(session.get("customer")),
        email=fields.text(fields.part(session, "customer_details").get("email")),
        state=state,
        currency=fields.currency(session.get("currency")),
        amount_minor=fields.minor(session.get("amount_total")),
        captured_minor=captured_minor,
        totals=_totals(session),
        failure=failure,
        session_url=fields.text(session.get("url")),
        link_id=fields.find_id(session.get("payment_link")),
    )


def _paid_at(session: Object) -> datetime:
    """When a fetched session was paid: its charge or invoice knows; the session does not say."""
    steps = fields.part(fields.part(session, "invoice"), "status_transitions")
    if steps.get("paid_at") is not None:
        return fields.time_of(steps["paid_at"])
    intent = session.get("payment_intent")
    charge = intent.get("latest_charge") if isinstance(intent, dict) else None
    if isinstance(charge, dict):
        return charges.taken_at(charge)
    return fields.time_of(session.get("created"))


def _totals(session: Object) -> Totals | None:
    """The totals, if the session's lines are here; an event's snapshot never has them."""
    items = fields.part(session, "line_items")
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
                price_id=fields.find_id(item.get("price")),
                quantity=fields.minor(1 if item.get("quantity") is None else item["quantity"]),
                subtotal_minor=fields.minor(item.get("amount_subtotal")),
            )
        )
        tax_added += _tax_on_top(item)
    details = fields.part(session, "total_details")
    return Totals(
        lines=tuple(lines),
        subtotal_minor=fields.minor(session.get("amount_subtotal")),
        discount_minor=fields.minor(details.get("amount_discount") or 0),
        tax_added_minor=tax_added,
        total_minor=fields.minor(session.get("amount_total")),
        discounts=discounts.names_in(session.get("discounts")),
    )


def _tax_on_top(item: Object) -> int:
    """A line's tax, where it is added to the price.

    A price that does not say whether it holds its tax goes by the account and the currency; then
    the line's own total tells.
    """
    tax = fields.minor(item.get("amount_tax") or 0)
    behavior = fields.part(item, "price").get("tax_behavior")
    if tax == 0 or behavior in ("exclusive", "inclusive"):
        return tax if behavior == "exclusive" else 0
    discount = fields.minor(item.get("amount_discount") or 0)
    held = fields.minor(item.get("amount_subtotal")) - discount
    return 0 if fields.minor(item.get("amount_total")) == held else tax
