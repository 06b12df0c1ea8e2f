"""Which subscription somebody means, and going on with one that was to end or was paused.

Stands before `subscription_changes`, which carries out what is asked. Writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from bursar import errors
from bursar.access import idempotency
from bursar.billing import subscription_changes
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Subscription
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.port import Provider

CHANGED = (
    "select subscription_id from subscription_changes where customer_id = $1 and reference = $2"
)


async def get_shown(conn: Connection, customer_id: int, row_id: int | None) -> Subscription:
    """The subscription with this id; without one the customer's plan, which comes before add-ons.

    Raises NotFound when there is none, and when none lives.
    """
    if row_id is not None:
        return await rows.get(conn, customer_id, row_id)
    return (await _live(conn, customer_id))[0]


async def get_meant(conn: Connection, customer_id: int, row_id: int | None) -> Subscription:
    """The subscription that is to be changed. Raises NotFound, and Invalid when it may be one of
    several: whoever has two must say which."""
    if row_id is not None:
        return await rows.get(conn, customer_id, row_id)
    live = await _live(conn, customer_id)
    if len(live) > 1:
        ids = ", ".join(str(row.id) for row in live)
        message = f"Several subscriptions run: name one of {ids}"
        entry = {"field": "id", "code": "id_missing", "message": message}
        raise errors.Invalid(f"id: {message}.", errors=[entry])
    return live[0]


async def get_changed(conn: Connection, customer_id: int, reference: str) -> Subscription:
    """The subscription that an earlier try to change something was about. Raises NotFound."""
    row_id = await conn.fetchval(CHANGED, customer_id, UUID(reference))
    if row_id is None:
        raise errors.NotFound("There is no such change.")
    return await rows.get(conn, customer_id, row_id)


async def request(
    db: Database,
    providers: Mapping[str, Provider],
    wanted: Wanted,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
) -> Subscription:
    """Have a subscription changed; `resume` takes back an end that is to come, ends a pause, or
    both. Returns and raises what `subscription_changes.request` does.

    Of two changes the key is tied to the last. What is so already is answered without a call.
    """
    if wanted.kind == "resume" and resume is None:
        wanted = await _going_on(db, providers, wanted, clock)
    return await subscription_changes.request(
        db, providers, wanted, clock=clock, key=key, resume=resume
    )


async def _going_on(
    db: Database, providers: Mapping[str, Provider], wanted: Wanted, clock: Clock
) -> Wanted:
    """What is left to do for going on; a pause is ended first when that is not all."""
    async with db.connection() as conn:
        row = await rows.get(conn, wanted.customer_id, wanted.subscription_id)
    if row.status != "paused":
        return wanted
    unpause = replace(wanted, kind="unpause")
    if row.cancel_at is None:
        return unpause
    await subscription_changes.request(db, providers, unpause, clock=clock)
    return wanted


async def _live(conn: Connection, customer_id: int) -> list[Subscription]:
    """The plans that live; the add-ons where there is no plan."""
    live = await rows.list_live(conn, customer_id)
    found = [row for row in live if not row.addon] or live
    if not found:
        raise errors.NotFound("There is no subscription.")
    return found
