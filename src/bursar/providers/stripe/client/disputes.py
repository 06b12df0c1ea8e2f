"""Calls about disputes: how they stand, what the shop says to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from bursar import errors
from bursar.providers.after_sale import DisputeAnswer
from bursar.providers.port import PaymentFacts
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import disputes


class Disputes(calls.Caller):
    async def list_disputes(self, payment_intent_id: str) -> list[PaymentFacts]:
        listed = await calls.call(
            self._client.v1.disputes.list_async({"payment_intent": payment_intent_id, "limit": 100})
        )
        if listed.has_more:
            raise errors.ProviderUnknown("Stripe lists more disputes than can be read at once.")
        return _read(listed.to_dict()["data"])

    async def answer_dispute(self, order: DisputeAnswer) -> list[PaymentFacts]:
        once = calls.once(order.reference)
        if order.kind == "accept":
            found = await calls.call(
                self._client.v1.disputes.close_async(order.provider_ref, {}, once)
            )
        else:
            # What is not named stays as Stripe has it; an empty text takes it away there.
            evidence = disputes.evidence_of(order.evidence)
            params: dict[str, Any] = {"evidence": evidence, "submit": order.kind == "submit"}
            found = await calls.call(
                self._client.v1.disputes.update_async(order.provider_ref, cast("Any", params), once)
            )
        return _read([found.to_dict()])


def _read(found: list[dict[str, Any]]) -> list[PaymentFacts]:
    # A dispute does not say when it changed: it is so now.
    at = datetime.now(UTC).replace(microsecond=0)
    facts = calls.read({"data": found}, lambda answer: disputes.answers(answer["data"], at))
    return [fact for fact in facts if isinstance(fact, PaymentFacts)]
