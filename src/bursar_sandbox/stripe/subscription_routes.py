"""The routes of subscriptions.

What they bring about, `subscription_creation` and `subscription_changes` own.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import (
    lists,
    records,
    subscription_changes,
    subscription_creation,
    subscription_discounts,
    subscription_endings,
    subscription_states,
)
from bursar_sandbox.stripe import subscription_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter
from bursar_sandbox.stripe.subscription_objects import ENDED

_STATUSES = (
    "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused",
    "trialing", "unpaid",
)  # fmt: skip


def create(call: Call) -> dict[str, Any]:
    params = call.params
    if not params.given("customer"):
        raise missing_parameter("customer")
    start = subscription_creation.build(call.tx, params)
    return subscription_creation.begin(
        call.tx, start, fields.behavior_of(params), off_session=params.boolean("off_session")
    )


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "subscription", call.ids[0], in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    change = subscription_changes.build(call.tx, retrieve(call), params)
    return subscription_changes.apply(
        call.tx, change, fields.behavior_of(params), off_session=params.boolean("off_session")
    )


def cancel(call: Call) -> dict[str, Any]:
    params = call.params
    subscription = _running(call)
    subscription_changes.explain(subscription, params)
    subscription_endings.cancel_now(
        call.tx,
        subscription,
        prorates=params.boolean("prorate"),
        invoices_now=params.boolean("invoice_now"),
    )
    return retrieve(call)


def _running(call: Call) -> dict[str, Any]:
    subscription = retrieve(call)
    if subscription["status"] in ENDED:
        raise StripeError(
            f"No such subscription: '{subscription['id']}'",
            status=404,
            code="resource_missing",
            param="id",
        )
    return subscription


def resume(call: Call) -> dict[str, Any]:
    return subscription_endings.resume(call.tx, retrieve(call), call.params)


def drop_discount(call: Call) -> dict[str, Any]:
    subscription = retrieve(call)
    terms = subscription_discounts.terms_of(call.tx, subscription)
    if not terms:
        raise StripeError(
            f"No active discount for subscription: {subscription['id']}",
            status=404,
            code="resource_missing",
            param="id",
        )
    gone = terms[-1]["discount"]
    subscription_discounts.change(call.tx, subscription, terms[:-1], terms)
    subscription_states.save(call.tx, subscription)
    return {**{name: gone[name] for name in gone if name != "end"}, "deleted": True}


def index(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("subscription")
    query.equal(params, "collection_method", "customer", "customer_account")
    query.equal(params, "test_clock")
    status = params.choice("status", _STATUSES)
    if status == "ended":
        query.one_of("label", sorted(ENDED))
    elif status is None:
        query.add("label != 'canceled'")
        query.add("label != 'incomplete_expired'")
    elif status != "all":
        query.add("label = ?", status)
    for name in ("plan", "price"):
        if params.given(name):
            query.add(
                "EXISTS (SELECT 1 FROM json_each(body, '$.items.data') AS item"
                " WHERE item.value ->> '$.price.id' = ?)",
                params.text(name),
            )
    tax = params.table("automatic_tax")
    if tax is not None:
        query.add("body ->> '$.automatic_tax.enabled' = ?", int(tax.boolean("enabled")))
    return lists.page(call, query)


routes = [
    route("POST", "/v1/subscriptions", create, fields.CREATE),
    route(
        "GET",
        "/v1/subscriptions",
        index,
        f"{lists.PAGING} automatic_tax collection_method customer customer_account plan price "
        "status test_clock",
    ),
    route("GET", "/v1/subscriptions/*", retrieve),
    route("POST", "/v1/subscriptions/*", update, fields.UPDATE),
    route("DELETE", "/v1/subscriptions/*", cancel, "cancellation_details invoice_now prorate"),
    route(
        "POST",
        "/v1/subscriptions/*/resume",
        resume,
        "billing_cycle_anchor payment_behavior proration_behavior proration_date",
    ),
    route("DELETE", "/v1/subscriptions/*/discount", drop_discount),
]
