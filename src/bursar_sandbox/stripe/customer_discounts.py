"""Discounts of customers: what older versions of the API let one take off all that a person buys.

Owns the discount that a customer has, and its end. Whether a coupon may be redeemed, `discounts`
says; what it takes off an invoice, `subscription_totals`. A subscription with discounts of its own
goes without the customer's.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import discounts, events, legacy, periods, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.errors import StripeError, unknown_parameter

PARAMS = "coupon promotion_code"
_NAMES = tuple(PARAMS.split())


def take(call: Call, customer: dict[str, Any]) -> None:
    """Give the customer the discount that the call asks for; the caller stores and announces it.

    Raises StripeError for a worthless one, and for callers that name a version without these
    parameters. Stripe's own command-line tool names none, and still uses them.
    """
    asked = [name for name in _NAMES if name in call.params]
    if not asked:
        return
    if call.version is not None and call.version >= legacy.BASIL:
        raise unknown_parameter(asked[0])
    terms = discounts.of_customer(call.tx, call.params, customer["id"])
    _set(call.tx, customer, None if terms is None else _lasting(call.tx, terms))


def _lasting(tx: Transaction, terms: Terms) -> Terms:
    coupon = tx.find(terms["discount"]["source"]["coupon"]) or {}
    months = coupon.get("duration_in_months")
    end = periods.later(tx.now, "month", months) if months else None
    discount = {**terms["discount"], "end": end}
    return {**terms, "discount": discount, "duration": coupon["duration"]}


def _set(tx: Transaction, customer: dict[str, Any], terms: Terms | None) -> None:
    customer["discount"] = None if terms is None else terms["discount"]
    private = {**tx.private(customer["id"]), "terms": [] if terms is None else [terms]}
    records.replace_private(tx, customer["id"], private)
    if terms is not None:
        records.insert(tx, terms["discount"])
        discounts.redeem(tx, terms)


def announce(tx: Transaction, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """Tell what became of a customer's discount."""
    if before == after:
        return
    if before is None and after is not None:
        events.emit(tx, "customer.discount.created", after)
    elif before is not None and after is None:
        # An invoice goes on naming the discount, so its object stays.
        events.emit(tx, "customer.discount.deleted", before)
    elif before is not None and after is not None:
        former = events.changes(before, after)
        events.emit(tx, "customer.discount.updated", after, former)


def in_force(tx: Transaction, customer_id: str) -> list[Terms]:
    """What an invoice of now takes off for the customer's sake."""
    found: list[Terms] = tx.private(customer_id).get("terms", [])
    return [one for one in found if (one["discount"]["end"] or tx.now + 1) > tx.now]


def spend(tx: Transaction, customer_id: str, lines: list[dict[str, Any]]) -> None:
    """Let go what was good for one invoice, now that these lines have used it."""
    used = {
        part["discount"] for line in lines for part in line["discount_amounts"] if part["amount"]
    }
    for one in in_force(tx, customer_id):
        if one["duration"] == "once" and one["discount"]["id"] in used:
            _drop(tx, records.get(tx, "customer", customer_id))


def _drop(tx: Transaction, before: dict[str, Any]) -> None:
    customer = dict(before)
    _set(tx, customer, None)
    records.replace(tx, customer)
    announce(tx, before["discount"], None)
    events.emit_update(tx, before, customer)


def delete(call: Call) -> dict[str, Any]:
    customer = records.get(call.tx, "customer", call.ids[0], in_path=True)
    gone = customer["discount"]
    if gone is None:
        raise StripeError(
            f"No active discount for customer: {customer['id']}",
            status=404,
            code="resource_missing",
            param="id",
        )
    _drop(call.tx, customer)
    return {**{name: gone[name] for name in gone if name != "end"}, "deleted": True}


routes = [route("DELETE", "/v1/customers/*/discount", delete)]
