"""Checkout sessions in setup mode: a page that saves a card and takes no money.

Owns how such a session is opened; `checkout` has the card saved.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import metadata, records, session_params, session_parts, setup_intents
from bursar_sandbox.stripe.errors import missing_parameter
from bursar_sandbox.stripe.ids import random_text
from bursar_sandbox.stripe.intent_params import payment_method_types
from bursar_sandbox.stripe.params import Params

_INTENT_DATA = frozenset("description metadata on_behalf_of".split())


def open_one(tx: Transaction, params: Params) -> dict[str, Any]:
    """A new, stored session with its setup intent; `session_params.check` has passed.

    Raises StripeError.
    """
    session = _build(tx, params)
    setup = setup_intents.blank(tx, session["payment_method_types"])
    setup["customer"] = session["customer"]
    data = params.table("setup_intent_data")
    if data is not None:
        data.allow(_INTENT_DATA)
        setup.update(description=data.text("description"), metadata=metadata.merged(data))
    setup_intents.add(tx, setup, {"session": session["id"]})
    session["setup_intent"] = setup["id"]
    private: dict[str, Any] = {"line_items": [], "intent": {}}
    update = params.table("customer_update")
    if update is not None:
        private["customer_update"] = session_params.customer_update(update)
    records.insert(tx, session, private)
    tx.store.schedule(tx, session["expires_at"], "session.expire", session["id"])
    return session


def _build(tx: Transaction, params: Params) -> dict[str, Any]:
    customer_id = session_params.customer_of(tx, params)
    asked = payment_method_types(params)
    # Without a currency Stripe can't tell which of the account's methods to offer.
    if not asked and not params.given("currency"):
        raise missing_parameter("currency")
    session_id = f"cs_test_{random_text(58)}"
    currency = params.text("currency")
    return {
        "id": session_id,
        "object": "checkout.session",
        **session_parts.empty(),
        **session_parts.echoed(params),
        "amount_subtotal": None,
        "amount_total": None,
        "cancel_url": params.text("cancel_url"),
        "client_reference_id": params.text("client_reference_id", limit=200),
        "created": tx.now,
        "currency": currency and currency.lower(),
        "customer": customer_id,
        "customer_creation": None if customer_id else params.choice(
            "customer_creation", ("always", "if_required"), "if_required"
        ),
        "customer_details": session_params.buyer_of(tx, params, customer_id),
        "customer_email": params.text("customer_email", limit=800),
        "expires_at": session_params.expiry_of(tx, params),
        "invoice_creation": None,
        "metadata": metadata.merged(params),
        "mode": "setup",
        "payment_method_collection": "always",
        "payment_method_options": session_parts.method_options(params, asked or ["card"]),
        "payment_method_types": asked or ["card"],
        "payment_status": "no_payment_required",
        "status": "open",
        "success_url": params.need_text("success_url"),
        "total_details": None,
        "ui_mode": "hosted_page",
        "url": f"{tx.base_url}/c/pay/{session_id}",
    }  # fmt: skip
