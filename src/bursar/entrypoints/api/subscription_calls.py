"""Requests about a subscription on their way to billing: which one, for whom, once for each key.

The same for HTTP and for the library, so that one repeated the other way counts once.
"""

from __future__ import annotations

from starlette.responses import Response

from bursar.access.idempotency import Key
from bursar.billing import subscription_changes, subscription_requests
from bursar.billing.subscription_changes import Kind, Wanted
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints.api.answers import answer
from bursar.entrypoints.api.callers import Caller
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.subscription_bodies import (
    ChangeRequest,
    PreviewAnswer,
    PreviewAsked,
    SubscriptionAnswer,
    preview_answer,
    subscription_answer,
)
from bursar.wiring import Wiring


async def get(wiring: Wiring, caller: Caller, row_id: int | None) -> SubscriptionAnswer:
    """The customer's plan, or the subscription with this id. Raises errors.NotFound."""
    async with wiring.db.connection() as conn:
        row = await subscription_requests.get_shown(conn, caller.customer_id, row_id)
    return subscription_answer(row)


async def preview(wiring: Wiring, caller: Caller, asked: PreviewAsked) -> PreviewAnswer:
    """What a change costs. Raises what `subscription_changes.preview` does."""
    row = await _meant(wiring, caller, asked.id, None)
    found = await subscription_changes.preview(
        wiring.db,
        wiring.providers,
        _wanted(wiring, caller, row, "change", asked),
        clock=wiring.clock,
    )
    return preview_answer(found)


async def request(
    wiring: Wiring,
    caller: Caller,
    row_id: int | None,
    kind: Kind,
    *,
    key: Key | None,
    body: ChangeRequest | None = None,
) -> Response:
    """Have a subscription changed, under a key once; answers how it stands then.

    Raises what `subscription_requests.request` does.
    """

    async def work(resume: str | None) -> SubscriptionAnswer:
        row = await _meant(wiring, caller, row_id, resume)
        changed = await subscription_requests.request(
            wiring.db,
            wiring.providers,
            _wanted(wiring, caller, row, kind, body),
            clock=wiring.clock,
            key=key,
            resume=resume,
        )
        return subscription_answer(changed)

    if key is None:
        return answer(await work(None))
    return await once(wiring.db, key, work)


async def _meant(
    wiring: Wiring, caller: Caller, row_id: int | None, resume: str | None
) -> Subscription:
    """The subscription that a request is about; one that is resumed was about it before."""
    async with wiring.db.connection() as conn:
        if resume is not None:
            return await subscription_requests.get_changed(conn, caller.customer_id, resume)
        return await subscription_requests.get_meant(conn, caller.customer_id, row_id)


def _wanted(
    wiring: Wiring,
    caller: Caller,
    row: Subscription,
    kind: Kind,
    asked: ChangeRequest | PreviewAsked | None,
) -> Wanted:
    if asked is not None and asked.proration == "none":
        # Another plan for nothing until the next period is the shop's to give.
        caller.actor.require("service", "admin")
    return Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind=kind,
        plan=asked.plan if asked else None,
        interval=asked.interval if asked else None,
        quantity=asked.quantity if asked else None,
        proration=asked.proration if asked else "create_prorations",
        at=asked.proration_at if isinstance(asked, ChangeRequest) else None,
        requested_by=caller.actor.principal,
        actor=caller.actor,
        rules=wiring.rules,
    )
