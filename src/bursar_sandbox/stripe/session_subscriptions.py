"""Checkout sessions in subscription mode: what the seller asks of the subscription, and its trial.

Owns the reading of `subscription_data`. The subscription itself is made when the session is
complete; until then its wishes are kept, as they were sent, with the session.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import line_items, metadata, records
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.params import Params

_DATA = frozenset(
    "application_fee_percent billing_cycle_anchor billing_mode default_tax_rates description "
    "invoice_settings metadata on_behalf_of pending_invoice_item_interval proration_behavior "
    "transfer_data trial_end trial_period_days trial_settings".split()
)
_LATER = ("application_fee_percent", "billing_cycle_anchor", "invoice_settings", "on_behalf_of",
          "pending_invoice_item_interval", "transfer_data")  # fmt: skip
_DAY = 24 * 3600
_SHORTEST_TRIAL = 2 * _DAY
_LONGEST_TRIAL_DAYS = 730
_MISSING_METHOD = ("cancel", "create_invoice", "pause")


def check(params: Params) -> None:
    """Raise StripeError for what a session in subscription mode can't be."""
    if not params.given("line_items"):
        raise missing_parameter("line_items")
    if params.given("customer_creation"):
        raise StripeError(
            "`customer_creation` can only be used in `payment` and `setup` mode.",
            param="customer_creation",
        )


def begin(tx: Transaction, params: Params, private: dict[str, Any]) -> dict[str, Any]:
    """Note in `private`, which has the line items, what the subscription shall be; the fields
    of the session that come of it. Raises StripeError.
    """
    _check_items(params.rows("line_items"), private["line_items"])
    buyer = tx.find(params.text("customer") or "") or {}
    if buyer.get("discount"):
        raise not_played("checkout sessions of customers with a discount", "customer")
    private["subscription"] = _wanted(tx, params)
    free_at_first(private)
    return {
        "customer_creation": None if params.given("customer") else "always",
        "invoice_creation": None,
        "mode": "subscription",
        "payment_method_collection": params.choice(
            "payment_method_collection", ("always", "if_required"), "always"
        ),
    }


def _check_items(rows: list[Params], items: list[dict[str, Any]]) -> None:
    """Raise StripeError unless the items renew, all in the same rhythm, or are sold once beside."""
    recurring = [item for item in items if item["price"]["recurring"]]
    if not recurring:
        raise StripeError(
            "You must provide at least one recurring price in `subscription` mode when using "
            "prices.",
            param="line_items",
        )
    for row, item in zip(rows, items, strict=True):
        if item["price"]["recurring"] and item["price"]["recurring"]["usage_type"] == "metered":
            raise not_played("metered prices", row.name("price"))
    rhythms = {rhythm_of(item["price"]) for item in recurring}
    if len(rhythms) > 1:
        raise StripeError(
            "Checkout does not support multiple prices with different billing intervals.",
            param="line_items",
        )


def rhythm_of(price: dict[str, Any]) -> tuple[str, int]:
    """How often a recurring price is charged: `("month", 1)`."""
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _wanted(tx: Transaction, params: Params) -> dict[str, Any]:
    """The checked `subscription_data`, decoded but otherwise as it was sent. Raises StripeError."""
    data = params.table("subscription_data")
    if data is None:
        return {}
    data.allow(_DATA)
    for name in _LATER:
        if data.given(name):
            raise not_played(f"`{name}` of checkout sessions", data.name(name))
    metadata.merged(data)
    data.text("description", limit=500)
    data.choice("proration_behavior", ("create_prorations", "none"))
    for place, rate_id in enumerate(data.strings("default_tax_rates")):
        param = f"{data.name('default_tax_rates')}[{place}]"
        records.get(tx, "tax_rate", rate_id, param=param)
    _check_trial(tx, data)
    return dict(data.fields)


def _check_trial(tx: Transaction, data: Params) -> None:
    days = data.integer("trial_period_days", low=1)
    end = data.integer("trial_end")
    if days is not None and end is not None:
        raise StripeError(
            "You may only specify one of these parameters: subscription_data[trial_end], "
            "subscription_data[trial_period_days].",
            code="parameters_exclusive",
            param=data.name("trial_end"),
        )
    if days is not None and days > _LONGEST_TRIAL_DAYS:
        raise StripeError(
            f"Trial periods can be at most {_LONGEST_TRIAL_DAYS} days.",
            param=data.name("trial_period_days"),
        )
    if end is not None and end < tx.now + _SHORTEST_TRIAL:
        raise StripeError(
            "The `trial_end` date has to be at least 2 days in the future.",
            param=data.name("trial_end"),
        )
    settings = data.table("trial_settings")
    if settings is None:
        return
    behavior = settings.table("end_behavior")
    if behavior is None or not behavior.given("missing_payment_method"):
        raise missing_parameter(f"{settings.name('end_behavior')}[missing_payment_method]")
    behavior.choice("missing_payment_method", _MISSING_METHOD)
    if days is None and end is None:
        raise StripeError(
            "`subscription_data[trial_settings]` can only be set when there is a trial.",
            param=data.name("trial_settings"),
        )


def trial_end(private: dict[str, Any], now: int) -> int | None:
    """When the trial of a subscription that begins `now` ends; None for one without a trial."""
    data = Params(private.get("subscription") or {})
    days = data.integer("trial_period_days")
    return now + days * _DAY if days is not None else data.integer("trial_end")


def default_rates(private: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """The ids of the subscription's own tax rates, by item; a rate of the item's goes before."""
    rates = Params(private.get("subscription") or {}).strings("default_tax_rates")
    if not rates:
        return {}
    return {str(item["id"]): {"fixed": rates, "dynamic": []} for item in private["line_items"]}


def free_at_first(private: dict[str, Any]) -> None:
    """While there is a trial, what recurs costs nothing today; the caller reckons anew."""
    if trial_end(private, 0) is None:
        return
    for item in private["line_items"]:
        if item["price"]["recurring"]:
            item.update(amount_subtotal=0, amount_discount=0, amount_tax=0, amount_total=0)


def at_full_price(tx: Transaction, item: dict[str, Any]) -> dict[str, Any]:
    """A line item as its subscription charges it after the trial, before discount and tax."""
    return {**item, "amount_subtotal": line_items.amount_of(tx, item)}
