"""Hosted checkouts, opened by a host in its own process.

Prices, limits and redirects are those of the API; what a buyer owes is decided by the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bursar import errors
from bursar.access import limits
from bursar.access.idempotency import Key
from bursar.billing import checkouts
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from bursar.entrypoints.api import redirects
from bursar.entrypoints.api.answers import CheckoutAnswer
from bursar.entrypoints.api.callers import Caller
from bursar.entrypoints.api.checkouts import LIMIT_SCOPE
from bursar.entrypoints.api.once import claim_of, once
from bursar.entrypoints.api.requests import CheckoutRequest
from bursar.entrypoints.library.accounts import (
    SERVICE,
    GetWiring,
    asked,
    check_key,
    find_account,
)
from bursar.wiring import Wiring


class Checkouts:
    """Hosted checkouts: the buyer is sent to `url`, and pays there."""

    def __init__(self, wiring: GetWiring) -> None:
        self._wiring = wiring

    async def open(
        self,
        user_id: str,
        *,
        package: str | None = None,
        plan: str | None = None,
        interval: Literal["month", "year"] | None = None,
        price_id: str | None = None,
        amount: int | None = None,
        currency: str | None = None,
        quantity: int = 1,
        coupon: str | None = None,
        key: str | None = None,
        description: str | None = None,
        success_url: str | None = None,
        cancel_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
        capture_method: str | None = None,
        customer_id: int | None = None,
        provider: str = "stripe",
    ) -> CheckoutAnswer:
        """Open a checkout of a package, of a plan that renews by the `interval`, of a price, or of
        an amount with its currency.

        With a `key` a repeat gets the same checkout. Raises errors.Invalid and its leaves,
        errors.AlreadySubscribed, errors.CouponExhausted,
        errors.Throttled, errors.IdempotencyKeyInUse, errors.IdempotencyKeyReused,
        errors.ProviderUnavailable, errors.ProviderRejected, errors.ProviderUnknown.
        """
        wiring = self._wiring()
        body = asked(
            CheckoutRequest,
            package=package,
            plan=plan,
            interval=interval,
            price_id=price_id,
            amount=amount,
            currency=currency,
            quantity=quantity,
            coupon=coupon,
            description=description,
            success_url=success_url,
            cancel_url=cancel_url,
            metadata=dict(metadata) if metadata else None,
            capture_method=capture_method,
        )
        account = await find_account(wiring, user_id, customer_id)
        if account.role == "member":
            raise errors.Denied("Members use a team's credits; its owners and admins buy them.")
        caller = Caller(SERVICE, account.user, account.customer_id, account.role)
        route = f"POST /api/{provider}/checkout-session"
        claimed = claim_of(caller, route, None if key is None else check_key(key), body)
        return await open_for(wiring, provider, caller, body, claimed)


async def open_for(
    wiring: Wiring, provider: str, caller: Caller, body: CheckoutRequest, key: Key | None
) -> CheckoutAnswer:
    """Open a checkout as it was asked for; under a key once."""
    order = _order(wiring, caller, body)
    if key is None:
        return await _open(wiring, provider, order, None, None)

    async def work(resume: str | None) -> CheckoutAnswer:
        return await _open(wiring, provider, order, key, resume)

    kept = await once(wiring.db, key, work)
    return CheckoutAnswer.model_validate_json(bytes(kept.body))


async def _open(
    wiring: Wiring, provider: str, order: Order, key: Key | None, resume: str | None
) -> CheckoutAnswer:
    adapter, limit = wiring.provider(provider), wiring.settings.limit_checkout
    if resume is None and limit is not None:
        async with wiring.db.connection() as conn:
            await limits.take(conn, LIMIT_SCOPE, order.user.id, limit)
    payment = await checkouts.open(
        wiring.db, adapter, order, clock=wiring.clock, key=key, resume=resume
    )
    return _opened(payment)


def _opened(payment: Payment) -> CheckoutAnswer:
    return CheckoutAnswer(
        session_id=payment.session_id or "",
        url=payment.session_url or "",
        payment_id=payment.id,
        status=payment.status,
        amount=payment.amount_minor,
        currency=payment.currency,
        expires_at=payment.expires_at,
    )


def _order(wiring: Wiring, caller: Caller, body: CheckoutRequest) -> Order:
    return Order(
        customer_id=caller.customer_id,
        user=caller.user,
        success_url=redirects.success_url(wiring.settings, body.success_url),
        cancel_url=redirects.cancel_url(wiring.settings, body.cancel_url),
        package=body.package,
        plan=body.plan,
        interval=body.interval,
        price_id=body.price_id,
        amount_minor=body.amount,
        currency=body.currency,
        quantity=body.quantity,
        coupon=body.coupon,
        description=body.description,
        metadata=body.metadata,
        capture_method=body.capture_method,
    )
