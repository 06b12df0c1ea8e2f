"""Hosted checkouts over HTTP: opened once for each Idempotency-Key, and asked about later."""

from __future__ import annotations

import re
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import limits
from bursar.access.idempotency import Key
from bursar.billing import checkouts, payments, reversals
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from bursar.entrypoints.api import redirects
from bursar.entrypoints.api.answers import (
    CheckoutAnswer,
    CheckoutStateAnswer,
    answer,
    payment_answer,
    session_status,
)
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import Caller, idempotency_key, managing_caller
from bursar.entrypoints.api.once import claim_of, once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import CheckoutRequest
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.currencies import usual_currency
from bursar.providers.port import Provider, ProviderName
from bursar.wiring import Wiring

log = structlog.get_logger("bursar.api")

router = APIRouter(tags=["checkout"])

LIMIT_SCOPE = "checkout"
SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)

Buyer = Annotated[Caller, Depends(managing_caller)]


@router.post(
    "/api/{provider:provider}/checkout-session",
    response_model=CheckoutAnswer,
    **described(body=CheckoutRequest, acting=True, idempotent=True, refusals=(409, 502, 504)),
)
async def open_checkout(
    request: Request,
    provider: ProviderName,
    caller: Buyer,
    key: Annotated[str | None, Depends(idempotency_key)],
    body: Annotated[CheckoutRequest, Depends(body_of(CheckoutRequest))],
) -> Response:
    """Open a hosted checkout; the buyer pays at `url`."""
    route = f"POST /api/{provider}/checkout-session"
    return await open_for(request, provider, caller, body, claim_of(caller, route, key, body))


async def open_for(
    request: Request, provider: str, caller: Caller, body: CheckoutRequest, key: Key | None
) -> Response:
    """Open a checkout for a caller; under a client's key once."""
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    order = _order(request, wiring, caller, body)
    if key is None:
        await _count(wiring, caller)
        payment = await checkouts.open(wiring.db, adapter, order, clock=wiring.clock)
        return answer(_opened(payment))
    return await _open_once(wiring, adapter, order, caller, key)


async def _open_once(
    wiring: Wiring, adapter: Provider, order: Order, caller: Caller, key: Key
) -> Response:
    """Open under a client's key: the first answer is kept, a refusal leaves the key free."""

    async def work(resume: str | None) -> CheckoutAnswer:
        if resume is None:
            await _count(wiring, caller)
        payment = await checkouts.open(
            wiring.db, adapter, order, clock=wiring.clock, key=key, resume=resume
        )
        return _opened(payment)

    return await once(wiring.db, key, work)


async def _count(wiring: Wiring, caller: Caller) -> None:
    """Hold the user to the limit of checkouts; replays and resumed tries don't count."""
    limit = wiring.settings.limit_checkout
    if limit is None:
        return
    async with wiring.db.connection() as conn:
        await limits.take(conn, LIMIT_SCOPE, caller.user.id, limit)


def _order(request: Request, wiring: Wiring, caller: Caller, body: CheckoutRequest) -> Order:
    settings = wiring.settings
    return Order(
        customer_id=caller.customer_id,
        user=caller.user,
        success_url=redirects.success_url(settings, body.success_url),
        cancel_url=redirects.cancel_url(settings, body.cancel_url),
        package=body.package,
        plan=body.plan,
        interval=body.interval,
        price_id=body.price_id,
        amount_minor=body.amount,
        currency=body.currency,
        usual_currency=usual_currency(request, settings),
        coupon=body.coupon,
        quantity=body.quantity,
        description=body.description,
        metadata=body.metadata,
        capture_method=body.capture_method,
    )


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


@router.get(
    "/api/{provider:provider}/checkout-session/{session_id}",
    response_model=CheckoutStateAnswer,
    **described(acting=True, refusals=(404, 409)),
)
async def get_checkout(
    request: Request, provider: ProviderName, session_id: str, caller: Buyer
) -> Response:
    """Ask how a checkout stands; while it is open the provider is asked, too."""
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    found = None
    if SESSION_ID.fullmatch(session_id):
        async with wiring.db.connection() as conn:
            found = await payments.find_by_session(conn, provider, session_id)
    if found is None or found.customer_id != caller.customer_id:
        raise errors.NotFound("There is no such checkout session.")
    try:
        found = await checkouts.sync(
            wiring.db,
            adapter,
            found,
            clock=wiring.clock,
            rules=wiring.rules,
        )
    except (
        errors.ProviderUnavailable,
        errors.ProviderRejected,
        errors.ProviderUnknown,
    ) as error:
        # What we know is true and is answered; the webhook tells us the rest.
        log.warning("checkout not synced", payment_id=found.id, code=error.code)
    async with wiring.db.connection() as conn:
        back = await reversals.list_for_payments(conn, found.customer_id, [found.id])
    status = session_status(found)
    return answer(
        CheckoutStateAnswer(
            session_id=session_id,
            session_status=status,
            url=found.session_url if status == "open" else None,
            payment=payment_answer(found, back.get(found.id, [])),
        )
    )
