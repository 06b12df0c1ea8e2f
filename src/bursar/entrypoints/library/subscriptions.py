"""Subscriptions, as a host handles them in its own process: begun, shown, changed, ended.

The same requests as over HTTP, so one that is repeated the other way under its `key` still counts
once. Whoever calls says for which user; what that user may do is asked here too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from bursar import errors
from bursar.access.idempotency import Key
from bursar.billing import portal
from bursar.billing.subscription_changes import Kind
from bursar.entrypoints.api import redirects, subscription_calls
from bursar.entrypoints.api.answers import CheckoutAnswer
from bursar.entrypoints.api.callers import Caller
from bursar.entrypoints.api.once import claim_of
from bursar.entrypoints.api.requests import CheckoutRequest
from bursar.entrypoints.api.subscription_bodies import (
    CancelAsked,
    ChangeRequest,
    PreviewAnswer,
    PreviewAsked,
    SubscribeRequest,
    SubscriptionAnswer,
    SubscriptionAsked,
)
from bursar.entrypoints.library.accounts import (
    SERVICE,
    GetWiring,
    asked,
    check_id,
    check_key,
    find_account,
)
from bursar.entrypoints.library.checkouts import open_for
from bursar.providers.recurring import Proration

PlanInterval = Literal["month", "year"]


class Subscriptions:
    """Plans that renew, of a user or of the team named by `customer_id`.

    `id` says which one where several run. Each call raises errors.Denied for members of a team,
    and those that change something errors.SubscriptionNotChangeable, errors.NotSupported,
    errors.ProviderUnavailable, errors.ProviderRejected, errors.ProviderUnknown.
    """

    def __init__(self, wiring: GetWiring) -> None:
        self._wiring = wiring

    async def open(
        self,
        user_id: str,
        plan: str,
        *,
        interval: PlanInterval | None = None,
        quantity: int = 1,
        currency: str | None = None,
        coupon: str | None = None,
        key: str | None = None,
        success_url: str | None = None,
        cancel_url: str | None = None,
        customer_id: int | None = None,
        provider: str | None = None,
    ) -> CheckoutAnswer:
        """Open a checkout that begins a plan: the buyer is sent to `url`.

        Who has one open for the same gets that again. Raises errors.AlreadySubscribed, and what
        `checkouts.open` does.
        """
        said = asked(
            SubscribeRequest,
            plan=plan,
            provider=provider,
            quantity=quantity,
            interval=interval,
            currency=currency,
            coupon=coupon,
            success_url=success_url,
            cancel_url=cancel_url,
        )
        caller = await self._caller(user_id, customer_id)
        body = CheckoutRequest(**said.model_dump(exclude={"provider"}))
        claimed = _claim(caller, "POST /api/subscribe", key, said)
        wiring = self._wiring()
        usual = next(iter(wiring.providers), "")
        return await open_for(wiring, provider or usual, caller, body, claimed)

    async def get(
        self, user_id: str, *, id: int | None = None, customer_id: int | None = None
    ) -> SubscriptionAnswer:
        """The customer's plan, or the subscription with this id. Raises errors.NotFound."""
        caller = await self._caller(user_id, customer_id)
        return await subscription_calls.get(self._wiring(), caller, _which(id).id)

    async def preview(
        self,
        user_id: str,
        *,
        plan: str | None = None,
        quantity: int | None = None,
        interval: PlanInterval | None = None,
        proration: Proration = "create_prorations",
        id: int | None = None,
        customer_id: int | None = None,
    ) -> PreviewAnswer:
        """What a change costs now and next, as the provider reckons it; it changes nothing."""
        wanted = asked(
            PreviewAsked,
            plan=plan,
            quantity=quantity,
            interval=interval,
            proration=proration,
            id=_which(id).id,
        )
        caller = await self._caller(user_id, customer_id)
        return await subscription_calls.preview(self._wiring(), caller, wanted)

    async def change(
        self,
        user_id: str,
        *,
        plan: str | None = None,
        quantity: int | None = None,
        interval: PlanInterval | None = None,
        proration: Proration = "create_prorations",
        proration_at: datetime | None = None,
        key: str | None = None,
        id: int | None = None,
        customer_id: int | None = None,
    ) -> SubscriptionAnswer:
        """Change plan, quantity or interval. With `proration_at` of a preview that is at most an
        hour old it costs what was shown."""
        if proration_at is not None and proration_at.tzinfo is None:
            raise errors.Invalid("`proration_at` needs its offset: send that of the preview.")
        body = asked(
            ChangeRequest,
            plan=plan,
            quantity=quantity,
            interval=interval,
            proration=proration,
            proration_at=proration_at.isoformat() if proration_at else None,
        )
        caller, which = await self._caller(user_id, customer_id), _which(id)
        claimed = _claim(caller, "PATCH /api/subscription", key, which, body)
        return await self._request(caller, which.id, "change", claimed, body)

    async def cancel(
        self,
        user_id: str,
        *,
        when: Literal["period_end", "now"] = "period_end",
        key: str | None = None,
        id: int | None = None,
        customer_id: int | None = None,
    ) -> SubscriptionAnswer:
        """End a subscription with its period, or now; nothing is refunded by this."""
        which = asked(CancelAsked, when=when, id=_which(id).id)
        caller = await self._caller(user_id, customer_id)
        claimed = _claim(caller, "DELETE /api/subscription", key, which)
        kind: Kind = "cancel" if which.when == "period_end" else "cancel_now"
        return await self._request(caller, which.id, kind, claimed)

    async def resume(
        self,
        user_id: str,
        *,
        key: str | None = None,
        id: int | None = None,
        customer_id: int | None = None,
    ) -> SubscriptionAnswer:
        """Take back an end that is to come, and end a pause."""
        caller, which = await self._caller(user_id, customer_id), _which(id)
        claimed = _claim(caller, "POST /api/subscription/resume", key, which)
        return await self._request(caller, which.id, "resume", claimed)

    async def pause(
        self,
        user_id: str,
        *,
        key: str | None = None,
        id: int | None = None,
        customer_id: int | None = None,
    ) -> SubscriptionAnswer:
        """Stop charging until it is resumed."""
        caller, which = await self._caller(user_id, customer_id), _which(id)
        claimed = _claim(caller, "POST /api/subscription/pause", key, which)
        return await self._request(caller, which.id, "pause", claimed)

    async def portal(
        self,
        user_id: str,
        *,
        return_url: str | None = None,
        customer_id: int | None = None,
        provider: str = "stripe",
    ) -> str:
        """The address of the provider's page for cards, invoices and subscriptions, good for one
        visit soon. Raises errors.NoCustomer, errors.RedirectNotAllowed."""
        wiring = self._wiring()
        back = redirects.return_url(wiring.settings, return_url)
        caller = await self._caller(user_id, customer_id)
        adapter = wiring.provider(provider)
        return await portal.open(wiring.db, adapter, caller.customer_id, return_url=back)

    async def _caller(self, user_id: str, customer_id: int | None) -> Caller:
        account = await find_account(self._wiring(), user_id, customer_id)
        if account.role == "member":
            raise errors.Denied("This needs an owner or an admin of the team.")
        return Caller(SERVICE, account.user, account.customer_id, account.role)

    async def _request(
        self,
        caller: Caller,
        row_id: int | None,
        kind: Kind,
        key: Key | None,
        body: ChangeRequest | None = None,
    ) -> SubscriptionAnswer:
        kept = await subscription_calls.request(
            self._wiring(), caller, row_id, kind, key=key, body=body
        )
        return SubscriptionAnswer.model_validate_json(bytes(kept.body))


def _which(row_id: int | None) -> SubscriptionAsked:
    return SubscriptionAsked(id=None if row_id is None else check_id("id", row_id))


def _claim(caller: Caller, route: str, key: str | None, *said: BaseModel) -> Key | None:
    return claim_of(caller, route, None if key is None else check_key(key), *said)
