"""A change of a running subscription: what it will be, what that costs, and when it is billed.

Owns the step from the parameters of an update to the new subscription and its invoice. `build` and
`draft` store nothing, so that a preview shows what `apply` then does. The arithmetic of shares of a
period is `proration`'s.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    billing_cycle,
    periods,
    proration,
    proration_items,
    records,
    subscription_creation,
    subscription_discounts,
    subscription_invoices,
    subscription_lines,
    subscription_methods,
    subscription_objects,
    subscription_states,
)
from bursar_sandbox.stripe import subscription_params as fields
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.errors import StripeError, no_such
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_invoices import Draft
from bursar_sandbox.stripe.subscription_objects import ENDED, items_of

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a subscription. `items` are the prorations, not stored; `at` the moment that
    shares are reckoned from. With `new_cycle` a period begins now and is billed now, `behavior`
    says what becomes of the prorations otherwise. `terms` are the discounts from here on.
    """

    before: Body
    after: Body
    at: int
    new_cycle: bool
    behavior: str
    items: list[Body]
    extras: list[Body]
    terms: list[Terms]


def build(tx: Transaction, before: Body, params: Params) -> Change:
    """What the parameters make of the subscription. Raises StripeError; nothing is stored."""
    fields.check_played(params)
    _check_open(before, params)
    after = copy.deepcopy(before)
    fields.describe(tx, after, params)
    _set_cancellation(tx, after, params)
    _set_pause(tx, after, params)
    terms = subscription_discounts.terms_of(tx, before)
    _change_items(tx, after, params)
    if "discounts" in params:
        terms = subscription_discounts.asked(tx, params, after, terms)
        after["discounts"] = [one["discount"]["id"] for one in terms]
    new_cycle = _set_trial(tx, after, params) or _resets(before, after, params)
    if new_cycle:
        _begin_cycle(tx, after)
    if after["cancel_at_period_end"]:
        after["cancel_at"] = subscription_objects.period_end(after)
    at = _moment(tx, before, params)
    behavior = fields.proration_of(params)
    items: list[Body] = []
    if behavior != "none" and before["status"] not in ("trialing", "incomplete", "paused"):
        items = proration_items.for_change(
            tx, before, after, at, new_cycle=new_cycle, terms=terms
        )  # fmt: skip
    extras = subscription_creation.added_items(tx, after, params)
    return Change(before, after, at, new_cycle, behavior, items, extras, terms)


def _check_open(subscription: Body, params: Params) -> None:
    named = set(params.fields) - {"expand"}
    if subscription["status"] in ENDED and named - {"cancellation_details", "metadata"}:
        raise StripeError(
            "A canceled subscription can only update its cancellation_details and metadata.",
        )
    if subscription["status"] == "incomplete" and named & {"items", "trial_end", "discounts"}:
        raise StripeError(
            "This subscription is incomplete: its items, trial and discounts can be updated once "
            "its first invoice is paid."
        )


def _set_cancellation(tx: Transaction, after: Body, params: Params) -> None:
    ways = [name for name in ("cancel_at", "cancel_at_period_end") if params.given(name)]
    if len(ways) > 1 and params.boolean("cancel_at_period_end"):
        raise StripeError(
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
            code="parameters_exclusive",
            param="cancel_at",
        )
    if params.given("cancel_at"):
        subscription_creation.set_cancel_at(tx, after, params)
    elif "cancel_at" in params or params.given("cancel_at_period_end"):
        cancels = params.boolean("cancel_at_period_end")
        if cancels != after["cancel_at_period_end"] or not cancels:
            subscription_creation.set_cancel_at_period_end(tx, after, cancels=cancels)
    explain(after, params)


def explain(subscription: Body, params: Params) -> None:
    """Note why the buyer has canceled. Raises StripeError."""
    table = params.table("cancellation_details")
    if table is None:
        return
    details = dict(subscription["cancellation_details"])
    if "comment" in table:
        details["comment"] = table.text("comment")
    if "feedback" in table:
        details["feedback"] = table.choice("feedback", fields.FEEDBACK)
    subscription["cancellation_details"] = details


def _set_pause(tx: Transaction, after: Body, params: Params) -> None:
    if "pause_collection" not in params:
        return
    table = params.table("pause_collection")
    if table is None:
        after["pause_collection"] = None
        return
    table.require("behavior")
    resumes_at = table.integer("resumes_at")
    if resumes_at is not None and resumes_at <= tx.now:
        raise StripeError(
            "`resumes_at` must be a timestamp in the future.", param=table.name("resumes_at")
        )
    behaviors = ("keep_as_draft", "mark_uncollectible", "void")
    after["pause_collection"] = {
        "behavior": table.choice("behavior", behaviors),
        "resumes_at": resumes_at,
    }


def _change_items(tx: Transaction, after: Body, params: Params) -> None:
    items = list(items_of(after))
    for row in params.rows("items"):
        item_id = row.text("id")
        if item_id is None:
            items.append(_new_item(tx, after, row))
            continue
        item = next((one for one in items if one["id"] == item_id), None)
        if item is None:
            raise no_such("subscription_item", item_id, row.name("id"))
        if row.boolean("deleted"):
            items.remove(item)
        else:
            _change_item(tx, after, item, row)
    _check_items(items)
    after["items"] = subscription_objects.shown(after["id"], items)


def _check_items(items: list[Body]) -> None:
    if not items:
        raise StripeError("A subscription must have at least one active plan.", param="items")
    if len(items) > fields.MAX_ITEMS:
        raise StripeError(f"A subscription has at most {fields.MAX_ITEMS} items.", param="items")
    subscription_creation.check_items(items)


def _new_item(tx: Transaction, after: Body, row: Params) -> Body:
    item = fields.item_of(tx, row, after)
    on_trial = after["status"] == "trialing"
    anchor = after["billing_cycle_anchor"]
    item["current_period_end"] = (
        after["trial_end"] if on_trial else periods.end_of(item["price"], anchor, tx.now)
    )
    return item


def _change_item(tx: Transaction, after: Body, item: Body, row: Params) -> None:
    price = fields.price_of(tx, row)
    if price is not None and price["id"] != item["price"]["id"]:
        rhythm = _rhythm(item["price"])
        item.update(price=price, plan=subscription_objects.plan_of(price))
        # Where another item keeps the cycle going, one that changes its interval begins anew.
        if _rhythm(price) != rhythm and after["status"] != "trialing":
            end = periods.end_of(price, after["billing_cycle_anchor"], tx.now)
            item.update(current_period_start=tx.now, current_period_end=end)
    fields.describe_item(tx, item, row, after["currency"])


def _rhythm(price: Body) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _set_trial(tx: Transaction, after: Body, params: Params) -> bool:
    """Set the trial that the call asks for; whether a new period begins now."""
    on_trial = bool(after["status"] == "trialing")
    if params.text("trial_end") == "now":
        if on_trial:
            after.update(status="active", trial_end=tx.now)
        return on_trial
    if not params.given("trial_end"):
        return False
    end = params.need_integer("trial_end")
    fields.check_trial_end(tx, end)
    after.update(
        billing_cycle_anchor=end,
        status="trialing",
        trial_end=end,
        trial_start=after["trial_start"] if on_trial else tx.now,
    )
    for item in items_of(after):
        start = item["current_period_start"] if on_trial else tx.now
        item.update(current_period_start=start, current_period_end=end)
    return not on_trial


def _resets(before: Body, after: Body, params: Params) -> bool:
    anchor = _anchor(params)
    if after["status"] in ("trialing", "incomplete", "paused"):
        return False
    return anchor == "now" or proration.resets_cycle(items_of(before), items_of(after))


def _anchor(params: Params) -> str | None:
    """Whether the cycle is to begin `now`: a word until 2026, an object with a `type` since."""
    if isinstance(params.fields.get("billing_cycle_anchor"), dict):
        table = Params(params.fields["billing_cycle_anchor"], params.name("billing_cycle_anchor"))
        table.require("type")
        return table.choice("type", ("now", "unchanged"))
    return params.choice("billing_cycle_anchor", ("now", "unchanged"))


def _begin_cycle(tx: Transaction, after: Body) -> None:
    if after["status"] == "trialing":
        return
    after["billing_cycle_anchor"] = tx.now
    for item in items_of(after):
        end = periods.end_of(item["price"], tx.now, tx.now)
        item.update(current_period_start=tx.now, current_period_end=end)


def _moment(tx: Transaction, before: Body, params: Params) -> int:
    at = params.integer("proration_date")
    if at is None:
        return tx.now
    starts = min(item["current_period_start"] for item in items_of(before))
    if not starts <= at <= subscription_objects.period_end(before):
        raise StripeError(
            "Invalid timestamp: `proration_date` must be within the subscription's current period.",
            param="proration_date",
        )
    return at


def draft(tx: Transaction, change: Change) -> Draft | None:
    """The invoice that the change brings at once; None where its cost waits for the next one."""
    if change.new_cycle:
        make = (
            subscription_lines.of_trial
            if change.after["status"] == "trialing"
            else subscription_lines.of_period
        )
        lines = [make(tx, change.after, item) for item in items_of(change.after)]
        pending = subscription_invoices.pending_of(tx, change.after)
    elif change.behavior == "always_invoice" and (change.items or change.extras):
        lines = []
        pending = subscription_invoices.pending_of(tx, change.after, own=True)
    else:
        return None
    waiting = [*pending, *change.items, *change.extras]
    return subscription_invoices.draw(
        tx, change.after, "subscription_update", lines, waiting, terms=change.terms
    )


def _leaves_trial(tx: Transaction, change: Change) -> bool:
    """Whether a trial that the call ends now is followed by a period, as at a trial's own end."""
    ended = copy.deepcopy(change.before)
    ended["trial_end"] = tx.now
    for item in items_of(ended):
        item["current_period_end"] = tx.now
    return change.before["status"] != "trialing" or billing_cycle.leave_trial(tx, ended)


def apply(tx: Transaction, change: Change, behavior: str, *, off_session: bool = False) -> Body:
    """Do what was built; `behavior` is the `payment_behavior`. Returns the subscription.

    Raises StripeError, 402 for a declined card where the behavior is `error_if_incomplete`.
    """
    if change.after["trial_end"] == tx.now and not _leaves_trial(tx, change):
        return records.get(tx, "subscription", change.after["id"])
    drawn = draft(tx, change)
    charged = change.after["collection_method"] == "charge_automatically"
    due = drawn is not None and drawn.invoice["amount_due"] > 0
    if charged and due and behavior != "default_incomplete":
        subscription_methods.need_method(tx, change.after)
    after = change.after
    had = subscription_discounts.terms_of(tx, change.before)
    if had != change.terms:
        subscription_discounts.change(tx, after, change.terms, had)
    proration_items.keep(tx, [*change.items, *change.extras])
    if drawn is None:
        subscription_states.save(tx, after)
    else:
        decline = subscription_invoices.issue(
            tx, after, drawn, off_session=off_session, collects=behavior != "default_incomplete"
        )
        if decline is not None and behavior == "error_if_incomplete":
            raise subscription_methods.refusal(tx, decline, drawn.invoice)
    found = records.get(tx, "subscription", after["id"])
    billing_cycle.schedule(tx, found)
    return records.get(tx, "subscription", after["id"])
