"""The shapes of a subscription and its items, as Stripe's API shows them.

Owns what they look like. Never stores one and never reckons an amount.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.ids import new_id

LIVE = frozenset({"active", "incomplete", "past_due", "paused", "trialing", "unpaid"})
ENDED = frozenset({"canceled", "incomplete_expired"})


def blank(tx: Transaction, customer: dict[str, Any], currency: str) -> dict[str, Any]:
    """A new subscription without items that starts now, not stored yet."""
    subscription_id = new_id("sub")
    return {
        "id": subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": tx.now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {
            "comment": None,
            "feedback": None,
            "feedback_option": None,
            "reason": None,
        },
        "collection_method": "charge_automatically",
        "created": tx.now,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": shown(subscription_id, []),
        "latest_invoice": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": tx.now,
        "status": "incomplete",
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": trial_settings("create_invoice"),
        "trial_start": None,
    }


def trial_settings(missing: str | None) -> dict[str, Any]:
    """A subscription's `trial_settings`; `missing` says what ends a trial without a card."""
    behavior = {"billing_cycle_anchor": None, "missing_payment_method": missing}
    return {"end_behavior": behavior}


def item(tx: Transaction, subscription_id: str, price: dict[str, Any]) -> dict[str, Any]:
    """A new item of the subscription that sells one of the price; its period is yet to be set."""
    return {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": tx.now,
        "current_period_end": tx.now,
        "current_period_start": tx.now,
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "plan": plan_of(price),
        "price": price,
        "quantity": 1,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def plan_of(price: dict[str, Any]) -> dict[str, Any]:
    """The older object that Stripe shows beside a recurring price."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def shown(subscription_id: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A subscription's `items`, as a list object."""
    return {
        "object": "list",
        "data": items,
        "has_more": False,
        "url": f"/v1/subscription_items?subscription={subscription_id}",
    }


def items_of(subscription: dict[str, Any]) -> list[dict[str, Any]]:
    """The subscription's items, in their order."""
    items: list[dict[str, Any]] = subscription["items"]["data"]
    return items


def period_end(subscription: dict[str, Any]) -> int:
    """When the earliest of the items' periods ends."""
    return min(int(item["current_period_end"]) for item in items_of(subscription))
