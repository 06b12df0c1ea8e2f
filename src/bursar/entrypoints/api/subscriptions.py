"""Subscriptions over HTTP: begun on a hosted page, shown, changed, ended, paused, gone on with.

Each change happens once for its Idempotency-Key. What a change costs is the provider's to say.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from bursar.billing.subscription_changes import Kind
from bursar.entrypoints.api import subscription_calls
from bursar.entrypoints.api.answers import CheckoutAnswer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import Caller, idempotency_key, managing_caller
from bursar.entrypoints.api.checkouts import open_for
from bursar.entrypoints.api.once import claim_of
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import CheckoutRequest
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.api.subscription_bodies import (
    CancelAsked,
    ChangeRequest,
    PreviewAnswer,
    PreviewAsked,
    SubscribeRequest,
    SubscriptionAnswer,
    SubscriptionAsked,
)

router = APIRouter(tags=["subscriptions"])

Subscriber = Annotated[Caller, Depends(managing_caller)]
ClientKey = Annotated[str | None, Depends(idempotency_key)]

CHANGES = described(acting=True, idempotent=True, refusals=(404, 409, 502, 504))


@router.post(
    "/api/subscribe",
    response_model=CheckoutAnswer,
    **described(body=SubscribeRequest, acting=True, idempotent=True, refusals=(409, 502, 504)),
)
async def subscribe(
    request: Request,
    caller: Subscriber,
    key: ClientKey,
    body: Annotated[SubscribeRequest, Depends(body_of(SubscribeRequest))],
) -> Response:
    """Open a hosted checkout for a plan; whoever has one open for the same gets that again."""
    usual: str = next(iter(api_of(request).wiring.providers), "")
    wanted = CheckoutRequest(**body.model_dump(exclude={"provider"}))
    claimed = claim_of(caller, "POST /api/subscribe", key, body)
    return await open_for(request, body.provider or usual, caller, wanted, claimed)


@router.get(
    "/api/subscription",
    response_model=SubscriptionAnswer,
    **described(acting=True, refusals=(404, 422)),
)
async def get_subscription(
    request: Request, caller: Subscriber, asked: Annotated[SubscriptionAsked, Query()]
) -> Response:
    """Show the customer's plan, or the subscription that `id` names, ended ones too."""
    return answer(await subscription_calls.get(api_of(request).wiring, caller, asked.id))


@router.get(
    "/api/subscription/preview",
    response_model=PreviewAnswer,
    **described(acting=True, refusals=(404, 409, 422, 502, 504)),
)
async def preview_change(
    request: Request, caller: Subscriber, asked: Annotated[PreviewAsked, Query()]
) -> Response:
    """Ask what a change costs now and next; it changes nothing."""
    return answer(await subscription_calls.preview(api_of(request).wiring, caller, asked))


@router.patch(
    "/api/subscription",
    response_model=SubscriptionAnswer,
    **described(
        body=ChangeRequest, acting=True, idempotent=True, refusals=(404, 409, 422, 502, 504)
    ),
)
async def change_subscription(
    request: Request,
    caller: Subscriber,
    asked: Annotated[SubscriptionAsked, Query()],
    key: ClientKey,
    body: Annotated[ChangeRequest, Depends(body_of(ChangeRequest))],
) -> Response:
    """Change plan, quantity or interval."""
    claimed = claim_of(caller, "PATCH /api/subscription", key, asked, body)
    return await subscription_calls.request(
        api_of(request).wiring, caller, asked.id, "change", key=claimed, body=body
    )


@router.delete("/api/subscription", response_model=SubscriptionAnswer, **CHANGES)
async def cancel_subscription(
    request: Request,
    caller: Subscriber,
    asked: Annotated[CancelAsked, Query()],
    key: ClientKey,
) -> Response:
    """End a subscription with its period, or now; nothing is refunded by this."""
    kind: Kind = "cancel" if asked.when == "period_end" else "cancel_now"
    claimed = claim_of(caller, "DELETE /api/subscription", key, asked)
    return await subscription_calls.request(
        api_of(request).wiring, caller, asked.id, kind, key=claimed
    )


@router.post("/api/subscription/resume", response_model=SubscriptionAnswer, **CHANGES)
async def resume_subscription(
    request: Request,
    caller: Subscriber,
    asked: Annotated[SubscriptionAsked, Query()],
    key: ClientKey,
) -> Response:
    """Take back an end that is to come, and end a pause."""
    claimed = claim_of(caller, "POST /api/subscription/resume", key, asked)
    return await subscription_calls.request(
        api_of(request).wiring, caller, asked.id, "resume", key=claimed
    )


@router.post("/api/subscription/pause", response_model=SubscriptionAnswer, **CHANGES)
async def pause_subscription(
    request: Request,
    caller: Subscriber,
    asked: Annotated[SubscriptionAsked, Query()],
    key: ClientKey,
) -> Response:
    """Stop charging until it is resumed."""
    claimed = claim_of(caller, "POST /api/subscription/pause", key, asked)
    return await subscription_calls.request(
        api_of(request).wiring, caller, asked.id, "pause", key=claimed
    )
