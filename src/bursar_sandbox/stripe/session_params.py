"""Reads a checkout session's parameters and builds the object from them.

Never stores a session and never emits an event.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import metadata, records, session_parts, session_subscriptions
from bursar_sandbox.stripe.currencies import check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.ids import random_text
from bursar_sandbox.stripe.intent_params import payment_method_types
from bursar_sandbox.stripe.params import Params

CREATE = (
    "adaptive_pricing after_expiration allow_promotion_codes allowed_payment_method_types "
    "automatic_tax billing_address_collection branding_settings cancel_url client_reference_id "
    "consent_collection currency custom_fields custom_text customer customer_account "
    "customer_creation customer_email customer_update discounts excluded_payment_method_types "
    "expires_at integration_identifier invoice_creation line_items locale managed_payments "
    "metadata mode name_collection optional_items origin_context payment_intent_data "
    "payment_method_collection payment_method_configuration payment_method_data "
    "payment_method_options payment_method_types permissions phone_number_collection "
    "redirect_on_completion return_url saved_payment_method_options setup_intent_data "
    "shipping_address_collection shipping_options submit_type subscription_data success_url "
    "tax_id_collection ui_mode wallet_options"
)
SHORTEST_SECONDS = 30 * 60
LONGEST_SECONDS = 24 * 3600
_LATER = {
    "shipping_options": "shipping options",
    "payment_link": "payment links",
    "optional_items": "optional items",
}

# What belongs to the sessions of another mode.
_FOREIGN = {
    "payment": ("setup_intent_data", "subscription_data"),
    "subscription": ("invoice_creation", "payment_intent_data", "setup_intent_data"),
    "setup": (
        "allow_promotion_codes", "automatic_tax", "discounts", "invoice_creation", "line_items",
        "payment_intent_data", "shipping_options", "submit_type", "subscription_data",
    ),
}  # fmt: skip


def build(tx: Transaction, params: Params, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A new session for the items, not stored yet; `check` has passed. Raises StripeError."""
    customer_id = customer_of(tx, params)
    session_id = f"cs_test_{random_text(58)}"
    total = sum(item["amount_total"] for item in items)
    currency = items[0]["currency"]
    kinds = payment_method_types(params) or ["card"]
    return {
        "id": session_id,
        "object": "checkout.session",
        **session_parts.empty(),
        # As the dashboard has it in accounts of today. The page shows one currency all the same.
        "adaptive_pricing": {"enabled": True},
        **session_parts.echoed(params),
        "allow_promotion_codes": _flag(params, "allow_promotion_codes"),
        "amount_subtotal": sum(item["amount_subtotal"] for item in items),
        "amount_total": total,
        "cancel_url": params.text("cancel_url"),
        "client_reference_id": params.text("client_reference_id", limit=200),
        "created": tx.now,
        "currency": currency,
        "customer": customer_id,
        "customer_creation": None if customer_id else params.choice(
            "customer_creation", ("always", "if_required"), "if_required"
        ),
        "customer_details": buyer_of(tx, params, customer_id),
        "customer_email": params.text("customer_email", limit=800),
        "expires_at": expiry_of(tx, params),
        "metadata": metadata.merged(params),
        "mode": "payment",
        "payment_method_options": session_parts.method_options(params, kinds),
        "payment_method_types": kinds,
        "payment_status": "unpaid" if total else "no_payment_required",
        "status": "open",
        "success_url": params.need_text("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{tx.base_url}/c/pay/{session_id}",
    }  # fmt: skip


def check(params: Params) -> None:
    """Raise StripeError for what a session can't be, before anything is made for it."""
    mode = params.choice("mode", ("payment", "setup", "subscription"))
    if mode is None:
        raise missing_parameter("mode")
    ui_mode = params.choice(
        "ui_mode", ("elements", "embedded_page", "form", "hosted", "hosted_page"), "hosted_page"
    )
    if ui_mode not in ("hosted", "hosted_page"):
        raise not_played(f"checkout sessions of ui_mode `{ui_mode}`", "ui_mode")
    for name, what in _LATER.items():
        if params.given(name):
            raise not_played(what, name)
    for name in _FOREIGN[mode]:
        if params.given(name):
            raise StripeError(f"You can not pass `{name}` in `{mode}` mode.", param=name)
    if mode == "payment" and not params.given("line_items"):
        raise missing_parameter("line_items")
    if mode == "subscription":
        session_subscriptions.check(params)
    if params.given("customer_update") and not params.given("customer"):
        raise StripeError(
            "You can only pass `customer_update` when `customer` is set.", param="customer_update"
        )
    for name in ("success_url", "cancel_url"):
        _check_url(params, name)


def _check_url(params: Params, name: str) -> None:
    url = params.text(name)
    if url is not None and not url.startswith(("http://", "https://")):
        raise StripeError("Not a valid URL", code="url_invalid", param=name)


def _flag(params: Params, name: str) -> bool | None:
    return params.boolean(name) if params.given(name) else None


def customer_of(tx: Transaction, params: Params) -> str | None:
    """The customer that the call names; None when it names none. Raises StripeError."""
    customer_id = params.text("customer")
    if params.given("currency"):
        check_currency(params.need_text("currency"))
    if customer_id is None:
        email = params.text("customer_email")
        if email is not None and "@" not in email:
            raise StripeError(
                f"Invalid email address: {email}", code="email_invalid", param="customer_email"
            )
        return None
    for name in ("customer_email", "customer_creation"):
        if params.given(name):
            raise StripeError(
                f"You may only specify one of these parameters: customer, {name}.",
                code="parameters_exclusive",
                param="customer",
            )
    records.get(tx, "customer", customer_id, param="customer")
    return customer_id


def buyer_of(tx: Transaction, params: Params, customer_id: str | None) -> dict[str, Any] | None:
    """What is known of the buyer before the page is opened; None when nothing is."""
    if customer_id is not None:
        customer = records.get(tx, "customer", customer_id)
        return buyer_details(email=customer["email"], name=customer["name"])
    email = params.text("customer_email")
    return buyer_details(email=email) if email else None


def buyer_details(
    *,
    email: str | None,
    name: str | None = None,
    phone: str | None = None,
    address: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The session's `customer_details`."""
    return {
        "address": address,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": phone,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def holds(params: Params) -> bool:
    """Whether the session's money is only held, to be captured later."""
    options = params.table("payment_method_options")
    card = options.table("card") if options else None
    return any(
        table is not None and table.text("capture_method") == "manual"
        for table in (card, params.table("payment_intent_data"))
    )


def customer_update(table: Params) -> dict[str, str | None]:
    """What the page may change of the customer: `auto` or `never` for each part."""
    parts = ("address", "name", "shipping")
    table.allow(parts)
    return {part: table.choice(part, ("auto", "never"), "never") for part in parts}


def expiry_of(tx: Transaction, params: Params) -> int:
    """When the session expires, in seconds since 1970. Raises StripeError."""
    expires_at = params.integer("expires_at")
    if expires_at is None:
        return tx.now + LONGEST_SECONDS
    # A minute of grace on both sides, because the request took its time to arrive.
    earliest, latest = tx.now + SHORTEST_SECONDS - 60, tx.now + LONGEST_SECONDS + 60
    if not earliest <= expires_at <= latest:
        raise StripeError(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout "
            "Session creation.",
            param="expires_at",
        )
    return expires_at
