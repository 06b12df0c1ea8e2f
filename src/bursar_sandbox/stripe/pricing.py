"""Builds prices from their parameters: amounts, tiers, recurrence, currency options.

Owns the price object. Never finds or makes the product: the caller names it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, metadata, records
from bursar_sandbox.stripe.currencies import check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_objects import plan_of

DEFAULT_PRICE_PARAMS = frozenset(
    "currency currency_options custom_unit_amount metadata recurring tax_behavior unit_amount "
    "unit_amount_decimal".split()
)
_RECURRING = ("interval", "interval_count", "meter", "trial_period_days", "usage_type")
_INTERVALS = ("day", "month", "week", "year")
_BEHAVIORS = ("exclusive", "inclusive", "unspecified")
_MAX_UNIT = 10**12


def build(
    tx: Transaction, params: Params, product_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A new price, not stored yet, and its private part. Raises StripeError."""
    currency = check_currency(params.need_text("currency"), params.name("currency"))
    scheme = params.choice("billing_scheme", ("per_unit", "tiered"), "per_unit")
    recurring = _recurring(params.table("recurring"))
    custom = _custom_amount(params.table("custom_unit_amount"))
    tiers = [_tier(row) for row in params.rows("tiers")]
    private: dict[str, Any] = {}
    if scheme == "tiered":
        params.require("tiers", "tiers_mode")
        private["tiers"] = tiers
    amount = None if custom or scheme == "tiered" else _amount(params)
    options = params.table("currency_options")
    if options is not None:
        private["currency_options"] = {
            check_currency(name, "currency_options"): _option(options.table(name), options, name)
            for name in options.fields
        }
    price = {
        "id": new_id("price"),
        "object": "price",
        "active": params.boolean("active", True),
        "billing_scheme": scheme,
        "created": tx.now,
        "currency": currency,
        "custom_unit_amount": custom,
        "livemode": False,
        "lookup_key": None,
        "metadata": metadata.merged(params),
        "nickname": params.text("nickname"),
        "product": product_id,
        "recurring": recurring,
        "tax_behavior": params.choice("tax_behavior", _BEHAVIORS, "unspecified"),
        "tiers_mode": params.choice("tiers_mode", ("graduated", "volume")),
        "transform_quantity": _transform(params.table("transform_quantity")),
        "type": "recurring" if recurring else "one_time",
        **_amount_fields(amount),
    }
    return price, private


def add(tx: Transaction, params: Params, product_id: str) -> dict[str, Any]:
    """A new, stored price of the product. Raises StripeError."""
    price, private = build(tx, params, product_id)
    if "lookup_key" in params:
        price["lookup_key"] = claim_lookup_key(tx, params, price["id"])
    records.insert(tx, price, private)
    if price["recurring"]:
        # Who listens for what it was called before hears of it, too.
        events.emit(tx, "plan.created", plan_of(price))
    events.emit(tx, "price.created", price)
    return price


def claim_lookup_key(tx: Transaction, params: Params, price_id: str) -> str | None:
    """The lookup key for the price; taken from its holder when the call says so."""
    key = params.text("lookup_key", limit=200)
    if key is None:
        return None
    row = tx.execute(
        "SELECT id FROM objects WHERE object = 'price' AND label = ? AND id != ?"
        " AND body ->> '$.active' = 1",
        (key, price_id),
    ).fetchone()
    if row is None:
        return key
    if not params.boolean("transfer_lookup_key"):
        raise StripeError(
            f"A price (`{row[0]}`) already uses that lookup key. Set `transfer_lookup_key` to true "
            "to move it to this price.",
            param="lookup_key",
        )
    holder = records.get(tx, "price", row[0])
    after = {**holder, "lookup_key": None}
    records.replace(tx, after)
    events.emit_update(tx, holder, after)
    return key


def _amount(params: Params) -> Decimal:
    if params.given("unit_amount") and params.given("unit_amount_decimal"):
        raise StripeError(
            "You may only specify one of these parameters: unit_amount, unit_amount_decimal.",
            code="parameters_exclusive",
            param=params.name("unit_amount"),
        )
    whole = params.integer("unit_amount", low=0, high=_MAX_UNIT)
    if whole is not None:
        return Decimal(whole)
    exact = params.decimal("unit_amount_decimal")
    if exact is None:
        raise missing_parameter(params.name("unit_amount"))
    if exact < 0:
        raise StripeError(
            "This value must be greater than or equal to 0.",
            param=params.name("unit_amount_decimal"),
        )
    return exact


def _amount_fields(amount: Decimal | None) -> dict[str, Any]:
    if amount is None:
        return {"unit_amount": None, "unit_amount_decimal": None}
    whole = amount == amount.to_integral_value()
    return {"unit_amount": int(amount) if whole else None, "unit_amount_decimal": _plain(amount)}


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _recurring(params: Params | None) -> dict[str, Any] | None:
    if params is None:
        return None
    params.allow(_RECURRING)
    params.require("interval")
    return {
        "interval": params.choice("interval", _INTERVALS),
        "interval_count": params.integer("interval_count", low=1, high=1095) or 1,
        "meter": params.text("meter"),
        "trial_period_days": params.integer("trial_period_days", low=1),
        "usage_type": params.choice("usage_type", ("licensed", "metered"), "licensed"),
    }


def _custom_amount(params: Params | None) -> dict[str, Any] | None:
    if params is None or not params.boolean("enabled"):
        return None
    return {key: params.integer(key, low=0) for key in ("maximum", "minimum", "preset")}


def _tier(row: Params) -> dict[str, Any]:
    row.require("up_to")
    tier: dict[str, Any] = {"up_to": None if row.text("up_to") == "inf" else row.integer("up_to")}
    for name in ("flat_amount", "unit_amount"):
        number = row.decimal(f"{name}_decimal")
        if row.given(name):
            number = Decimal(row.need_integer(name, low=0))
        whole = number is not None and number == number.to_integral_value()
        tier[name] = int(number) if number is not None and whole else None
        tier[f"{name}_decimal"] = _plain(number) if number is not None else None
    return tier


def _option(option: Params | None, options: Params, name: str) -> dict[str, Any]:
    if option is None:
        raise StripeError("Invalid object", param=options.name(name))
    custom = _custom_amount(option.table("custom_unit_amount"))
    return {
        "custom_unit_amount": custom,
        "tax_behavior": option.choice("tax_behavior", _BEHAVIORS, "unspecified"),
        **_amount_fields(None if custom else _amount(option)),
    }


def _transform(params: Params | None) -> dict[str, Any] | None:
    if params is None:
        return None
    params.require("divide_by", "round")
    return {
        "divide_by": params.need_integer("divide_by", low=1),
        "round": params.choice("round", ("down", "up")),
    }
