"""What a customer portal lets people do: the features of a portal configuration.

Owns their reading from parameters and the rules between them. Pure but for looking up the products
and prices that are named.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import records
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.params import Params

REASONS = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
)  # fmt: skip
_NAMES = (
    "customer_update", "invoice_history", "payment_method_update", "subscription_cancel",
    "subscription_pause", "subscription_update",
)  # fmt: skip
_DETAILS = ("address", "email", "name", "phone", "shipping", "tax_id")
_PRORATIONS = ("always_invoice", "create_prorations", "none")
_UPDATES = ("price", "promotion_code", "quantity")
_MOST_PRODUCTS = 10
_MOST_QUANTITY = 999_999


def blank() -> dict[str, Any]:
    """The features of a configuration that allows nothing."""
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {
                "enabled": False,
                "feedback_options": None,
                "options": ["too_expensive", "missing_features", "switched_service", "unused",
                            "other"],
            },
            "enabled": False,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_pause": {
            "duration": {
                "interval_options": [{"interval": "month", "interval_count": 1}],
                "type": "interval_options",
            },
            "enabled": False,
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": [],
            "enabled": False,
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }  # fmt: skip


def of_dashboard() -> dict[str, Any]:
    """The features of an account that has saved its portal's settings without changing them:
    everything but changing plans, for which the seller has to say which there are.
    """
    features = blank()
    for name in ("customer_update", "invoice_history", "payment_method_update",
                 "subscription_cancel"):  # fmt: skip
        features[name]["enabled"] = True
    features["customer_update"]["allowed_updates"] = ["email", "address", "phone", "tax_id"]
    features["subscription_cancel"]["cancellation_reason"]["enabled"] = True
    return features


def merged(params: Params, before: dict[str, Any]) -> dict[str, Any]:
    """`before` with what `params` says of each feature. Raises StripeError."""
    params.allow(_NAMES)
    after = dict(before)
    for name, read in _READERS.items():
        table = params.table(name)
        if table is not None:
            table.require("enabled", *(["allowed_updates"] if _opens(table, name, before) else []))
            after[name] = {**before[name], **read(table, before[name])}
            after[name]["enabled"] = table.boolean("enabled")
    _check_pair(after)
    return after


def _opens(table: Params, name: str, before: dict[str, Any]) -> bool:
    """Whether the details of a customer are opened to changes without saying which."""
    if name != "customer_update" or before[name]["allowed_updates"]:
        return False
    return table.given("enabled") and table.boolean("enabled")


def products(
    tx: Transaction, params: Params | None, before: list[dict[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """The products that a subscription may be changed to, each with its prices, as the feature
    `subscription_update` names them; `before` when it says nothing. Raises StripeError.
    """
    table = params.table("subscription_update") if params is not None else None
    if table is None or "products" not in table:
        found = before
    else:
        rows = table.rows("products")
        if len(rows) > _MOST_PRODUCTS:
            raise StripeError(
                f"You can specify at most {_MOST_PRODUCTS} products.", param=table.name("products")
            )
        found = [_product(tx, row) for row in rows] or None
    if table is not None and table.boolean("enabled") and not found:
        raise missing_parameter(table.name("products"))
    return found


def _product(tx: Transaction, row: Params) -> dict[str, Any]:
    row.allow(("adjustable_quantity", "prices", "product"))
    row.require("prices", "product")
    product = records.get(tx, "product", row.need_text("product"), param=row.name("product"))
    ids = row.strings("prices")
    rhythms = set()
    for place, price_id in enumerate(ids):
        param = f"{row.name('prices')}[{place}]"
        price = records.get(tx, "price", price_id, param=param)
        if price["product"] != product["id"]:
            raise StripeError(
                f"The price `{price_id}` does not belong to the product `{product['id']}`.",
                param=param,
            )
        if price["recurring"] is None:
            raise StripeError(
                f"The price `{price_id}` is not recurring, so no subscription can be updated to "
                "it.", param=param,
            )  # fmt: skip
        rhythms.add((price["recurring"]["interval"], price["recurring"]["interval_count"]))
    if len(rhythms) < len(ids):
        raise StripeError(
            f"The prices of the product `{product['id']}` must have different billing intervals.",
            param=row.name("prices"),
        )
    return {
        "adjustable_quantity": _adjustable(row.table("adjustable_quantity")),
        "prices": ids,
        "product": product["id"],
    }


def _adjustable(table: Params | None) -> dict[str, Any]:
    if table is None:
        return {"enabled": False, "maximum": None, "minimum": 1}
    return {
        "enabled": table.boolean("enabled"),
        "maximum": table.integer("maximum", low=1, high=_MOST_QUANTITY),
        "minimum": table.integer("minimum", low=0, high=_MOST_QUANTITY) or 1,
    }


def _check_pair(features: dict[str, Any]) -> None:
    update, cancel = features["subscription_update"], features["subscription_cancel"]
    if update["enabled"] and not features["payment_method_update"]["enabled"]:
        raise StripeError(
            "Cannot enable subscription updates while payment method update is disabled.",
            param="features[subscription_update][enabled]",
        )
    param = "features[subscription_cancel][proration_behavior]"
    if cancel["proration_behavior"] == "always_invoice":
        raise StripeError("`always_invoice` is not supported for cancellations.", param=param)
    if cancel["proration_behavior"] != "none" and cancel["mode"] != "immediately":
        raise StripeError(
            "`create_prorations` is only compatible with the cancellation mode `immediately`.",
            param=param,
        )


def _choices(table: Params, name: str, options: tuple[str, ...]) -> list[str]:
    values = table.strings(name)
    for place, value in enumerate(values):
        if value not in options:
            raise StripeError(
                f"Invalid {table.name(name)}[{place}]: must be one of {', '.join(options)}",
                param=f"{table.name(name)}[{place}]",
            )
    return values


def _customer_update(table: Params, before: dict[str, Any]) -> dict[str, Any]:
    table.allow(("allowed_updates", "enabled"))
    if "allowed_updates" not in table:
        return {}
    return {"allowed_updates": _choices(table, "allowed_updates", _DETAILS)}


def _invoice_history(table: Params, before: dict[str, Any]) -> dict[str, Any]:
    table.allow(("enabled",))
    return {}


def _method_update(table: Params, before: dict[str, Any]) -> dict[str, Any]:
    table.allow(("enabled", "payment_method_configuration"))
    if table.given("payment_method_configuration"):
        raise not_played(
            "payment method configurations", table.name("payment_method_configuration")
        )
    return {}


def _cancel(table: Params, before: dict[str, Any]) -> dict[str, Any]:
    table.allow(("cancellation_reason", "enabled", "mode", "proration_behavior"))
    changed: dict[str, Any] = {}
    if table.given("mode"):
        changed["mode"] = table.choice("mode", ("at_period_end", "immediately"))
    if table.given("proration_behavior"):
        changed["proration_behavior"] = table.choice("proration_behavior", _PRORATIONS)
    reason = table.table("cancellation_reason")
    if reason is not None:
        reason.allow(("enabled", "feedback_options", "options"))
        reason.require("enabled")
        if reason.given("feedback_options"):
            raise not_played("feedback options of your own", reason.name("feedback_options"))
        changed["cancellation_reason"] = {
            **before["cancellation_reason"], "enabled": reason.boolean("enabled")
        }  # fmt: skip
        if "options" in reason:
            options = _choices(reason, "options", REASONS)
            changed["cancellation_reason"]["options"] = options
    return changed


def _pause(table: Params, before: dict[str, Any]) -> dict[str, Any]:
    if table.boolean("enabled"):
        raise not_played("pausing in the portal", table.name("enabled"))
    return {}


def _update(table: Params, before: dict[str, Any]) -> dict[str, Any]:
    table.allow(
        ("billing_cycle_anchor", "default_allowed_updates", "enabled", "products",
         "proration_behavior", "schedule_at_period_end", "trial_update_behavior")
    )  # fmt: skip
    changed: dict[str, Any] = {}
    for name, options in (
        ("billing_cycle_anchor", ("now", "unchanged")),
        ("proration_behavior", _PRORATIONS),
        ("trial_update_behavior", ("continue_trial", "end_trial")),
    ):
        if table.given(name):
            changed[name] = table.choice(name, options)
    if "default_allowed_updates" in table:
        changed["default_allowed_updates"] = _choices(table, "default_allowed_updates", _UPDATES)
    elif table.boolean("enabled") and not before["default_allowed_updates"]:
        raise missing_parameter(table.name("default_allowed_updates"))
    later = table.table("schedule_at_period_end")
    if later is not None and later.rows("conditions"):
        raise not_played("updates scheduled for the end of the period", later.name("conditions"))
    return changed


_READERS = {
    "customer_update": _customer_update,
    "invoice_history": _invoice_history,
    "payment_method_update": _method_update,
    "subscription_cancel": _cancel,
    "subscription_pause": _pause,
    "subscription_update": _update,
}
