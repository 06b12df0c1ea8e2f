"""Calls about money that is held: taken, or let go; and what became of it, noted in metadata."""

from __future__ import annotations

from typing import Any, cast

from bursar import errors
from bursar.providers.port import CancelOrder, CaptureOrder, Facts, PaymentFacts
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import fields, intents

EXPAND = ["latest_charge.balance_transaction"]


class Captures(calls.Caller):
    async def capture_payment(self, order: CaptureOrder) -> list[PaymentFacts]:
        params: dict[str, Any] = {"amount_to_capture": order.amount_minor, "expand": EXPAND}
        intent = await calls.call(
            self._client.v1.payment_intents.capture_async(
                order.payment_intent_id, cast("Any", params), calls.once(order.reference)
            )
        )
        return _facts(intent.to_dict())

    async def cancel_payment(self, order: CancelOrder) -> list[PaymentFacts]:
        params: dict[str, Any] = {"expand": EXPAND}
        if order.reason:
            params["cancellation_reason"] = order.reason
        intent = await calls.call(
            self._client.v1.payment_intents.cancel_async(
                order.payment_intent_id, cast("Any", params), calls.once(order.reference)
            )
        )
        return _facts(intent.to_dict())

    async def label_payment(
        self, *, session_id: str | None, payment_intent_id: str | None, word: str
    ) -> None:
        labels: Any = {"metadata": {fields.ORDER: word}}
        if payment_intent_id is not None:
            await calls.call(
                self._client.v1.payment_intents.update_async(payment_intent_id, labels)
            )
        if session_id is not None:
            await calls.call(self._client.v1.checkout.sessions.update_async(session_id, labels))


def _facts(intent: dict[str, Any]) -> list[PaymentFacts]:
    read: list[Facts] = calls.read(intent, lambda found: [intents.answer(found)])
    told = [fact for fact in read if isinstance(fact, PaymentFacts)]
    if not told:
        raise errors.ProviderUnknown()
    return told
