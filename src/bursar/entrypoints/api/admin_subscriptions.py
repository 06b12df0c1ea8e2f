"""Subscriptions for who runs the shop: all of them, one by one, and their end."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import subscription_changes
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints.api.answers import answer
from bursar.entrypoints.api.callers import actor_of, find_id, idempotency_key
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import cut
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.api.subscription_bodies import (
    AdminAsked,
    AdminCancelAsked,
    SubscriptionAnswer,
    SubscriptionsAnswer,
    subscription_answer,
)
from bursar.wiring import Wiring

router = APIRouter(tags=["admin"])

Admin = Annotated[Actor, Depends(actor_of("admin"))]


@router.get(
    "/api/admin/subscriptions", response_model=SubscriptionsAnswer, **described(refusals=(422,))
)
async def list_subscriptions(
    request: Request, actor: Admin, asked: Annotated[AdminAsked, Query()]
) -> Response:
    """List everybody's subscriptions, newest first."""
    async with api_of(request).wiring.db.connection() as conn:
        found = await rows.list_all(
            conn, before=asked.before, status=asked.status, limit=asked.limit + 1
        )
    shown, cursor = cut(found, asked.limit)
    data = [subscription_answer(row) for row in shown]
    return answer(SubscriptionsAnswer(data=data, next_cursor=cursor))


@router.get(
    "/api/admin/subscriptions/{subscription_id}",
    response_model=SubscriptionAnswer,
    **described(refusals=(404,)),
)
async def get_subscription(request: Request, subscription_id: str, actor: Admin) -> Response:
    """Show one."""
    return answer(subscription_answer(await _get(api_of(request).wiring, subscription_id)))


@router.delete(
    "/api/admin/subscriptions/{subscription_id}",
    response_model=SubscriptionAnswer,
    **described(idempotent=True, refusals=(404, 409, 502, 504)),
)
async def cancel_subscription(
    request: Request,
    subscription_id: str,
    actor: Admin,
    asked: Annotated[AdminCancelAsked, Query()],
    key: Annotated[str | None, Depends(idempotency_key)],
) -> Response:
    """End a subscription with its period, or now; nothing is refunded by this."""
    wiring = api_of(request).wiring
    row = await _get(wiring, subscription_id)
    wanted = Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind="cancel" if asked.when == "period_end" else "cancel_now",
        requested_by=actor.principal,
        actor=actor,
        rules=wiring.rules,
    )
    route = f"DELETE /api/admin/subscriptions/{row.id}"
    said = idempotency.hash_request(orjson.dumps(asked.model_dump()))
    claimed = None if key is None else Key(actor.principal, route, key, said)

    async def work(resume: str | None) -> SubscriptionAnswer:
        changed = await subscription_changes.request(
            wiring.db, wiring.providers, wanted, clock=wiring.clock, key=claimed, resume=resume
        )
        return subscription_answer(changed)

    if claimed is None:
        return answer(await work(None))
    return await once(wiring.db, claimed, work)


async def _get(wiring: Wiring, text: str) -> Subscription:
    number = find_id(text)
    found = []
    if number is not None:
        async with wiring.db.connection() as conn:
            found = await rows.list_all(conn, before=number + 1, status=None, limit=1)
    if not found or found[0].id != number:
        raise errors.NotFound("There is no such subscription.")
    return found[0]
