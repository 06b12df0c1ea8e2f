"""Subscriptions over HTTP: begun on a hosted page, shown, changed, ended, paused, gone on with.

Each change happens once for its Idempotency-Key. What a change costs is the provider's to say.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from bursar.access.idempotency import Key
from bursar.billing import subscription_changes, subscription_requests
from bursar.billing.subscription_changes import Kind, Wanted
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints.api.answers import CheckoutAnswer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import Caller, idempotency_key, managing_caller
from bursar.entrypoints.api.checkouts import open_for
from bursar.entrypoints.api.once import claim_of, once
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
    preview_answer,
    subscription_answer,
)
from bursar.wiring import Wiring

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
    async with api_of(request).wiring.db.connection() as conn:
        row = await subscription_requests.get_shown(conn, caller.customer_id, asked.id)
    return answer(subscription_answer(row))


@router.get(
    "/api/subscription/preview",
    response_model=PreviewAnswer,
    **described(acting=True, refusals=(404, 409, 422, 502, 504)),
)
async def preview_change(
    request: Request, caller: Subscriber, asked: Annotated[PreviewAsked, Query()]
) -> Response:
    """Ask what a change costs now and next; it changes nothing."""
    wiring = api_of(request).wiring
    row = await _meant(wiring, caller, asked.id, None)
    wanted = _wanted(
        wiring,
        caller,
        row,
        "change",
        plan=asked.plan,
        quantity=asked.quantity,
        interval=asked.interval,
        proration=asked.proration,
    )
    found = await subscription_changes.preview(
        wiring.db, wiring.providers, wanted, clock=wiring.clock
    )
    return answer(preview_answer(found))


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
    wiring = api_of(request).wiring
    fields = body.model_dump(exclude={"proration_at"})
    claimed = claim_of(caller, "PATCH /api/subscription", key, asked, body)

    async def work(resume: str | None) -> SubscriptionAnswer:
        row = await _meant(wiring, caller, asked.id, resume)
        wanted = _wanted(wiring, caller, row, "change", at=body.proration_at, **fields)
        return await _request(wiring, wanted, claimed, resume)

    if claimed is None:
        return answer(await work(None))
    return await once(wiring.db, claimed, work)


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
    return await _steer(api_of(request).wiring, caller, kind, asked.id, claimed)


@router.post("/api/subscription/resume", response_model=SubscriptionAnswer, **CHANGES)
async def resume_subscription(
    request: Request,
    caller: Subscriber,
    asked: Annotated[SubscriptionAsked, Query()],
    key: ClientKey,
) -> Response:
    """Take back an end that is to come, and end a pause."""
    claimed = claim_of(caller, "POST /api/subscription/resume", key, asked)
    return await _steer(api_of(request).wiring, caller, "resume", asked.id, claimed)


@router.post("/api/subscription/pause", response_model=SubscriptionAnswer, **CHANGES)
async def pause_subscription(
    request: Request,
    caller: Subscriber,
    asked: Annotated[SubscriptionAsked, Query()],
    key: ClientKey,
) -> Response:
    """Stop charging until it is resumed."""
    claimed = claim_of(caller, "POST /api/subscription/pause", key, asked)
    return await _steer(api_of(request).wiring, caller, "pause", asked.id, claimed)


async def _steer(
    wiring: Wiring, caller: Caller, kind: Kind, row_id: int | None, claimed: Key | None
) -> Response:
    async def work(resume: str | None) -> SubscriptionAnswer:
        row = await _meant(wiring, caller, row_id, resume)
        return await _request(wiring, _wanted(wiring, caller, row, kind), claimed, resume)

    if claimed is None:
        return answer(await work(None))
    return await once(wiring.db, claimed, work)


async def _meant(
    wiring: Wiring, caller: Caller, row_id: int | None, resume: str | None
) -> Subscription:
    """The subscription that a request is about; one that is resumed was about it before."""
    async with wiring.db.connection() as conn:
        if resume is not None:
            return await subscription_requests.get_changed(conn, caller.customer_id, resume)
        return await subscription_requests.get_meant(conn, caller.customer_id, row_id)


def _wanted(
    wiring: Wiring, caller: Caller, row: Subscription, kind: Kind, **fields: object
) -> Wanted:
    return Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind=kind,
        requested_by=caller.actor.principal,
        actor=caller.actor,
        rules=wiring.rules,
        **fields,  # type: ignore[arg-type]
    )


async def _request(
    wiring: Wiring, wanted: Wanted, key: Key | None, resume: str | None
) -> SubscriptionAnswer:
    row = await subscription_requests.request(
        wiring.db, wiring.providers, wanted, clock=wiring.clock, key=key, resume=resume
    )
    return subscription_answer(row)
