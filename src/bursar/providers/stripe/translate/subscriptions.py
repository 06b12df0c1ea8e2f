"""Subscriptions into facts. Pure.

Events are read for their id alone: none says all, and they come late and out of order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import get_args

from bursar.providers.port import Facts, Unusable
from bursar.providers.recurring import (
    Interval,
    InvoiceFact,
    SubscribedItem,
    SubscriptionFact,
    SubscriptionNews,
    SubscriptionStatus,
)
from bursar.providers.stripe.translate import fields, invoices
from bursar.providers.stripe.translate.fields import Object

STATUSES: dict[str, SubscriptionStatus] = {
    "incomplete": "incomplete",
    "incomplete_expired": "canceled",
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "unpaid",
    "paused": "paused",
    "canceled": "canceled",
}
INTERVALS: dict[str, Interval] = {word: word for word in get_args(Interval)}
BEGUN: tuple[SubscriptionStatus, ...] = ("trialing", "active", "past_due", "unpaid")


def changed(subscription: Object, at: datetime) -> Facts:
    """That something happened to a subscription."""
    del at
    return SubscriptionNews("stripe", fields.own_id(subscription))


def answer(subscription: Object, found: Sequence[InvoiceFact] = ()) -> SubscriptionFact:
    """A subscription as it was fetched, with all its items and `customer` expanded.

    Raises Unusable.
    """
    items = tuple(_item(row) for row in fields.rows(subscription.get("items")))
    pause = fields.part(subscription, "pause_collection")
    at_period_end = subscription.get("cancel_at_period_end") is True
    cancel_at = fields.find_time(subscription.get("cancel_at"))
    if cancel_at is None and at_period_end and items:
        cancel_at = max(item.period_end for item in items)
    # Stripe's portal sets the date alone: an end with the period all the same.
    at_period_end = at_period_end or cancel_at in {item.period_end for item in items}
    return SubscriptionFact(
        provider="stripe",
        subscription_id=fields.own_id(subscription),
        reference=fields.reference_of(subscription),
        provider_customer_id=fields.find_id(subscription.get("customer")),
        email=fields.text(fields.part(subscription, "customer").get("email")),
        status=_status(subscription),
        raw_status=str(subscription.get("status")),
        items=items,
        currency=invoices.currency_of(subscription),
        created_at=fields.time_of(subscription.get("created")),
        trial_start=fields.find_time(subscription.get("trial_start")),
        trial_end=fields.find_time(subscription.get("trial_end")),
        cancel_at=cancel_at,
        cancel_at_period_end=at_period_end,
        canceled_at=fields.find_time(subscription.get("canceled_at")),
        ended_at=fields.find_time(subscription.get("ended_at")),
        resumes_at=fields.find_time(pause.get("resumes_at")),
        invoices=tuple(found),
    )


def ends_by_date(subscription: Object) -> bool:
    """Whether its end is settled by a date alone, so that it is the date that is taken back."""
    return (
        subscription.get("cancel_at") is not None
        and subscription.get("cancel_at_period_end") is not True
    )


def _status(subscription: Object) -> SubscriptionStatus:
    """In our words: Stripe says `paused` of a trial alone that ended without a card."""
    status = STATUSES.get(str(subscription.get("status")))
    if status is None:
        told = f"subscription status {subscription.get('status')!r}"
        raise Unusable("payload_unparseable", told[:80])
    if subscription.get("pause_collection") and status in BEGUN:
        return "paused"
    return status


def _item(item: Object) -> SubscribedItem:
    price = fields.part(item, "price")
    recurring = fields.part(price, "recurring")
    interval = INTERVALS.get(str(recurring.get("interval")))
    if interval is None:
        raise Unusable("payload_unparseable", f"interval {recurring.get('interval')!r}"[:80])
    return SubscribedItem(
        item_id=fields.own_id(item),
        price_id=fields.own_id(price),
        quantity=fields.count(item.get("quantity")),
        amount_minor=_amount(price),
        currency=invoices.currency_of(price),
        interval=interval,
        interval_count=fields.count(recurring.get("interval_count")),
        period_start=fields.time_of(item.get("current_period_start")),
        period_end=fields.time_of(item.get("current_period_end")),
    )


def _amount(price: Object) -> int:
    """The price of one. Fractions of a cent are rounded down; one with tiers has none: 0."""
    if price.get("unit_amount") is not None:
        return fields.minor(price["unit_amount"])
    told = price.get("unit_amount_decimal")
    if told is None:
        return 0
    try:
        return fields.minor(int(Decimal(str(told))))
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise Unusable("amount_invalid", repr(told)[:50]) from error


_OF_SUBSCRIPTIONS = ("created", "updated", "deleted", "paused", "resumed", "trial_will_end")
HANDLED = {f"customer.subscription.{word}": changed for word in _OF_SUBSCRIPTIONS}
