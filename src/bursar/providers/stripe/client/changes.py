"""Calls that change a subscription: another plan, an end, a pause; and what a change would cost.

Each happens once for its reference. How the subscription stands afterwards is read again, whole.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from bursar import errors
from bursar.providers.recurring import ChangeOrder, Preview, SteerKind, SubscriptionFact
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.client.subscriptions import Subscriptions
from bursar.providers.stripe.translate import previews, subscriptions

STEPS: dict[SteerKind, dict[str, Any]] = {
    "cancel": {"cancel_at_period_end": True},
    "resume": {"cancel_at_period_end": False},
    # Invoices of a pause are void: nobody pays later for what nobody had.
    "pause": {"pause_collection": {"behavior": "void"}},
    "unpause": {"pause_collection": ""},
}
NOTHING_UPCOMING = "invoice_upcoming_none"
"""Stripe's code where no invoice follows: a subscription ends, and its change costs nothing."""


class Changes(Subscriptions):
    async def preview_change(self, order: ChangeOrder) -> Preview:
        subscription = await self._get_terms(order.subscription_id)
        now = datetime.now(UTC).replace(microsecond=0)
        try:
            body = await self._preview(order, _change(order))
        except errors.ProviderRejected as error:
            if getattr(error.__cause__, "code", None) != NOTHING_UPCOMING:
                raise
            return previews.nothing(subscription, order.at or now)
        told = calls.read(body, lambda found: previews.read(found, order, subscription, now))
        following: dict[str, Any] | None = None
        if told.at_once and not told.period and subscription.cancel_at is None:
            following = await self._preview(order, {**_items(order), "proration_behavior": "none"})
        return calls.read(told, lambda found: previews.answer(found, following))

    async def change_subscription(self, reference: str, order: ChangeOrder) -> SubscriptionFact:
        # A card that is refused, or that asks for its owner, refuses the change: nothing is left
        # half done, and no open invoice is taken for a renewal that failed.
        params = {**_change(order), "payment_behavior": "error_if_incomplete"}
        await calls.call(
            self._client.v1.subscriptions.update_async(
                order.subscription_id, cast("Any", params), calls.once(reference)
            )
        )
        return await self._get_subscription(order.subscription_id)

    async def steer_subscription(
        self, reference: str, subscription_id: str, kind: SteerKind
    ) -> SubscriptionFact:
        if kind == "cancel_now":
            return await self._cancel_now(reference, subscription_id)
        if kind in ("resume", "unpause"):
            return await self._resume(reference, subscription_id, kind)
        await self._update(reference, subscription_id, STEPS[kind])
        return await self._get_subscription(subscription_id)

    async def _cancel_now(self, reference: str, subscription_id: str) -> SubscriptionFact:
        try:
            await calls.call(
                self._client.v1.subscriptions.cancel_async(
                    subscription_id, {}, calls.once(reference)
                )
            )
        except errors.ProviderRejected:
            # One that has ended is no more there to be cancelled: that is what was wanted.
            found = await self.fetch_subscription(subscription_id=subscription_id)
            if found is None or found.status != "canceled":
                raise
            return found
        return await self._get_subscription(subscription_id)

    async def _resume(
        self, reference: str, subscription_id: str, kind: SteerKind
    ) -> SubscriptionFact:
        """Undo what ends it or what stops it, or go on after a trial that ended without a card."""
        body = await self._get_body(subscription_id)
        found = calls.read(body, subscriptions.answer)
        if found.raw_status == "paused":
            # A key of its own: repeated after a lost answer, the subscription is no more paused.
            await calls.call(
                self._client.v1.subscriptions.resume_async(
                    subscription_id, {}, calls.once(f"{reference}-resume")
                )
            )
        elif kind == "resume" and subscriptions.ends_by_date(body):
            await self._update(f"{reference}-date", subscription_id, {"cancel_at": ""})
        else:
            params = STEPS[kind]
            if kind == "unpause" and await self._is_skipped(subscription_id):
                # The pause went over a renewal: going on begins a period, which is paid now.
                params = {**params, "billing_cycle_anchor": "now", "proration_behavior": "none"}
            await self._update(reference, subscription_id, params)
        return await self._get_subscription(subscription_id)

    async def _is_skipped(self, subscription_id: str) -> bool:
        """Whether the period that runs has an invoice that a pause made void."""
        listed = await calls.call(
            self._client.v1.invoices.list_async({"subscription": subscription_id, "limit": 1})
        )
        return bool(listed.data) and listed.data[0].status == "void"

    async def _update(self, reference: str, subscription_id: str, params: dict[str, Any]) -> None:
        await calls.call(
            self._client.v1.subscriptions.update_async(
                subscription_id, cast("Any", params), calls.once(reference)
            )
        )

    async def _get_subscription(self, subscription_id: str) -> SubscriptionFact:
        found = await self.fetch_subscription(subscription_id=subscription_id)
        if found is None:
            raise calls.NoSuchObject(f"Stripe has no subscription {subscription_id}.")
        return found

    async def _get_terms(self, subscription_id: str) -> SubscriptionFact:
        """A subscription without its invoices."""
        return calls.read(await self._get_body(subscription_id), subscriptions.answer)

    async def _get_body(self, subscription_id: str) -> dict[str, Any]:
        body = await self._find_subscription(subscription_id)
        if body is None:
            raise calls.NoSuchObject(f"Stripe has no subscription {subscription_id}.")
        return body

    async def _preview(self, order: ChangeOrder, details: dict[str, Any]) -> dict[str, Any]:
        params = {"subscription": order.subscription_id, "subscription_details": details}
        invoice = await calls.call(
            self._client.v1.invoices.create_preview_async(cast("Any", params))
        )
        body = invoice.to_dict()
        await self._complete_lines(body)
        return body


def _items(order: ChangeOrder) -> dict[str, Any]:
    item = {"id": order.item_id, "price": order.price_id, "quantity": order.quantity}
    return {"items": [item]}


def _change(order: ChangeOrder) -> dict[str, Any]:
    """A change in Stripe's words, the same for a preview and for the change itself."""
    change = {**_items(order), "proration_behavior": order.proration}
    if order.at is not None and order.proration != "none":
        change["proration_date"] = int(order.at.timestamp())
    return change
