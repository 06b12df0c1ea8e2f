"""Timers: what is due later, as rows worked by the same loop as the inbox.

A timer is (kind, reference), unique; what it does is a function in billing. Due times are business
time, leases real time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from bursar.db.connections import Connection
from bursar.messages.inbox import retry_seconds

# The earlier of two due times wins, so that scheduling twice never delays.
SCHEDULE = """
insert into timers (kind, reference, due_at, created_at) values ($1, $2, $3, $4)
on conflict (kind, reference) do update set due_at = least(timers.due_at, excluded.due_at)
"""

CANCEL = "delete from timers where kind = $1 and reference = $2"

CLAIM = """
with due as (
    select kind, reference from timers
    where due_at <= $1 and (lease_until is null or lease_until <= now())
    order by due_at
    limit $2
    for update skip locked
)
update timers t
set lease = $3, lease_until = now() + make_interval(secs => $4), attempts = attempts + 1
from due where t.kind = due.kind and t.reference = due.reference
returning t.kind, t.reference, t.attempts
"""

FINISH = "delete from timers where kind = $1 and reference = $2 and lease = $3 returning kind"

AGAIN = """
update timers set due_at = $4, lease = null, lease_until = null, last_error = $5::text,
    attempts = case when $5::text is null then 0 else attempts end
where kind = $1 and reference = $2 and lease = $3
"""


@dataclass(frozen=True, slots=True)
class Timer:
    """A due timer, lent to a worker."""

    kind: str
    reference: str
    attempts: int
    lease: UUID


async def schedule(
    conn: Connection, kind: str, reference: str, *, due_at: datetime, at: datetime
) -> None:
    """Have `kind` done for `reference` at the business time `due_at`, or sooner if set so."""
    await conn.execute(SCHEDULE, kind, reference, due_at, at)


async def cancel(conn: Connection, kind: str, reference: str) -> None:
    """Forget a timer; nothing happens when there is none."""
    await conn.execute(CANCEL, kind, reference)


async def claim(conn: Connection, *, at: datetime, limit: int, lease_seconds: float) -> list[Timer]:
    """Lend up to `limit` timers that are due at the business time `at`."""
    lease = uuid4()
    rows = await conn.fetch(CLAIM, at, limit, lease, lease_seconds)
    return [Timer(row["kind"], row["reference"], row["attempts"], lease) for row in rows]


async def finish(conn: Connection, timer: Timer) -> bool:
    """Drop a timer that is done; false when its lease was lost meanwhile."""
    gone = await conn.fetchval(FINISH, timer.kind, timer.reference, timer.lease)
    return gone is not None


async def again(conn: Connection, timer: Timer, *, due_at: datetime, reason: str | None) -> None:
    """Set a timer anew, with the reason of a failure; without one its tries count from nought."""
    await conn.execute(AGAIN, timer.kind, timer.reference, timer.lease, due_at, reason)


__all__ = ["Timer", "again", "cancel", "claim", "finish", "retry_seconds", "schedule"]
