"""Calls about refunds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from bursar import errors
from bursar.providers.port import PaymentFacts, RefundOrder
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import refunds


class Refunds(calls.Caller):
    async def list_refunds(self, payment_intent_id: str) -> list[PaymentFacts]:
        listed = await calls.call(
            self._client.v1.refunds.list_async({"payment_intent": payment_intent_id, "limit": 100})
        )
        if listed.has_more:
            # A list that is not whole proves nothing of what is not in it.
            raise errors.ProviderUnknown("Stripe lists more refunds than can be read at once.")
        facts = calls.read(listed.to_dict(), lambda found: refunds.answers(found["data"]))
        return [fact for fact in facts if isinstance(fact, PaymentFacts)]

    async def create_refund(self, order: RefundOrder) -> PaymentFacts:
        params: dict[str, Any] = {
            "payment_intent": order.payment_intent_id,
            "amount": order.amount_minor,
            "metadata": {refunds.REFERENCE: order.reference},
        }
        if order.reason:
            params["reason"] = order.reason
        refund = await calls.call(
            self._client.v1.refunds.create_async(cast("Any", params), calls.once(order.reference))
        )
        answer = refund.to_dict()
        at = datetime.fromtimestamp(answer["created"], UTC)
        [facts] = calls.read(answer, lambda found: [refunds.changed(found, at)])
        if not isinstance(facts, PaymentFacts):
            raise errors.ProviderUnknown()
        return facts
