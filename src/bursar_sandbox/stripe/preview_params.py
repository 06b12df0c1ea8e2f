"""Reads what a preview is asked about: whose invoice, after which change, with which items.

Turns the parameters of a preview into those of the calls that would bring the invoice about. It
stores nothing by itself; prices that are made up on the way are the caller's to undo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import invoice_items, records
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.params import Params

NAMES = (
    "automatic_tax currency customer customer_account customer_details discounts invoice_items "
    "issuer on_behalf_of preview_mode schedule schedule_details subscription subscription_details"
)
_LATER = (
    "customer_account", "customer_details", "on_behalf_of", "schedule", "schedule_details",
)  # fmt: skip
_DETAILS = frozenset(
    "billing_cycle_anchor billing_mode billing_schedules cancel_at cancel_at_period_end cancel_now "
    "default_tax_rates items metadata pause proration_behavior proration_date resume_at start_date "
    "trial_end".split()
)
_DETAILS_LATER = ("billing_schedules", "pause", "resume_at", "start_date")
# What of the details changes a running subscription, and so may bring an invoice at once.
_CHANGES = frozenset({"billing_cycle_anchor", "items", "trial_end"})
_OF_RUNNING = (
    "billing_cycle_anchor", "cancel_at", "cancel_at_period_end", "default_tax_rates", "items",
    "metadata", "proration_behavior", "proration_date", "trial_end",
)  # fmt: skip
_OF_NEW = (
    "billing_mode", "cancel_at", "cancel_at_period_end", "default_tax_rates", "items", "metadata",
    "proration_behavior", "trial_end",
)  # fmt: skip
_ITEM = frozenset(
    "amount currency description discountable discounts invoiceitem metadata period price "
    "price_data quantity quantity_decimal tax_behavior tax_code tax_rates unit_amount "
    "unit_amount_decimal".split()
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a preview is about. `update` has the parameters of the real call: an update of the
    subscription, or the creation of a new one. `items` are the preview's own, not stored; `changes`
    says whether the subscription would be changed now, `recurring` whether only what every period
    costs is asked for.
    """

    customer: dict[str, Any]
    subscription: dict[str, Any] | None
    details: Params
    update: Params
    items: list[dict[str, Any]]
    changes: bool
    recurring: bool


def read(tx: Transaction, params: Params) -> Wanted:
    """What the call asks about. Raises StripeError."""
    for name in _LATER:
        if params.given(name):
            raise not_played(f"`{name}` of previews", name)
    details = params.table("subscription_details") or Params({}, "subscription_details")
    details.allow(_DETAILS)
    for name in _DETAILS_LATER:
        if details.given(name):
            raise not_played(f"`{name}` of previews", details.name(name))
    subscription = _subscription(tx, params)
    customer = _customer(tx, params, subscription)
    _check(details, subscription)
    recurring = params.choice("preview_mode", ("next", "recurring"), "next") == "recurring"
    return Wanted(
        customer,
        subscription,
        details,
        _update(params, details, subscription, customer["id"]),
        [_item(tx, row, customer["id"]) for row in params.rows("invoice_items")],
        bool(_CHANGES & details.fields.keys()),
        recurring,
    )


def _subscription(tx: Transaction, params: Params) -> dict[str, Any] | None:
    subscription_id = params.text("subscription")
    if subscription_id is None:
        return None
    return records.get(tx, "subscription", subscription_id, param="subscription")


def _customer(
    tx: Transaction, params: Params, subscription: dict[str, Any] | None
) -> dict[str, Any]:
    customer_id = params.text("customer")
    if customer_id is None:
        if subscription is None:
            raise missing_parameter("customer")
        customer_id = subscription["customer"]
    elif subscription is not None and subscription["customer"] != customer_id:
        raise StripeError(
            f"The subscription {subscription['id']} does not belong to the customer {customer_id}.",
            param="subscription",
        )
    return records.get(tx, "customer", customer_id, param="customer")


def _check(details: Params, subscription: dict[str, Any] | None) -> None:
    if details.given("proration_date"):
        name = details.name("proration_date")
        if subscription is None:
            raise StripeError(
                "You must pass a `subscription` to preview with a proration date.", param=name
            )
        if details.text("proration_behavior") == "none":
            raise StripeError(
                "You cannot pass a proration date with `proration_behavior=none`.", param=name
            )
        if not _CHANGES & details.fields.keys() and not details.boolean("cancel_now"):
            raise StripeError(
                "You must pass `subscription_details[items]` or `subscription_details[trial_end]` "
                "to preview with a proration date.",
                param=name,
            )
    if details.boolean("cancel_now") and subscription is None:
        raise StripeError(
            "You must pass a `subscription` to preview its cancellation.",
            param=details.name("cancel_now"),
        )


def _update(
    params: Params, details: Params, subscription: dict[str, Any] | None, customer_id: str
) -> Params:
    names = _OF_NEW if subscription is None else _OF_RUNNING
    fields = {name: details.fields[name] for name in names if name in details}
    for name in ("automatic_tax", "discounts"):
        if name in params:
            fields[name] = params.fields[name]
    if subscription is None:
        fields["customer"] = customer_id
        if params.given("currency"):
            fields["currency"] = params.fields["currency"]
        if details.given("billing_cycle_anchor"):
            anchor = details.table("billing_cycle_anchor")
            fields["billing_cycle_anchor"] = anchor.text("timestamp") if anchor else ""
    return Params(fields)


def _item(tx: Transaction, row: Params, customer_id: str) -> dict[str, Any]:
    """An invoice item of the preview's own. Raises StripeError."""
    row.allow(_ITEM)
    for name in ("discounts", "invoiceitem"):
        if row.given(name):
            raise not_played(f"`{name}` of previews", row.name(name))
    fields = dict(row.fields)
    if row.given("price"):
        fields["pricing"] = {"price": fields.pop("price")}
    if row.given("unit_amount"):
        fields["unit_amount_decimal"] = fields.pop("unit_amount")
    return invoice_items.build(tx, Params(fields, row.path), customer_id)
