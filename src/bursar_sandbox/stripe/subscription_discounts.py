"""Discounts of subscriptions: which coupons one has, for how long, and when they are used up.

Owns the discount's object on a subscription. Whether a coupon may be redeemed, `discounts` says;
what it takes off, `subscription_totals`.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import discounts, events, periods, records, subscription_lines
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_objects import items_of


def terms_of(tx: Transaction, subscription: dict[str, Any]) -> list[Terms]:
    """The terms of the discounts that the subscription has, in their order."""
    terms: list[Terms] = tx.private(subscription["id"]).get("terms", [])
    return terms


def in_force(terms: list[Terms], at: int) -> list[Terms]:
    """Those that an invoice of that moment takes off."""
    return [one for one in terms if one["discount"]["end"] is None or at < one["discount"]["end"]]


def asked(
    tx: Transaction, params: Params, subscription: dict[str, Any], current: list[Terms]
) -> list[Terms]:
    """The terms that the call wants the subscription to have. Raises StripeError.

    A row may name a discount that the subscription has already.
    """
    known = {one["discount"]["id"]: one for one in current}
    wanted: list[Terms] = []
    for row in params.rows("discounts"):
        kept = row.text("discount")
        if kept is not None and kept in known:
            wanted.append(known[kept])
            continue
        place = row.path.rpartition("[")[2].rstrip("]")
        single = Params({"discounts": {place: row.fields}})
        terms = discounts.asked(tx, single, _as_purchase(tx, subscription), _sold(subscription))
        if terms is not None:
            wanted.append(belonging(tx, subscription, terms))
    return wanted


def _as_purchase(tx: Transaction, subscription: dict[str, Any]) -> dict[str, Any]:
    """The subscription as the rules of redeeming look at a purchase."""
    currency = subscription["currency"]
    amounts = [
        subscription_lines.amount_of(tx, item["price"], item["quantity"], currency)
        for item in items_of(subscription)
    ]
    return {
        "id": None,
        "amount_subtotal": sum(amounts),
        "currency": currency,
        "customer": subscription["customer"],
    }


def _sold(subscription: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"price": item["price"]} for item in items_of(subscription)]


def belonging(tx: Transaction, subscription: dict[str, Any], terms: Terms) -> Terms:
    """The terms with a discount of this subscription's own, as long as its coupon lasts."""
    coupon = tx.find(terms["discount"]["source"]["coupon"]) or {}
    months = coupon.get("duration_in_months")
    discount = {
        **terms["discount"],
        "id": new_id("di"),
        "customer": subscription["customer"],
        "end": periods.later(tx.now, "month", months) if months else None,
        "start": tx.now,
        "subscription": subscription["id"],
    }
    return {**terms, "discount": discount, "duration": coupon.get("duration", "forever")}


def begin(tx: Transaction, terms: list[Terms], *, counted: bool = False) -> None:
    """Store these discounts and count their use, unless a checkout has `counted` it already."""
    for one in terms:
        records.insert(tx, one["discount"])
        if not counted:
            discounts.redeem(tx, one)
        events.emit(tx, "customer.discount.created", one["discount"])


def change(
    tx: Transaction, subscription: dict[str, Any], wanted: list[Terms], before: list[Terms]
) -> None:
    """Let the subscription have these discounts and no others; the caller stores it."""
    had = {one["discount"]["id"] for one in before}
    has = {one["discount"]["id"] for one in wanted}
    begin(tx, [one for one in wanted if one["discount"]["id"] not in had])
    for one in before:
        if one["discount"]["id"] not in has:
            _end(tx, one)
    _keep(tx, subscription, wanted)


def spend(tx: Transaction, subscription: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Let go what was good for one invoice, now that it has one, and what has come to its end.

    What took nothing off, such as a trial's invoice over nothing, leaves a coupon for the next one.
    The caller stores the subscription.
    """
    terms = terms_of(tx, subscription)
    used = {
        part["discount"] for line in lines for part in line["discount_amounts"] if part["amount"]
    }
    left = [
        one
        for one in in_force(terms, tx.now)
        if not (one["duration"] == "once" and one["discount"]["id"] in used)
    ]
    if len(left) < len(terms):
        change(tx, subscription, left, terms)


def _keep(tx: Transaction, subscription: dict[str, Any], terms: list[Terms]) -> None:
    private = {**tx.private(subscription["id"]), "terms": terms}
    records.replace_private(tx, subscription["id"], private)
    subscription["discounts"] = [one["discount"]["id"] for one in terms]


def _end(tx: Transaction, terms: Terms) -> None:
    # An invoice goes on naming the discount, so its object stays.
    events.emit(tx, "customer.discount.deleted", terms["discount"])
