"""Reading a payment as it is now: its session, its intent, and the subscription that it is of."""

from __future__ import annotations

import contextlib
from typing import Any

from bursar.providers.port import Facts, PaymentFacts, Told
from bursar.providers.recurring import SubscriptionFact
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.client.disputes import Disputes
from bursar.providers.stripe.client.refunds import Refunds
from bursar.providers.stripe.client.subscriptions import Subscriptions
from bursar.providers.stripe.translate import fields, intents, sessions

# The intent, its charge, and the entry that says when its money was taken.
CHARGED = "latest_charge.balance_transaction"
# A session of a subscription has an invoice instead, which says when it was paid.
SESSION_PARTS = ["line_items", f"payment_intent.{CHARGED}", "invoice"]


class Payments(Refunds, Disputes, Subscriptions):
    async def fetch_payment(
        self, *, session_id: str | None, payment_intent_id: str | None, reference: str | None
    ) -> list[Told]:
        """The session with its lines, and the intent with its charge, as they are now."""
        facts: list[Facts] = []
        subscription: SubscriptionFact | None = None
        if session_id is None and payment_intent_id is not None:
            session_id = await self._session_of(payment_intent_id)
        if session_id is not None:
            session = await self._find_session(session_id, missing_is_fault=reference is not None)
            if session is None:
                return []
            facts += calls.read(session, _session_and_intent)
            if session.get("mode") == "subscription":
                begun = fields.find_id(session.get("subscription"))
                subscription = await self.fetch_subscription(subscription_id=begun)
        elif payment_intent_id is not None:
            intent = await self._find_intent(payment_intent_id)
            if intent is None:
                return []
            facts.append(calls.read(intent, intents.answer))
            if fields.reference_of(intent) is None:
                subscription = await self._subscription_of(payment_intent_id)
        told: list[Told] = [fact for fact in facts if isinstance(fact, PaymentFacts)]
        told += await self._after_sale(payment_intent_id, facts)
        return told if subscription is None else [*told, subscription]

    async def _session_of(self, payment_intent_id: str) -> str | None:
        listed = await calls.call(
            self._client.v1.checkout.sessions.list_async(
                {"payment_intent": payment_intent_id, "limit": 1}
            )
        )
        return listed.data[0].id if listed.data else None

    async def _find_session(
        self, session_id: str, *, missing_is_fault: bool
    ) -> dict[str, Any] | None:
        try:
            session = await calls.call(
                self._client.v1.checkout.sessions.retrieve_async(
                    session_id, {"expand": SESSION_PARTS}
                )
            )
        except calls.NoSuchObject:
            # A message may name what never was; one of ours that is missing is a fault.
            if missing_is_fault:
                raise
            return None
        return session.to_dict()

    async def _find_intent(self, payment_intent_id: str) -> dict[str, Any] | None:
        try:
            intent = await calls.call(
                self._client.v1.payment_intents.retrieve_async(
                    payment_intent_id, {"expand": [CHARGED]}
                )
            )
        except calls.NoSuchObject:
            return None
        return intent.to_dict()

    async def _subscription_of(self, payment_intent_id: str) -> SubscriptionFact | None:
        """The subscription whose invoice an intent pays, with that invoice."""
        listed = await calls.call(
            self._client.v1.invoice_payments.list_async(
                {
                    "payment": {"type": "payment_intent", "payment_intent": payment_intent_id},
                    "limit": 1,
                }
            )
        )
        if not listed.data:
            return None
        invoice_id = fields.find_id(listed.to_dict()["data"][0].get("invoice"))
        return await self.fetch_subscription(invoice_id=invoice_id)

    async def _after_sale(
        self, payment_intent_id: str | None, facts: list[Facts]
    ) -> list[PaymentFacts]:
        """Refunds and disputes, where what was read says that there are some."""
        found = [fact for fact in facts if isinstance(fact, PaymentFacts)]
        intent_id = payment_intent_id or next((fact.payment_intent_id for fact in found), None)
        told: list[PaymentFacts] = []
        if intent_id is not None and any(fact.incomplete for fact in found):
            with contextlib.suppress(calls.NoSuchObject):
                told += await self.list_refunds(intent_id)
                told += await self.list_disputes(intent_id)
        return told


def _session_and_intent(session: dict[str, Any]) -> list[Facts]:
    facts = [sessions.answer(session)]
    if isinstance(session.get("payment_intent"), dict):
        facts.append(intents.answer(session["payment_intent"]))
    return facts
