"""Once for each Idempotency-Key: the first answer is kept, a refusal leaves the key free.

`once` is for requests that begin an intent at a provider: a try that broke off is resumed by its
reference. `once_here` is for those that change our own tables alone: claim, change and answer are
one transaction, so no try can break off between them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.idempotency import Key, Replay, Resumed
from bursar.db import Connection, Database
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.callers import Caller

# With these the outcome is open, and the same intent is asked about again under the same key.
OPEN_OUTCOMES = (errors.ProviderUnavailable, errors.ProviderUnknown, errors.Unavailable)


def claim_of(caller: Caller, route: str, key: str | None, *said: BaseModel) -> Key | None:
    """A caller's Idempotency-Key for what was `said` to a route; None when none was sent.

    The customer is part of the scope: a service acts for many.
    """
    if key is None:
        return None
    parts = [orjson.dumps(one.model_dump(), option=orjson.OPT_SORT_KEYS) for one in said]
    scope = f"{caller.actor.principal} for {caller.customer_id}"
    return Key(scope, route, key, idempotency.hash_request(*parts))


async def once(db: Database, key: Key, work: Callable[[str | None], Awaitable[Answer]]) -> Response:
    """Do `work` under a claimed key. It is told the reference that an earlier try got to, if any.

    Raises IdempotencyKeyInUse, IdempotencyKeyReused and whatever `work` raises.
    """
    async with db.transaction() as conn:
        claim = await idempotency.claim(conn, key)
    if isinstance(claim, Replay):
        headers = {"Idempotent-Replayed": "true"}
        return Response(claim.response, claim.status, headers, media_type="application/json")
    try:
        made = await work(claim.reference if isinstance(claim, Resumed) else None)
    except OPEN_OUTCOMES:
        async with db.transaction() as conn:
            await idempotency.suspend(conn, key, lease=claim.lease)
        raise
    except errors.Error:
        async with db.transaction() as conn:
            await idempotency.release(conn, key, lease=claim.lease)
        raise
    response = answer(made)
    async with db.transaction() as conn:
        await idempotency.complete(conn, key, response.status_code, bytes(response.body))
    return response


async def once_here(
    db: Database, key: Key | None, work: Callable[[Connection], Awaitable[Answer]]
) -> Response:
    """Do `work` and keep its answer in one transaction; without a key, just do it.

    `work` may run again after contention. Raises IdempotencyKeyInUse, IdempotencyKeyReused and
    whatever `work` raises, which undoes the claim too.
    """

    async def claim_and_work(conn: Connection) -> Response:
        if key is None:
            return answer(await work(conn))
        claim = await idempotency.claim(conn, key)
        if isinstance(claim, Replay):
            headers = {"Idempotent-Replayed": "true"}
            return Response(claim.response, claim.status, headers, media_type="application/json")
        response = answer(await work(conn))
        await idempotency.complete(conn, key, response.status_code, bytes(response.body))
        return response

    return await db.run(claim_and_work)
