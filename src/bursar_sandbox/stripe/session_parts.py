"""The parts of a checkout session that have little effect here: shown as asked for, or empty.

Pure: reads parameters and returns plain mappings.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import metadata
from bursar_sandbox.stripe.params import Params

_EMPTY: tuple[str, ...] = (
    "after_expiration", "allow_promotion_codes", "allowed_payment_method_types",
    "billing_address_collection", "client_secret", "collected_information", "consent",
    "consent_collection", "currency_conversion", "customer_account", "integration_identifier",
    "invoice", "locale", "managed_payments", "origin_context", "payment_intent", "payment_link",
    "payment_method_configuration_details", "permissions", "recovered_from",
    "saved_payment_method_options", "setup_intent", "shipping_address_collection", "shipping_cost",
    "submit_type", "subscription", "wallet_options",
)  # fmt: skip
_TEXTS: dict[str, tuple[str, ...]] = {
    "billing_address_collection": ("auto", "required"),
    "origin_context": ("mobile_app", "web"),
    "submit_type": ("auto", "book", "donate", "pay", "subscribe"),
}
_THREE_D_SECURE = ("any", "automatic", "challenge")


def empty() -> dict[str, Any]:
    """Every such field of a session that asked for nothing."""
    return {
        **dict.fromkeys(_EMPTY),
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "discounts": [],
        "invoice_creation": _invoice_creation(None),
        "livemode": False,
        "payment_method_collection": "if_required",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
    }


def echoed(params: Params) -> dict[str, Any]:
    """What the parameters change of that. Raises StripeError."""
    shown: dict[str, Any] = {
        name: params.choice(name, options) for name, options in _TEXTS.items() if params.given(name)
    }
    for name in ("locale", "integration_identifier"):
        if params.given(name):
            shown[name] = params.text(name)
    for name in ("phone_number_collection", "managed_payments"):
        table = params.table(name)
        if table is not None:
            shown[name] = {"enabled": table.boolean("enabled")}
    for name, part in _PARTS.items():
        table = params.table(name)
        if table is not None:
            shown[name] = part(table)
    if params.given("allowed_payment_method_types"):
        shown["allowed_payment_method_types"] = params.strings("allowed_payment_method_types")
    if params.given("excluded_payment_method_types"):
        shown["excluded_payment_method_types"] = params.strings("excluded_payment_method_types")
    if params.given("custom_fields"):
        shown["custom_fields"] = [_custom_field(row) for row in params.rows("custom_fields")]
    return shown


def method_options(params: Params, kinds: list[str]) -> dict[str, Any]:
    """The session's `payment_method_options`."""
    options: dict[str, Any] = {}
    given = params.table("payment_method_options")
    if "card" in kinds:
        card = (given and given.table("card")) or Params({})
        options["card"] = {
            "request_three_d_secure": card.choice(
                "request_three_d_secure", _THREE_D_SECURE, "automatic"
            )
        }
        for name, choices in (
            ("capture_method", ("manual",)),
            ("setup_future_usage", ("none", "off_session", "on_session")),
        ):
            if card.given(name):
                options["card"][name] = card.choice(name, choices)
    if "sepa_debit" in kinds and given and given.given("sepa_debit"):
        options["sepa_debit"] = {}
    if "us_bank_account" in kinds:
        options["us_bank_account"] = {"verification_method": "automatic"}
    return options


def _adaptive_pricing(table: Params) -> dict[str, Any]:
    table.allow(("enabled",))
    return {"enabled": table.boolean("enabled", default=True)}


def _automatic_tax(table: Params) -> dict[str, Any]:
    enabled = table.boolean("enabled")
    return {
        "enabled": enabled,
        "liability": {"type": "self"} if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": "requires_location_inputs" if enabled else None,
    }


def _after_expiration(table: Params) -> dict[str, Any]:
    recovery = table.table("recovery")
    return {
        "recovery": recovery
        and {
            "allow_promotion_codes": recovery.boolean("allow_promotion_codes"),
            "enabled": recovery.boolean("enabled"),
            "expires_at": None,
            "url": None,
        }
    }


def _consent_collection(table: Params) -> dict[str, Any]:
    agreement = table.table("payment_method_reuse_agreement")
    return {
        "payment_method_reuse_agreement": agreement
        and {"position": agreement.choice("position", ("auto", "hidden"), "auto")},
        "promotions": table.choice("promotions", ("auto", "none")),
        "terms_of_service": table.choice("terms_of_service", ("none", "required")),
    }


def _custom_text(table: Params) -> dict[str, Any]:
    texts: dict[str, Any] = {}
    for name in ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"):
        part = table.table(name)
        texts[name] = part and {"message": part.need_text("message", limit=1200)}
    return texts


def _invoice_creation(table: Params | None) -> dict[str, Any]:
    data = (table and table.table("invoice_data")) or Params({})
    return {
        "enabled": table.boolean("enabled") if table is not None else False,
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": data.text("description"),
            "footer": data.text("footer"),
            "issuer": None,
            "metadata": metadata.merged(data),
            "rendering_options": None,
        },
    }


def _tax_ids(table: Params) -> dict[str, Any]:
    return {
        "enabled": table.boolean("enabled"),
        "required": table.choice("required", ("if_supported", "never"), "never"),
    }


def _countries(table: Params) -> dict[str, Any]:
    return {"allowed_countries": table.strings("allowed_countries")}


def _permissions(table: Params) -> dict[str, Any]:
    sides = ("client_only", "server_only")
    return {"update_shipping_details": table.choice("update_shipping_details", sides)}


def _saved_methods(table: Params) -> dict[str, Any]:
    switch = ("disabled", "enabled")
    return {
        "allow_redisplay_filters": table.strings("allow_redisplay_filters") or None,
        "payment_method_remove": table.choice("payment_method_remove", switch),
        "payment_method_save": table.choice("payment_method_save", switch),
    }


def _wallets(table: Params) -> dict[str, Any]:
    link = table.table("link")
    return {"link": {"display": link.choice("display", ("auto", "never"))}} if link else {}


def _custom_field(row: Params) -> dict[str, Any]:
    kind = row.choice("type", ("dropdown", "numeric", "text")) or "text"
    label = row.table("label") or Params({})
    detail = row.table(kind) or Params({}, row.name(kind))
    shown: dict[str, Any] = {"default_value": detail.text("default_value"), "value": None}
    if kind == "dropdown":
        shown["options"] = [
            {"label": option.need_text("label"), "value": option.need_text("value")}
            for option in detail.rows("options")
        ]
    else:
        shown["maximum_length"] = detail.integer("maximum_length", low=1)
        shown["minimum_length"] = detail.integer("minimum_length", low=1)
    return {
        kind: shown,
        "key": row.need_text("key", limit=200),
        "label": {"custom": label.text("custom", limit=50), "type": "custom"},
        "optional": row.boolean("optional"),
        "type": kind,
    }


_PARTS = {
    "adaptive_pricing": _adaptive_pricing,
    "after_expiration": _after_expiration,
    "automatic_tax": _automatic_tax,
    "consent_collection": _consent_collection,
    "custom_text": _custom_text,
    "invoice_creation": _invoice_creation,
    "permissions": _permissions,
    "saved_payment_method_options": _saved_methods,
    "shipping_address_collection": _countries,
    "tax_id_collection": _tax_ids,
    "wallet_options": _wallets,
}
