"""Reads the parameters of subscriptions: items, trial, settings, and what is refused aloud.

Never stores anything but the prices that a call makes up on the way, and never emits an event.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    line_items,
    metadata,
    methods,
    records,
    subscription_lines,
    subscription_objects,
    subscription_totals,
)
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.intent_params import payment_method_types
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.periods import DAY

_BOTH = (
    "add_invoice_items application_fee_percent automatic_tax billing_cycle_anchor "
    "billing_schedules billing_thresholds cancel_at cancel_at_period_end collection_method "
    "days_until_due default_payment_method default_source default_tax_rates description discounts "
    "invoice_settings items metadata off_session on_behalf_of payment_behavior payment_settings "
    "pending_invoice_item_interval proration_behavior transfer_data trial_end trial_from_plan "
    "trial_settings"
)
CREATE = (
    f"{_BOTH} backdate_start_date billing_cycle_anchor_config billing_mode currency customer "
    "customer_account trial_period_days"
)
UPDATE = f"{_BOTH} cancellation_details pause_collection proration_date"
BEHAVIORS = (
    "allow_incomplete",
    "default_incomplete",
    "error_if_incomplete",
    "pending_if_incomplete",
)
PRORATIONS = ("always_invoice", "create_prorations", "none")
FEEDBACK = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
)  # fmt: skip
_LATER = (
    "application_fee_percent", "backdate_start_date", "billing_cycle_anchor_config",
    "billing_schedules", "billing_thresholds", "customer_account", "on_behalf_of",
    "pending_invoice_item_interval", "transfer_data",
)  # fmt: skip
_ITEM = frozenset(
    "billing_thresholds clear_usage current_trial deleted discounts id metadata plan price "
    "price_data quantity tax_rates".split()
)
MAX_ITEMS = 20
_FARTHEST_TRIAL_DAYS = 730


def check_played(params: Params) -> None:
    """Raise StripeError for what the sandbox's subscriptions don't do."""
    for name in _LATER:
        if params.given(name):
            raise not_played(f"`{name}` of subscriptions", name)
    if behavior_of(params) == "pending_if_incomplete":
        raise not_played("updates that wait for their payment", "payment_behavior")


def behavior_of(params: Params) -> str:
    """What happens when the first payment fails."""
    return params.choice("payment_behavior", BEHAVIORS) or "allow_incomplete"


def proration_of(params: Params) -> str:
    """What a change within a period is charged for, and when."""
    return params.choice("proration_behavior", PRORATIONS) or "create_prorations"


def price_of(tx: Transaction, row: Params, *, archived: bool = False) -> dict[str, Any] | None:
    """The recurring price that an item names, or makes up; None if it names none."""
    name = row.name("price" if row.given("price") else "plan")
    if row.given("price_data") or row.given("price"):
        price = line_items.price_of(tx, row, archived=archived)
    elif row.given("plan"):
        price = records.get(tx, "price", row.need_text("plan"), param=name, word="plan")
    else:
        return None
    if price["recurring"] is None:
        raise StripeError(
            "The price specified is set to `type=one_time` but this field only accepts prices with "
            "`type=recurring`.",
            param=name,
        )
    if price["recurring"]["usage_type"] == "metered":
        raise not_played("metered prices", name)
    return price


def item_of(
    tx: Transaction, row: Params, subscription: dict[str, Any], *, archived: bool = False
) -> dict[str, Any]:
    """The new item that a row of `items` asks for. Raises StripeError."""
    price = price_of(tx, row, archived=archived)
    if price is None:
        raise missing_parameter(row.name("price"))
    item = subscription_objects.item(tx, subscription["id"], price)
    describe_item(tx, item, row, subscription["currency"])
    return item


def describe_item(tx: Transaction, item: dict[str, Any], row: Params, currency: str) -> None:
    """Set what a row of `items` names of an item apart from its price. Raises StripeError."""
    row.allow(_ITEM)
    for name in ("billing_thresholds", "current_trial", "discounts"):
        if row.given(name):
            raise not_played(f"`{name}` of subscription items", row.name(name))
    quantity = row.integer("quantity", low=0, high=999_999)
    if quantity is not None:
        item["quantity"] = quantity
    item["metadata"] = metadata.merged(row, item["metadata"])
    if "tax_rates" in row:
        item["tax_rates"] = rates_of(tx, row)
    # A price that has nothing to say in this currency is refused here, before anything is made.
    subscription_lines.amount_of(tx, item["price"], 1, currency, row.name("price"))


def currency_of(tx: Transaction, params: Params, *, archived: bool = False) -> str:
    """The currency of a new subscription: the one that is asked for, or its first price's."""
    rows = params.rows("items")
    if not rows:
        raise missing_parameter("items")
    if len(rows) > MAX_ITEMS:
        raise StripeError(f"A subscription has at most {MAX_ITEMS} items.", param="items")
    asked = params.text("currency")
    if asked is not None:
        return asked.lower()
    data = rows[0].table("price_data")
    if data is not None:
        return data.need_text("currency").lower()
    price = price_of(tx, rows[0], archived=archived)
    if price is None:
        raise missing_parameter(rows[0].name("price"))
    return str(price["currency"])


def trial_end_of(tx: Transaction, params: Params, items: list[dict[str, Any]]) -> int | None:
    """When the trial that a call asks for ends; None for no trial. Raises StripeError."""
    days = params.integer("trial_period_days", low=0, high=_FARTHEST_TRIAL_DAYS)
    if days is not None and params.given("trial_end"):
        raise StripeError(
            "You may only specify one of these parameters: trial_end, trial_period_days.",
            code="parameters_exclusive",
            param="trial_end",
        )
    if params.boolean("trial_from_plan"):
        if days is not None or params.given("trial_end"):
            raise StripeError(
                "You cannot set `trial_end` or `trial_period_days` when `trial_from_plan=true`.",
                param="trial_from_plan",
            )
        days = max(item["price"]["recurring"]["trial_period_days"] or 0 for item in items)
    if params.text("trial_end") == "now":
        return None
    end = params.integer("trial_end")
    if end is not None:
        check_trial_end(tx, end)
        return end
    return tx.now + days * DAY if days else None


def check_trial_end(tx: Transaction, end: int) -> None:
    """Raise StripeError for a trial that can't end then."""
    if end <= tx.now:
        raise StripeError(
            "Invalid timestamp: must be an integer Unix timestamp in the future.",
            param="trial_end",
        )
    if end > tx.now + (_FARTHEST_TRIAL_DAYS + 1) * DAY:
        raise StripeError(
            "Invalid timestamp: a trial can last at most two years.", param="trial_end"
        )


def describe(tx: Transaction, subscription: dict[str, Any], params: Params) -> None:
    """Set what the parameters name of a subscription's settings. Raises StripeError."""
    subscription["metadata"] = metadata.merged(params, subscription["metadata"])
    if "description" in params:
        subscription["description"] = params.text("description", limit=500)
    _set_collection(subscription, params)
    _set_methods(tx, subscription, params)
    if "default_tax_rates" in params:
        ids = params.strings("default_tax_rates")
        subscription["default_tax_rates"] = subscription_totals.rates_of(
            tx, ids, "default_tax_rates"
        )
    tax = params.table("automatic_tax")
    if tax is not None:
        _set_tax(tx, subscription, tax)
    settings = params.table("trial_settings")
    if settings is not None:
        _set_trial_behavior(subscription, settings)
    settings = params.table("payment_settings")
    if settings is not None:
        _set_payment(subscription, settings)
    settings = params.table("invoice_settings")
    if settings is not None:
        _set_invoices(subscription, settings)


def _set_collection(subscription: dict[str, Any], params: Params) -> None:
    if params.given("collection_method"):
        subscription["collection_method"] = params.choice(
            "collection_method", ("charge_automatically", "send_invoice")
        )
    days = params.integer("days_until_due", low=0, high=3650)
    sent = subscription["collection_method"] == "send_invoice"
    if days is not None and not sent:
        raise StripeError(
            "`days_until_due` can only be set for subscriptions with `collection_method` set to "
            "`send_invoice`.",
            param="days_until_due",
        )
    subscription["days_until_due"] = (
        (days if days is not None else subscription["days_until_due"]) if sent else None
    )
    if sent and subscription["days_until_due"] is None:
        raise StripeError(
            "If `collection_method` is set to `send_invoice`, `days_until_due` must be specified "
            "as well.",
            code="parameter_missing",
            param="days_until_due",
        )


def _set_methods(tx: Transaction, subscription: dict[str, Any], params: Params) -> None:
    for name in ("default_payment_method", "default_source"):
        if name not in params:
            continue
        method_id = params.text(name)
        if method_id is not None:
            method = methods.usable(tx, method_id, name)
            method_id = method["id"]
            if method["customer"] != subscription["customer"]:
                raise StripeError(
                    "The customer does not have a payment method with the ID "
                    f"{method_id}. The payment method must be attached to the customer.",
                    code="resource_missing",
                    param=name,
                )
        subscription[name] = method_id


def _set_tax(tx: Transaction, subscription: dict[str, Any], table: Params) -> None:
    enabled = table.boolean("enabled")
    customer = records.get(tx, "customer", subscription["customer"])
    if enabled and not (customer["address"] or {}).get("country"):
        raise StripeError(
            "The customer's location isn't recognized. Set a valid customer address in order to "
            "automatically calculate tax.",
            code="customer_tax_location_invalid",
            param="automatic_tax[enabled]",
        )
    subscription["automatic_tax"] = {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": {"type": "self"} if enabled else None,
    }


def _set_trial_behavior(subscription: dict[str, Any], settings: Params) -> None:
    behavior = settings.table("end_behavior")
    if behavior is None:
        raise missing_parameter(settings.name("end_behavior"))
    if behavior.given("billing_cycle_anchor"):
        raise not_played("`billing_cycle_anchor` at a trial's end", behavior.path)
    behavior.require("missing_payment_method")
    missing = behavior.choice("missing_payment_method", ("cancel", "create_invoice", "pause"))
    subscription["trial_settings"] = subscription_objects.trial_settings(missing)


def _set_payment(subscription: dict[str, Any], settings: Params) -> None:
    shown = dict(subscription["payment_settings"])
    if "payment_method_types" in settings:
        shown["payment_method_types"] = payment_method_types(settings) or None
    if settings.given("save_default_payment_method"):
        shown["save_default_payment_method"] = settings.choice(
            "save_default_payment_method", ("off", "on_subscription")
        )
    subscription["payment_settings"] = shown


def _set_invoices(subscription: dict[str, Any], settings: Params) -> None:
    shown = dict(subscription["invoice_settings"])
    for name in ("description", "footer"):
        if name in settings:
            shown[name] = settings.text(name)
    if "custom_fields" in settings:
        shown["custom_fields"] = [
            {"name": row.need_text("name"), "value": row.need_text("value")}
            for row in settings.rows("custom_fields")
        ] or None
    subscription["invoice_settings"] = shown


def rates_of(tx: Transaction, row: Params) -> list[dict[str, Any]]:
    """The tax rates that a row names of its own. Raises StripeError."""
    return subscription_totals.rates_of(tx, row.strings("tax_rates"), row.name("tax_rates"))
