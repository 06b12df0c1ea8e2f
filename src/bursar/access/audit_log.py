"""The audit log: what an admin or a service changed, why, and what it was before.

Owns table audit_log, which the database itself keeps append-only. A line is written in the
transaction of the change that it tells of, so neither is there without the other. What users do
for themselves is told by the ledger and the payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from bursar.access.actors import Actor
from bursar.db import Connection

RECORD = """
insert into audit_log (actor, key_id, action, subject, customer_id, reason, detail)
values ($1, $2, $3, $4, $5, $6, $7::jsonb)
"""

LIST = """
select id, actor, key_id, action, subject, customer_id, reason, detail, created_at from audit_log
where ($1::bigint is null or id < $1) and ($2::text is null or action = $2)
    and ($3::bigint is null or customer_id = $3)
order by id desc limit $4
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log. `created_at` is real time, whatever the clock of business says."""

    id: int
    actor: str
    key_id: int | None
    action: str
    subject: str
    customer_id: int | None
    reason: str | None
    detail: dict[str, Any]
    created_at: datetime


async def record(
    conn: Connection,
    actor: Actor | str,
    action: str,
    *,
    subject: str,
    customer_id: int | None = None,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write a line, unless a user acts for themselves.

    `action` is `thing.done` (`voucher.created`), `subject` names the thing by its id; an `actor`
    that is a text is a command ("command"). Secrets never go into `detail`.
    """
    if isinstance(actor, Actor):
        if actor.kind == "user":
            return
        name = f"{actor.kind}:{actor.user_id}" if actor.user_id else actor.kind
        key_id = actor.key_id
    else:
        name, key_id = actor, None
    told = orjson.dumps(dict(detail or {}), default=str).decode()
    await conn.execute(RECORD, name, key_id, action, subject, customer_id, reason, told)


async def list_entries(
    conn: Connection,
    *,
    action: str | None = None,
    customer_id: int | None = None,
    before: int | None = None,
    limit: int,
) -> list[Entry]:
    """Lines newest first, from the one below id `before` on."""
    rows = await conn.fetch(LIST, before, action, customer_id, limit)
    return [Entry(**{**dict(row), "detail": orjson.loads(row["detail"])}) for row in rows]
