"""Calls about hosted checkouts: opened, found, closed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import stripe

from bursar import errors
from bursar.providers.port import (
    CheckoutOrder,
    OpenedCheckout,
    OrderLine,
)
from bursar.providers.recurring import SubscribeTerms
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import fields


class Checkouts(calls.Caller):
    async def find_checkout(
        self, reference: str, provider_customer_id: str
    ) -> OpenedCheckout | None:
        listed = await calls.call(
            self._client.v1.checkout.sessions.list_async(
                {"customer": provider_customer_id, "limit": 100}
            )
        )
        for session in listed.data:
            if session.client_reference_id == reference and session.url:
                return _opened(session)
        if listed.has_more:
            raise errors.ProviderUnknown("Stripe lists more sessions than can be read at once.")
        return None

    async def expire_checkout(self, session_id: str) -> None:
        await calls.call(self._client.v1.checkout.sessions.expire_async(session_id))

    async def create_checkout(self, order: CheckoutOrder) -> OpenedCheckout:
        params: dict[str, Any] = {
            "customer": order.provider_customer_id,
            "client_reference_id": order.reference,
            "line_items": [_line(line, order.currency) for line in order.lines],
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "metadata": _metadata(order),
            # The order is in one currency. By default the dashboard decides whether buyers are
            # shown, and charged in, their own.
            "adaptive_pricing": {"enabled": False},
            **_terms(order),
            **(_once(order) if order.subscribe is None else _subscribe(order, order.subscribe)),
        }
        session = await calls.call(
            self._client.v1.checkout.sessions.create_async(
                cast("Any", params), calls.once(order.reference)
            )
        )
        if not session.url:
            raise errors.ProviderRejected("Stripe opened the session without an address to pay at.")
        return _opened(session)


def _metadata(order: CheckoutOrder) -> dict[str, str]:
    """Our words, which a session does not hand on to its intent or its subscription."""
    return {**order.metadata, fields.REFERENCE: order.reference}


def _once(order: CheckoutOrder) -> dict[str, Any]:
    """What a session that sells once has for its payment."""
    intent_data: dict[str, Any] = {"metadata": _metadata(order)}
    if order.description:
        intent_data["description"] = order.description
    if order.capture_method == "manual":
        intent_data["capture_method"] = "manual"
    if order.receipt_email:
        intent_data["receipt_email"] = order.receipt_email
    return {
        "mode": "payment",
        "payment_intent_data": intent_data,
        # The page asks whether to keep the card for the next time; unasked none is kept.
        "saved_payment_method_options": {"payment_method_save": "enabled"},
    }


def _subscribe(order: CheckoutOrder, terms: SubscribeTerms) -> dict[str, Any]:
    """What a session that begins a subscription has for it, and whether it asks for a card.

    What is free at first, by trial or coupon, asks for one all the same: it is renewed.
    """
    data: dict[str, Any] = {"metadata": _metadata(order)}
    if order.description:
        data["description"] = order.description
    collect = "always"
    if terms.trial_days:
        data["trial_period_days"] = terms.trial_days
        data["trial_settings"] = {"end_behavior": {"missing_payment_method": terms.trial_end}}
        collect = "always" if terms.trial_card else "if_required"
    return {
        "mode": "subscription",
        "subscription_data": data,
        "payment_method_collection": collect,
    }


def _terms(order: CheckoutOrder) -> dict[str, Any]:
    """The discount, or that a code may be typed; tax, and how may be paid."""
    terms: dict[str, Any] = {}
    if order.discount is not None and order.discount.promotion_id is not None:
        terms["discounts"] = [{"promotion_code": order.discount.promotion_id}]
    elif order.discount is not None:
        terms["discounts"] = [{"coupon": order.discount.coupon_id}]
    elif order.terms.promotion_codes:
        terms["allow_promotion_codes"] = True
    if order.terms.automatic_tax:
        # A customer's tax goes by an address, which the page asks for and keeps with them.
        terms["automatic_tax"] = {"enabled": True}
        terms["customer_update"] = {"address": "auto"}
    if order.terms.payment_methods:
        terms["payment_method_types"] = list(order.terms.payment_methods)
    return terms


def _opened(session: stripe.checkout.Session) -> OpenedCheckout:
    return OpenedCheckout(
        session_id=session.id,
        url=session.url or "",
        expires_at=datetime.fromtimestamp(session.expires_at, UTC),
        payment_intent_id=session.to_dict().get("payment_intent"),
    )


def _line(line: OrderLine, currency: str) -> dict[str, Any]:
    if line.price_id is not None:
        return {"price": line.price_id, "quantity": line.quantity}
    data = {"currency": currency, "unit_amount": line.amount_minor, "product": line.product_id}
    if line.tax is not None:
        data["tax_behavior"] = line.tax
    return {"price_data": data, "quantity": line.quantity}
