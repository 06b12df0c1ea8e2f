"""A subscription ended by a call, and a paused one that goes on.

Owns what is billed or given back at that moment. What ends by itself, `billing_cycle` owns.
"""

from __future__ import annotations

import copy
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    billing_cycle,
    periods,
    proration_items,
    records,
    subscription_invoices,
    subscription_lines,
    subscription_methods,
    subscription_objects,
    subscription_states,
)
from bursar_sandbox.stripe import subscription_params as fields
from bursar_sandbox.stripe.errors import StripeError, not_played
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_objects import items_of

Body = dict[str, Any]


def cancel_now(tx: Transaction, subscription: Body, *, prorates: bool, invoices_now: bool) -> None:
    """End the subscription at once; with `prorates`, credit for the time that is left.

    With `invoices_now`, what waits is billed on a last invoice; otherwise a credit waits.
    """
    if subscription["status"] == "incomplete":
        billing_cycle.lapse(tx, subscription["id"])
        subscription.update(records.get(tx, "subscription", subscription["id"]))
        return
    billing_cycle.stop_collecting(tx, subscription)
    subscription["cancellation_details"] = {
        **subscription["cancellation_details"],
        "reason": "cancellation_requested",
    }
    if prorates and subscription["status"] not in ("trialing", "paused"):
        empty = copy.deepcopy(subscription)
        empty["items"] = subscription_objects.shown(subscription["id"], [])
        proration_items.keep(tx, proration_items.for_change(tx, subscription, empty, tx.now))
    pending = subscription_invoices.pending_of(tx, subscription, own=True)
    if invoices_now and pending:
        drawn = subscription_invoices.draw(
            tx, subscription, "subscription_update", [], pending, terms=[]
        )
        subscription_invoices.issue(tx, subscription, drawn, off_session=True)
        details = subscription["cancellation_details"]
        subscription.update(records.get(tx, "subscription", subscription["id"]))
        subscription["cancellation_details"] = details
    elif not prorates:
        proration_items.drop_pending(tx, subscription)
    subscription_states.end(tx, subscription)


def resume(tx: Transaction, subscription: Body, params: Params) -> Body:
    """Let a paused subscription go on, once what it owes is paid. Raises StripeError."""
    if subscription["status"] != "paused":
        raise StripeError(
            "Only subscriptions with a status of `paused` can be resumed. This subscription has a "
            f"status of `{subscription['status']}`."
        )
    anchor = params.choice("billing_cycle_anchor", ("now", "unchanged"), "now")
    fields.proration_of(params)
    behavior = fields.behavior_of(params)
    if behavior in ("error_if_incomplete", "pending_if_incomplete"):
        raise not_played(f"`{behavior}` of resumptions", "payment_behavior")
    if anchor == "now":
        subscription["billing_cycle_anchor"] = tx.now
    for item in items_of(subscription):
        end = periods.end_of(item["price"], subscription["billing_cycle_anchor"], tx.now)
        item.update(current_period_start=tx.now, current_period_end=end)
    lines = [subscription_lines.of_period(tx, subscription, item)
             for item in items_of(subscription)]  # fmt: skip
    pending = subscription_invoices.pending_of(tx, subscription)
    drawn = subscription_invoices.draw(tx, subscription, "subscription_update", lines, pending)
    if drawn.invoice["amount_due"] and subscription["collection_method"] == "charge_automatically":
        subscription_methods.need_method(tx, subscription)
    subscription_states.remember(tx, subscription, resumes=drawn.invoice["id"])
    subscription_invoices.issue(
        tx, subscription, drawn, collects=behavior != "default_incomplete"
    )  # fmt: skip
    found = records.get(tx, "subscription", subscription["id"])
    billing_cycle.schedule(tx, found)
    return found
