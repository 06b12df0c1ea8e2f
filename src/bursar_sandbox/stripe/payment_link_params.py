"""Reads a payment link's parameters: what the link shows, and what its sessions are opened with.

Never stores a link and never opens a session.
"""

from __future__ import annotations

import re
from typing import Any

from bursar_sandbox.stripe import metadata, session_parts
from bursar_sandbox.stripe.errors import StripeError, not_played
from bursar_sandbox.stripe.intent_params import payment_method_types
from bursar_sandbox.stripe.params import Params

SETTABLE = (
    "after_completion allow_promotion_codes automatic_tax billing_address_collection custom_fields "
    "custom_text customer_creation inactive_message invoice_creation line_items metadata "
    "name_collection optional_items payment_intent_data payment_method_collection "
    "payment_method_options payment_method_types phone_number_collection restrictions "
    "shipping_address_collection submit_type subscription_data tax_id_collection"
)
CREATE = (
    f"{SETTABLE} application_fee_amount application_fee_percent consent_collection currency "
    "managed_payments on_behalf_of shipping_options transfer_data"
)
UPDATE = f"{SETTABLE} active"
# What a session is opened with just as the link was told.
PASSED_ON = (
    "allow_promotion_codes", "automatic_tax", "billing_address_collection", "consent_collection",
    "currency", "custom_fields", "custom_text", "customer_creation", "invoice_creation",
    "line_items", "metadata", "payment_intent_data", "payment_method_collection",
    "payment_method_types", "phone_number_collection", "shipping_address_collection",
    "submit_type", "tax_id_collection",
)  # fmt: skip
_LATER = {
    "application_fee_amount": "application fees",
    "application_fee_percent": "application fees",
    "optional_items": "optional items",
    "shipping_options": "shipping options",
    "transfer_data": "transfers",
}
_INTENT_DATA = (
    "capture_method", "description", "metadata", "setup_future_usage", "statement_descriptor",
    "statement_descriptor_suffix", "transfer_group",
)  # fmt: skip
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}\Z")


def check_played(params: Params) -> None:
    """Raise StripeError for what the sandbox's links don't do yet."""
    for name, what in _LATER.items():
        if params.given(name):
            raise not_played(what, name)


def shown(params: Params) -> dict[str, Any]:
    """The fields of the link that the parameters set. Raises StripeError."""
    fields: dict[str, Any] = {}
    if "metadata" in params:
        fields["metadata"] = metadata.merged(params)
    if params.given("allow_promotion_codes"):
        fields["allow_promotion_codes"] = params.boolean("allow_promotion_codes")
    for name, options, default in (
        ("billing_address_collection", ("auto", "required"), "auto"),
        ("customer_creation", ("always", "if_required"), "if_required"),
        ("payment_method_collection", ("always", "if_required"), "always"),
        ("submit_type", ("auto", "book", "donate", "pay", "subscribe"), "auto"),
    ):
        if params.given(name):
            fields[name] = params.choice(name, options, default)
    if "inactive_message" in params:
        fields["inactive_message"] = params.text("inactive_message", limit=500)
    for name, part in _PARTS.items():
        table = params.table(name)
        if table is not None:
            fields[name] = part(table)
    echoed = session_parts.echoed(params)
    for name in ("automatic_tax", "consent_collection", "custom_fields", "custom_text",
                 "invoice_creation", "phone_number_collection", "shipping_address_collection",
                 "tax_id_collection"):  # fmt: skip
        if name in echoed:
            fields[name] = echoed[name]
    if "automatic_tax" in fields:
        fields["automatic_tax"] = {
            name: fields["automatic_tax"][name] for name in ("enabled", "liability")
        }
    if "payment_method_types" in params:
        fields["payment_method_types"] = payment_method_types(params) or None
    return fields


def _after_completion(table: Params) -> dict[str, Any]:
    kind = table.choice("type", ("hosted_confirmation", "redirect"))
    if kind == "redirect":
        redirect = table.table("redirect")
        if redirect is None:
            raise StripeError(
                "You must specify `after_completion[redirect][url]` when "
                "`after_completion[type]` is `redirect`.",
                code="parameter_missing",
                param=table.name("redirect"),
            )
        url = redirect.need_text("url")
        if not url.startswith(("http://", "https://")):
            raise StripeError("Not a valid URL", code="url_invalid", param=redirect.name("url"))
        return {"redirect": {"url": url}, "type": "redirect"}
    shown = table.table("hosted_confirmation")
    message = shown.text("custom_message", limit=500) if shown else None
    return {"hosted_confirmation": {"custom_message": message}, "type": "hosted_confirmation"}


def _intent_data(table: Params) -> dict[str, Any]:
    table.allow(_INTENT_DATA)
    return {
        "capture_method": table.choice("capture_method", ("automatic", "automatic_async",
                                                          "manual")),
        "description": table.text("description"),
        "metadata": metadata.merged(table),
        "setup_future_usage": table.choice("setup_future_usage", ("off_session", "on_session")),
        "statement_descriptor": table.text("statement_descriptor", limit=22),
        "statement_descriptor_suffix": table.text("statement_descriptor_suffix", limit=22),
        "transfer_group": table.text("transfer_group"),
    }  # fmt: skip


def _restrictions(table: Params) -> dict[str, Any]:
    sessions = table.table("completed_sessions") or Params({}, table.name("completed_sessions"))
    return {"completed_sessions": {"count": 0, "limit": sessions.need_integer("limit", low=1)}}


def _names(table: Params) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name in ("business", "individual"):
        part = table.table(name)
        if part is not None:
            parts[name] = {
                "enabled": part.boolean("enabled"),
                "optional": part.boolean("optional"),
            }
    return parts


_PARTS = {
    "after_completion": _after_completion,
    "name_collection": _names,
    "payment_intent_data": _intent_data,
    "restrictions": _restrictions,
}


def of_address(query: dict[str, str]) -> dict[str, str]:
    """What the address of a link may add to the session; what can't be is left out, as Stripe
    does, so that a mistake in an advertisement stops no buyer.
    """
    found = {}
    reference = query.get("client_reference_id", "")
    if _REFERENCE.match(reference):
        found["client_reference_id"] = reference
    email = query.get("prefilled_email") or query.get("locked_prefilled_email") or ""
    if "@" in email and len(email) <= 800:
        found["customer_email"] = email
    return found
