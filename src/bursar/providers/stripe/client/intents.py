"""Calls about payment intents that a form of ours confirms in the browser."""

from __future__ import annotations

from typing import Any, cast

from bursar import errors
from bursar.providers.port import IntentOrder, OpenedIntent
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import fields


class Intents(calls.Caller):
    async def create_intent(self, order: IntentOrder) -> OpenedIntent:
        params: dict[str, Any] = {
            "amount": order.amount_minor,
            "currency": order.currency,
            "customer": order.provider_customer_id,
            "payment_method_types": ["card"],
            "metadata": {**order.metadata, fields.REFERENCE: order.reference},
        }
        if order.capture_method == "manual":
            params["capture_method"] = "manual"
        if order.receipt_email:
            params["receipt_email"] = order.receipt_email
        if order.description:
            params["description"] = order.description
        intent = await calls.call(
            self._client.v1.payment_intents.create_async(
                cast("Any", params), calls.once(order.reference)
            )
        )
        return _opened(intent)

    async def find_intent(self, reference: str, provider_customer_id: str) -> OpenedIntent | None:
        listed = await calls.call(
            self._client.v1.payment_intents.list_async(
                {"customer": provider_customer_id, "limit": 100}
            )
        )
        for intent in listed.data:
            if (intent.to_dict().get("metadata") or {}).get(fields.REFERENCE) == reference:
                return _opened(intent)
        if listed.has_more:
            raise errors.ProviderUnknown("Stripe lists more payments than can be read at once.")
        return None

    async def fetch_client_secret(self, payment_intent_id: str) -> str:
        intent = await calls.call(self._client.v1.payment_intents.retrieve_async(payment_intent_id))
        return _opened(intent).client_secret

    async def cancel_intent(self, payment_intent_id: str) -> None:
        await calls.call(
            self._client.v1.payment_intents.cancel_async(
                payment_intent_id, {"cancellation_reason": "abandoned"}
            )
        )


def _opened(intent: Any) -> OpenedIntent:
    secret = intent.client_secret
    if not secret:
        raise errors.ProviderRejected("Stripe opened the payment without a client secret.")
    return OpenedIntent(intent.id, secret)
