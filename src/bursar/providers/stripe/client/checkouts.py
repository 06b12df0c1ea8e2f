"""Calls about hosted checkouts and what became of them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any, cast

import stripe

from bursar import errors
from bursar.providers.port import (
    CheckoutOrder,
    Facts,
    OpenedCheckout,
    OrderLine,
    PaymentFacts,
)
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.client.disputes import Disputes
from bursar.providers.stripe.client.refunds import Refunds
from bursar.providers.stripe.translate import fields, intents, sessions

# The intent, its charge, and the entry that says when its money was taken.
PAID = "payment_intent.latest_charge.balance_transaction"


class Checkouts(Refunds, Disputes):
    async def fetch_payment(
        self, *, session_id: str | None, payment_intent_id: str | None, reference: str | None
    ) -> list[PaymentFacts]:
        """The session with its lines, and the intent with its charge, as they are now."""
        facts: list[Facts] = []
        if session_id is None and payment_intent_id is not None:
            listed = await calls.call(
                self._client.v1.checkout.sessions.list_async(
                    {"payment_intent": payment_intent_id, "limit": 1}
                )
            )
            session_id = listed.data[0].id if listed.data else None
        if session_id is not None:
            try:
                session = await calls.call(
                    self._client.v1.checkout.sessions.retrieve_async(
                        session_id, {"expand": ["line_items", PAID]}
                    )
                )
            except calls.NoSuchObject:
                # A message may name what never was; one of ours that is missing is a fault.
                if reference is not None:
                    raise
                return []
            facts += calls.read(session.to_dict(), _session_and_intent)
        elif payment_intent_id is not None:
            try:
                intent = await calls.call(
                    self._client.v1.payment_intents.retrieve_async(
                        payment_intent_id, {"expand": ["latest_charge.balance_transaction"]}
                    )
                )
            except calls.NoSuchObject:
                return []
            facts += calls.read(intent.to_dict(), lambda found: [intents.answer(found)])
        intent_id = payment_intent_id or next(
            (f.payment_intent_id for f in facts if isinstance(f, PaymentFacts)), None
        )
        if intent_id is not None and any(
            isinstance(fact, PaymentFacts) and fact.incomplete for fact in facts
        ):
            with contextlib.suppress(calls.NoSuchObject):
                facts += await self.list_refunds(intent_id)
                facts += await self.list_disputes(intent_id)
        return [fact for fact in facts if isinstance(fact, PaymentFacts)]

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

    async def create_checkout(self, order: CheckoutOrder) -> OpenedCheckout:
        metadata = {**order.metadata, fields.REFERENCE: order.reference}
        intent_data: dict[str, Any] = {"metadata": metadata}
        if order.description:
            intent_data["description"] = order.description
        if order.capture_method == "manual":
            intent_data["capture_method"] = "manual"
        if order.receipt_email:
            intent_data["receipt_email"] = order.receipt_email
        params: dict[str, Any] = {
            "mode": "payment",
            "customer": order.provider_customer_id,
            "client_reference_id": order.reference,
            "line_items": [_line(line, order.currency) for line in order.lines],
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "metadata": metadata,
            "payment_intent_data": intent_data,
            **_terms(order),
        }
        session = await calls.call(
            self._client.v1.checkout.sessions.create_async(
                cast("Any", params), calls.once(order.reference)
            )
        )
        if not session.url:
            raise errors.ProviderRejected("Stripe opened the session without an address to pay at.")
        return _opened(session)


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


def _session_and_intent(session: dict[str, Any]) -> list[Facts]:
    facts = [sessions.answer(session)]
    if isinstance(session.get("payment_intent"), dict):
        facts.append(intents.answer(session["payment_intent"]))
    return facts


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
