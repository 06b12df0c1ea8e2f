"""Previews of invoices: what the next one will be, or what a change would cost.

Owns how the parameters of a preview become those of the real calls, whose functions then draw the
invoice: a preview can't say anything else than what happens. Nothing that it makes is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    billing_cycle,
    preview_shapes,
    proration_items,
    subscription_changes,
    subscription_creation,
    subscription_invoices,
    subscription_lines,
    subscription_objects,
    subscription_states,
)
from bursar_sandbox.stripe import preview_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.preview_params import Wanted
from bursar_sandbox.stripe.subscription_invoices import Draft
from bursar_sandbox.stripe.subscription_objects import ENDED, items_of

Body = dict[str, Any]
_SILENT = (*ENDED, "incomplete", "paused")


def create(call: Call) -> Body:
    """The invoice that the call asks about. Raises StripeError, 404 if none is to come."""
    with _undone(call.tx):
        wanted = fields.read(call.tx, call.params)
        if wanted.subscription is not None:
            return _of_running(call.tx, wanted, wanted.subscription)
        if wanted.details.given("items"):
            return _of_new(call.tx, wanted)
        found = _first_due(call.tx, wanted.customer["id"])
        if found is not None:
            return _of_running(call.tx, wanted, found)
        return _of_items(call.tx, wanted)


@contextmanager
def _undone(tx: Transaction) -> Iterator[None]:
    """Undo whatever is written in the block, such as prices that are made up on the way."""
    now = tx.now
    tx.execute("SAVEPOINT preview")
    try:
        yield
    finally:
        tx.execute("ROLLBACK TO preview")
        tx.execute("RELEASE preview")
        tx.now = now


def _first_due(tx: Transaction, customer_id: str) -> Body | None:
    """The customer's subscription that is billed next."""
    billed = [one for one in subscription_states.of_customer(tx, customer_id) if _goes_on(one)]
    return min(billed, key=subscription_objects.period_end, default=None)


def _goes_on(subscription: Body) -> bool:
    """Whether the subscription will have another period."""
    if subscription["status"] in _SILENT:
        return False
    end = subscription_objects.period_end(subscription)
    return subscription["cancel_at"] is None or bool(subscription["cancel_at"] > end)


def _of_running(tx: Transaction, wanted: Wanted, subscription: Body) -> Body:
    """The next invoice of a subscription, or the one that a change brings at once."""
    if wanted.details.boolean("cancel_now"):
        return _of_end(tx, wanted, subscription)
    change = subscription_changes.build(tx, subscription, wanted.update)
    waiting = [*change.items, *change.extras, *wanted.items]
    at = change.at if change.items or wanted.details.given("proration_date") else None
    if wanted.recurring:
        draft = _recurring(tx, change.after, change.terms)
    elif wanted.changes:
        drawn = subscription_changes.draft(tx, change)
        if drawn is not None:
            drawn = _with_items(tx, change.after, drawn, wanted.items)
        draft = drawn or _next(tx, change.after, waiting, change.terms)
    else:
        draft = _next(tx, change.after, waiting, change.terms)
    return preview_shapes.shown(draft, at)


def _with_items(tx: Transaction, subscription: Body, draft: Draft, items: list[Body]) -> Draft:
    """The same draft with the invoice items that only the preview knows."""
    if not items:
        return draft
    own = [line for line in draft.lines if not _is_item(line)]
    return subscription_invoices.draw(
        tx, subscription, "subscription_update", own, [*draft.items, *items], terms=draft.terms
    )


def _is_item(line: Body) -> bool:
    details = line["parent"]["subscription_item_details"]
    return details is None or details["invoice_item"] is not None


def _next(tx: Transaction, after: Body, waiting: list[Body], terms: list[Terms]) -> Draft:
    if _goes_on(after):
        return billing_cycle.upcoming(tx, after, waiting, terms)
    pending = [*subscription_invoices.pending_of(tx, after, own=True), *waiting]
    if not pending:
        raise _nothing_to_come(after["customer"])
    # What ends is billed for what still waits, on a last invoice.
    tx.now = subscription_objects.period_end(after)
    return subscription_invoices.draw(tx, after, "upcoming", [], pending, terms=[])


def _of_end(tx: Transaction, wanted: Wanted, subscription: Body) -> Body:
    """The last invoice of a subscription that would end now, with credit for what is left."""
    at = wanted.details.integer("proration_date") or tx.now
    items: list[Body] = []
    prorates = wanted.details.text("proration_behavior") != "none"
    if prorates and subscription["status"] not in ("trialing", *_SILENT):
        empty = copy.deepcopy(subscription)
        empty["items"] = subscription_objects.shown(subscription["id"], [])
        items = proration_items.for_change(tx, subscription, empty, at)
    pending = subscription_invoices.pending_of(tx, subscription, own=True)
    waiting = [*pending, *items, *wanted.items]
    if not waiting:
        raise _nothing_to_come(subscription["customer"])
    draft = subscription_invoices.draw(tx, subscription, "upcoming", [], waiting, terms=[])
    return preview_shapes.shown(draft, at if items else None)


def _recurring(tx: Transaction, subscription: Body, terms: list[Terms]) -> Draft:
    """What every period costs: without prorations, waiting items and coupons for one invoice."""
    lasting = [one for one in terms if one["duration"] != "once"]
    lines = [
        subscription_lines.of_period(tx, subscription, item) for item in items_of(subscription)
    ]
    return subscription_invoices.draw(tx, subscription, "upcoming", lines, [], terms=lasting)


def _of_new(tx: Transaction, wanted: Wanted) -> Body:
    """The first invoice of a subscription that would begin now."""
    start = subscription_creation.build(tx, wanted.update)
    if wanted.recurring:
        return preview_shapes.shown(_recurring(tx, start.subscription, start.terms), None)
    start.extras.extend(wanted.items)
    return preview_shapes.shown(subscription_creation.first_draft(tx, start), None)


def _of_items(tx: Transaction, wanted: Wanted) -> Body:
    """An invoice over nothing but items, for a customer without subscriptions."""
    if not wanted.items:
        raise _nothing_to_come(wanted.customer["id"])
    return preview_shapes.shown(preview_shapes.loose(tx, wanted.customer, wanted.items), None)


def _nothing_to_come(customer_id: str) -> StripeError:
    return StripeError(
        f"No upcoming invoices for customer: {customer_id}",
        status=404,
        code="invoice_upcoming_none",
    )


routes = [route("POST", "/v1/invoices/create_preview", create, fields.NAMES)]
