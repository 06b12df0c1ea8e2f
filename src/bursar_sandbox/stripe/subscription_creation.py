"""A new subscription: what it is made of, its first period and its first invoice.

Owns the start, for the API's call and for a checkout alike. What happens later by itself,
`billing_cycle` owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    billing_cycle,
    events,
    invoice_item_parts,
    line_items,
    periods,
    records,
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
from bursar_sandbox.stripe.subscription_objects import items_of

Body = dict[str, Any]
_HOURS_INCOMPLETE = 23


@dataclass(frozen=True, slots=True)
class Start:
    """A subscription that is built and not stored, and what its first invoice asks for.

    `shares` says how much of a whole period each item's first one is, by its id.
    """

    subscription: Body
    terms: list[Terms]
    shares: dict[str, Decimal]
    extras: list[Body]


def build(tx: Transaction, params: Params, *, archived: bool = False) -> Start:
    """What the parameters of a new subscription ask for. Raises StripeError.

    `archived` says whether prices that are for sale no more are good too.
    """
    fields.check_played(params)
    customer_id = params.need_text("customer")
    customer = tx.find(customer_id)
    if customer is None or customer["object"] != "customer" or customer.get("deleted"):
        raise no_such("customer", customer_id, "customer")
    currency = fields.currency_of(tx, params, archived=archived)
    subscription = subscription_objects.blank(tx, customer, currency)
    _set_mode(subscription, params)
    items = [
        fields.item_of(tx, row, subscription, archived=archived) for row in params.rows("items")
    ]
    check_items(items)
    fields.describe(tx, subscription, params)
    shares = _begin_periods(tx, subscription, items, params)
    subscription["items"] = subscription_objects.shown(subscription["id"], items)
    _set_end(tx, subscription, params)
    terms = subscription_discounts.asked(tx, params, subscription, [])
    subscription["discounts"] = [one["discount"]["id"] for one in terms]
    extras = added_items(tx, subscription, params)
    return Start(subscription, terms, shares, extras)


def _set_mode(subscription: Body, params: Params) -> None:
    mode = params.table("billing_mode")
    if mode is None:
        return
    kind = mode.choice("type", ("classic", "flexible"))
    flexible = mode.table("flexible") or Params({}, mode.name("flexible"))
    if kind == "classic":
        subscription["billing_mode"] = {"flexible": None, "type": "classic"}
    elif flexible.given("proration_discounts"):
        shown = flexible.choice("proration_discounts", ("included", "itemized"))
        subscription["billing_mode"]["flexible"] = {"proration_discounts": shown}


def check_items(items: list[Body]) -> None:
    """Raise StripeError unless each price is there only once."""
    prices = [item["price"]["id"] for item in items]
    for price_id in prices:
        if prices.count(price_id) > 1:
            raise StripeError(
                "Subscription Item with existing Price not allowed: a subscription has each price "
                f"only once, and {price_id} is given twice.",
                param="items",
            )


def _begin_periods(
    tx: Transaction, subscription: Body, items: list[Body], params: Params
) -> dict[str, Decimal]:
    """Set the first periods of the items, and how much of a whole one each of them is."""
    trial_end = fields.trial_end_of(tx, params, items)
    anchor = params.integer("billing_cycle_anchor")
    if trial_end is not None:
        if anchor is not None:
            raise StripeError(
                "The sandbox does not play `billing_cycle_anchor` together with a trial.",
                param="billing_cycle_anchor",
            )
        subscription.update(
            billing_cycle_anchor=trial_end,
            status="trialing",
            trial_end=trial_end,
            trial_start=tx.now,
        )
        for item in items:
            item["current_period_end"] = trial_end
        return {}
    if anchor is None:
        for item in items:
            item["current_period_end"] = periods.end_of(item["price"], tx.now, tx.now)
        return {}
    return _begin_at(tx, subscription, items, anchor, params)


def _begin_at(
    tx: Transaction, subscription: Body, items: list[Body], anchor: int, params: Params
) -> dict[str, Decimal]:
    """A first period that only lasts until the anchor costs its share, or nothing at all."""
    natural = min(periods.end_of(item["price"], tx.now, tx.now) for item in items)
    if not tx.now < anchor <= natural:
        raise StripeError(
            f"billing_cycle_anchor must be in the future and cannot be later than the next natural "
            f"billing date ({natural}) for the prices.",
            param="billing_cycle_anchor",
        )
    behavior = fields.proration_of(params)
    shares = {}
    for item in items:
        recurring = item["price"]["recurring"]
        begin = periods.later(anchor, recurring["interval"], -recurring["interval_count"])
        item["current_period_end"] = anchor
        part = Decimal(anchor - tx.now) / Decimal(anchor - begin)
        shares[item["id"]] = Decimal(0) if behavior == "none" else part
    subscription["billing_cycle_anchor"] = anchor
    return shares


def _set_end(tx: Transaction, subscription: Body, params: Params) -> None:
    if params.boolean("cancel_at_period_end"):
        set_cancel_at_period_end(tx, subscription, cancels=True)
    elif params.given("cancel_at"):
        set_cancel_at(tx, subscription, params)


def set_cancel_at_period_end(tx: Transaction, subscription: Body, *, cancels: bool) -> None:
    """Let the subscription end with its period, or go on after all."""
    details = {**subscription["cancellation_details"]}
    details["reason"] = "cancellation_requested" if cancels else None
    subscription.update(
        cancel_at=subscription_objects.period_end(subscription) if cancels else None,
        cancel_at_period_end=cancels,
        canceled_at=tx.now if cancels else None,
        cancellation_details=details,
    )


def set_cancel_at(tx: Transaction, subscription: Body, params: Params) -> None:
    """Let the subscription end at a time that the call names. Raises StripeError."""
    ends = {
        "min_period_end": min(item["current_period_end"] for item in items_of(subscription)),
        "max_period_end": max(item["current_period_end"] for item in items_of(subscription)),
    }
    at = ends.get(params.text("cancel_at") or "") or params.need_integer("cancel_at")
    if at <= tx.now:
        raise StripeError("`cancel_at` must be a timestamp in the future.", param="cancel_at")
    set_cancel_at_period_end(tx, subscription, cancels=True)
    subscription.update(cancel_at=at, cancel_at_period_end=False)


def added_items(tx: Transaction, subscription: Body, params: Params) -> list[Body]:
    """The one-time items, not stored yet, that `add_invoice_items` puts on the next invoice."""
    added = []
    for row in params.rows("add_invoice_items"):
        for name in ("discounts", "period"):
            if row.given(name):
                raise StripeError(
                    f"The sandbox does not play `{name}` of added items yet.", param=row.name(name)
                )
        price = line_items.price_of(tx, row, archived=True)
        if price["recurring"] is not None:
            raise StripeError(
                "The price specified is set to `type=recurring` but this field only accepts prices "
                "with `type=one_time`.",
                param=row.name("price"),
            )
        added.append(_added(tx, subscription, price, row))
    return added


def _added(tx: Transaction, subscription: Body, price: Body, row: Params) -> Body:
    quantity = row.integer("quantity", low=0)
    quantity = 1 if quantity is None else quantity
    currency = subscription["currency"]
    unit = subscription_lines.unit_of(tx, price, currency, row.name("price"))
    amount = subscription_lines.amount_of(tx, price, quantity, currency, row.name("price"))
    item = invoice_item_parts.blank(tx, subscription["customer"], currency)
    item.update(
        amount=amount,
        description=invoice_item_parts.name_of(tx, price),
        net_amount=amount,
        parent={
            "subscription_details": {"subscription": subscription["id"]},
            "type": "subscription_details",
        },
        pricing={**invoice_item_parts.shown(price), "unit_amount_decimal": f"{unit:f}"},
        quantity=quantity,
        quantity_decimal=str(quantity),
        tax_rates=fields.rates_of(tx, row),
    )
    return item


def first_draft(tx: Transaction, start: Start) -> Draft:
    """The first invoice of a subscription that is built, and perhaps not stored."""
    subscription = start.subscription
    lines = [
        subscription_lines.of_trial(tx, subscription, item)
        if subscription["trial_end"]
        else subscription_lines.of_period(
            tx, subscription, item, start.shares.get(item["id"], Decimal(1))
        )
        for item in items_of(subscription)
    ]
    pending = [*subscription_invoices.pending_of(tx, subscription), *start.extras]
    return subscription_invoices.draw(
        tx, subscription, "subscription_create", lines, pending, terms=start.terms
    )


def keep(tx: Transaction, start: Start, *, counted: bool = False) -> Body:
    """Store what was built; nobody hears of it yet. `counted` says that a checkout has counted the
    use of the coupons.
    """
    subscription = start.subscription
    customer = records.get(tx, "customer", subscription["customer"])
    if customer["currency"] is None:
        after = {**customer, "currency": subscription["currency"]}
        records.replace(tx, after)
        events.emit_update(tx, customer, after)
    subscription_states.add(tx, subscription, {"terms": start.terms})
    subscription_discounts.begin(tx, start.terms, counted=counted)
    for item in start.extras:
        records.insert(tx, item)
        events.emit(tx, "invoiceitem.created", item)
    return subscription


def begin(tx: Transaction, start: Start, behavior: str, *, off_session: bool) -> Body:
    """Store what was built, with its first invoice, and collect that as `behavior` says.

    Returns the subscription as it is then. Raises StripeError, 402 for a declined card where the
    behavior is `error_if_incomplete`, and then nothing is kept.
    """
    draft = first_draft(tx, start)
    charged = start.subscription["collection_method"] == "charge_automatically"
    waits = charged and behavior == "default_incomplete"
    if charged and draft.invoice["amount_due"] and not waits:
        subscription_methods.need_method(tx, start.subscription)
    subscription = keep(tx, start)
    if not charged or not draft.invoice["amount_due"]:
        subscription["status"] = "trialing" if subscription["trial_end"] else "active"
    else:
        subscription["status"] = "incomplete"
    if waits:
        return _begin_incomplete(tx, subscription, draft)
    decline = subscription_invoices.issue(tx, subscription, draft, off_session=off_session)
    if decline is not None and behavior == "error_if_incomplete":
        raise subscription_methods.refusal(tx, decline, draft.invoice)
    subscription = records.get(tx, "subscription", subscription["id"])
    subscription_states.announce(tx, subscription)
    schedule(tx, subscription)
    return subscription


def _begin_incomplete(tx: Transaction, subscription: Body, draft: Draft) -> Body:
    """The seller's page is to have the first invoice paid: the subscription waits for that."""
    subscription_invoices.issue(tx, subscription, draft, collects=False)
    subscription = records.get(tx, "subscription", subscription["id"])
    if not draft.invoice["amount_due"]:
        subscription_methods.ask_for_method(tx, subscription)
    subscription_states.announce(tx, subscription)
    schedule(tx, subscription)
    return subscription


def schedule(tx: Transaction, subscription: Body) -> None:
    """Let everything happen in its time to a subscription that has just begun."""
    billing_cycle.schedule(tx, subscription)
    if subscription["status"] == "incomplete":
        due = tx.now + _HOURS_INCOMPLETE * 3600
        tx.store.schedule(tx, due, "subscription.lapse", subscription["id"])
