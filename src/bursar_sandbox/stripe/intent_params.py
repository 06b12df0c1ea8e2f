"""Reads a payment intent's parameters: which there are, and what they make of the object.

Never stores an intent and never emits an event.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import addresses, intents, metadata, methods, records
from bursar_sandbox.stripe.currencies import check_charge, check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.params import Params

UPDATE = (
    "allowed_payment_method_types amount amount_details application_fee_amount capture_method "
    "currency customer customer_account description excluded_payment_method_types hooks metadata "
    "payment_details payment_method payment_method_configuration payment_method_data "
    "payment_method_options payment_method_types receipt_email setup_future_usage shipping "
    "statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
)
CREATE = (
    f"{UPDATE} automatic_payment_methods confirmation_method confirmation_token mandate "
    "mandate_data on_behalf_of radar_options use_stripe_sdk"
)
CONFIRM = (
    "allowed_payment_method_types amount_details amount_to_confirm capture_method "
    "confirmation_token excluded_payment_method_types hooks mandate mandate_data payment_details "
    "payment_method payment_method_data payment_method_options payment_method_types radar_options "
    "receipt_email setup_future_usage shipping use_stripe_sdk"
)
CAPTURE = (
    "amount_details amount_to_capture application_fee_amount final_capture hooks metadata "
    "payment_details statement_descriptor statement_descriptor_suffix transfer_data"
)
PLAYED_TYPES = ("card", "sepa_debit", "us_bank_account")
CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
_TEXTS = (
    "description",
    "receipt_email",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)


def build(tx: Transaction, params: Params) -> dict[str, Any]:
    """A new intent, not stored yet. Raises StripeError."""
    params.require("amount", "currency")
    if params.given("confirmation_token"):
        raise not_played("confirmation tokens", "confirmation_token")
    currency = check_currency(params.need_text("currency"))
    amount = params.need_integer("amount", low=1)
    check_charge(amount, currency)
    intent = intents.blank(tx, amount, currency)
    intent["metadata"] = metadata.merged(params)
    intent["confirmation_method"] = params.choice(
        "confirmation_method", ("automatic", "manual"), "automatic"
    )
    _choose_types(intent, params)
    describe(intent, params)
    if "customer" in params:
        intent["customer"] = _customer(tx, params)
    return intent


def _choose_types(intent: dict[str, Any], params: Params) -> None:
    automatic = params.table("automatic_payment_methods")
    asked = payment_method_types(params)
    if asked and automatic is not None and automatic.boolean("enabled"):
        raise StripeError(
            "You may only specify one of these parameters: automatic_payment_methods, "
            "payment_method_types.",
            code="parameters_exclusive",
            param="payment_method_types",
        )
    if not asked and (automatic is None or automatic.boolean("enabled")):
        redirects = automatic.choice("allow_redirects", ("always", "never")) if automatic else None
        intent["automatic_payment_methods"] = {
            "allow_redirects": redirects or "always",
            "enabled": True,
        }
    kinds = asked or (["card", "sepa_debit"] if intent["currency"] == "eur" else ["card"])
    intent["payment_method_types"] = kinds
    intent["payment_method_options"] = intents.options_for(kinds)
    if params.given("allowed_payment_method_types"):
        intent["allowed_payment_method_types"] = params.strings("allowed_payment_method_types")


def payment_method_types(params: Params) -> list[str]:
    """The types asked for, under the name of today or the one before it; empty when none was.

    Raises StripeError for one that the sandbox doesn't play.
    """
    for name in ("payment_method_types", "allowed_payment_method_types"):
        kinds = params.strings(name)
        for kind in kinds:
            # Link is a wallet for cards: to allow it changes nothing here.
            if kind not in (*PLAYED_TYPES, "link"):
                raise not_played(f"payment methods of type `{kind}`", name)
        if kinds:
            return kinds
    return []


def describe(intent: dict[str, Any], params: Params) -> None:
    """Set what only describes the payment."""
    for key in _TEXTS:
        if key in params:
            intent[key] = params.text(key, limit=22 if "descriptor" in key else 5000)
    if "shipping" in params:
        intent["shipping"] = addresses.shipping(params.table("shipping"))
    if "setup_future_usage" in params:
        intent["setup_future_usage"] = params.choice(
            "setup_future_usage", ("off_session", "on_session")
        )
    if params.given("capture_method"):
        intent["capture_method"] = params.choice("capture_method", CAPTURE_METHODS)
    options = params.table("payment_method_options")
    card = options.table("card") if options else None
    if card is not None:
        _describe_card(intent, card)


def _describe_card(intent: dict[str, Any], card: Params) -> None:
    shown = intent["payment_method_options"].setdefault("card", {})
    if card.given("request_three_d_secure"):
        shown["request_three_d_secure"] = card.choice(
            "request_three_d_secure", ("any", "automatic", "challenge")
        )
    if card.given("capture_method"):
        shown["capture_method"] = card.choice("capture_method", ("manual",))
        intent["capture_method"] = "manual"
    if card.given("setup_future_usage"):
        shown["setup_future_usage"] = card.choice(
            "setup_future_usage", ("none", "off_session", "on_session")
        )


def revise(tx: Transaction, intent: dict[str, Any], params: Params) -> None:
    """Change what is to be paid, and by whom."""
    currency = check_currency(params.text("currency") or intent["currency"])
    amount = params.integer("amount", low=1) or intent["amount"]
    check_charge(amount, currency)
    intent.update(amount=amount, currency=currency)
    if "customer" in params:
        intent["customer"] = _customer(tx, params)
    kinds = payment_method_types(params)
    if kinds:
        intent["payment_method_types"] = kinds
        intent["payment_method_options"] = intents.options_for(kinds)


def _customer(tx: Transaction, params: Params) -> str | None:
    customer_id = params.text("customer")
    if customer_id is not None:
        records.get(tx, "customer", customer_id, param="customer")
    return customer_id


def method_of(tx: Transaction, params: Params) -> dict[str, Any] | None:
    """The payment method that the call names or describes; None when it does neither."""
    method_id = params.text("payment_method")
    if method_id is not None:
        return methods.usable(tx, method_id)
    data = params.table("payment_method_data")
    if data is None:
        return None
    if "type" not in data:
        raise missing_parameter(data.name("type"))
    return methods.from_params(tx, data)
