"""The inbox: every authentic message from a provider, stored as it came, worked off later.

`receive` keeps the raw bytes and the key that makes a repeat harmless; `claim` lends messages to a
worker for the length of a lease; `finish` and `fail` give them back, if the lease is still ours.
States: received → processing → done | ignored | failed | dead | quarantined. `failed` is tried
again with growing pauses. Nothing is deleted. Knows no provider and decides no effect.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID, uuid4

import orjson

from bursar import failpoints
from bursar.db.connections import Connection

ATTEMPTS_MAX = 10
"""Failures after which a message is dead: something in it, or in us, is wrong."""
PATIENT_ATTEMPTS_MAX = 84
"""The same when only somebody else was away: with these pauses, some three days."""
FIRST_RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 3600.0

FinalState = Literal["done", "ignored", "quarantined"]

# One statement for any number of messages. The ids are drawn first, so that the key can name its
# message; a key that is already there keeps the message that came first.
RECEIVE = """
with incoming as (
    select distinct on (provider, account, mode, event_key) *
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],
        $7::text[]) with ordinality
        as t (provider, account, mode, event_key, type, payload, headers, ordinal)
    order by provider, account, mode, event_key, ordinal
), fresh as (
    insert into inbox_keys (provider, account, mode, event_key, message_id)
    select provider, account, mode, event_key,
        nextval(pg_get_serial_sequence('inbox_messages', 'id'))
    from incoming
    order by provider, account, mode, event_key
    on conflict do nothing
    returning *
), stored as (
    insert into inbox_messages (id, provider, event_key, type, payload, headers, received_at)
    select f.message_id, f.provider, f.event_key, i.type, i.payload, i.headers::jsonb, $8
    from fresh f join incoming i using (provider, account, mode, event_key)
), states as (
    insert into inbox_states (message_id, state) select message_id, 'received' from fresh
), queued as (
    insert into inbox_queue (message_id, due_at) select message_id, now() from fresh
)
select count(*) from fresh
"""

CLAIM = """
with due as (
    select message_id from inbox_queue
    where due_at <= now()
    order by due_at, message_id
    limit $1
    for update skip locked
), leased as (
    update inbox_queue q
    set lease = $2, due_at = now() + make_interval(secs => $3)
    from due where q.message_id = due.message_id
    returning q.message_id, q.attempts
), states as (
    update inbox_states s set state = 'processing'
    from leased l where s.message_id = l.message_id
)
select m.id, m.provider, m.event_key, m.type, m.payload, m.received_at, l.attempts
from leased l join inbox_messages m on m.id = l.message_id
order by m.id
"""

FINISH = """
with ours as (
    delete from inbox_queue where message_id = $1 and lease = $2 returning message_id
)
update inbox_states s
set state = $3, reason = $4, payment_id = $5, finished_at = $6
from ours where s.message_id = ours.message_id
returning s.message_id
"""

RETRY = """
with ours as (
    update inbox_queue
    set lease = null, due_at = now() + make_interval(secs => $3), attempts = attempts + 1
    where message_id = $1 and lease = $2
    returning message_id, attempts
)
update inbox_states s set state = 'failed', reason = $4, attempts = ours.attempts
from ours where s.message_id = ours.message_id
"""

BURY = """
with ours as (
    delete from inbox_queue where message_id = $1 and lease = $2 returning message_id
)
update inbox_states s
set state = 'dead', reason = $3, finished_at = $4, attempts = s.attempts + 1
from ours where s.message_id = ours.message_id
returning s.message_id
"""

REPLAY = """
with queued as (
    insert into inbox_queue (message_id, due_at)
    select message_id, now() from inbox_states where message_id = any ($1)
    on conflict (message_id) do update set due_at = now(), attempts = 0, lease = null
    returning message_id
)
update inbox_states s set state = 'received', reason = null, finished_at = null
from queued where s.message_id = queued.message_id
returning s.message_id
"""

LIST = """
select m.id, m.provider, m.event_key, m.type, s.state, s.attempts, s.reason, s.payment_id,
    m.received_at, s.finished_at
from inbox_messages m join inbox_states s on s.message_id = m.id
where ($1::text is null or s.state = $1) and ($2::bigint is null or m.id < $2)
order by m.id desc
limit $3
"""

SHOW = """
select m.id, m.provider, m.event_key, m.type, s.state, s.attempts, s.reason, s.payment_id,
    m.received_at, s.finished_at, m.payload, m.headers
from inbox_messages m join inbox_states s on s.message_id = m.id
where m.id = $1
"""


class LeaseLost(Exception):
    """Another worker has the message now; whatever was done for it here must not stand."""


class Received(Protocol):
    """An authentic message as a provider's `verify` hands it over."""

    @property
    def provider(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def mode(self) -> Literal["test", "live"]: ...
    @property
    def event_key(self) -> str:
        """Unique at the provider, 1 to 255 characters."""

    @property
    def type(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message lent to a worker until its lease ends. `attempts` counts those that failed."""

    id: int
    provider: str
    event_key: str
    type: str
    payload: bytes
    received_at: datetime
    attempts: int
    lease: UUID


@dataclass(frozen=True, slots=True)
class Message:
    """A message and where it stands, as a person reads it."""

    id: int
    provider: str
    event_key: str
    type: str
    state: str
    attempts: int
    reason: str | None
    payment_id: int | None
    received_at: datetime
    finished_at: datetime | None


async def receive(conn: Connection, messages: Sequence[Received], *, at: datetime) -> int:
    """Store the messages that are new; returns how many were. Repeats change nothing."""
    stored: int = await conn.fetchval(
        RECEIVE,
        [m.provider for m in messages],
        [m.account for m in messages],
        [m.mode for m in messages],
        [m.event_key for m in messages],
        [m.type for m in messages],
        [m.payload for m in messages],
        [orjson.dumps(dict(m.headers)).decode() for m in messages],
        at,
    )
    failpoints.reach("inbox.after_insert")
    return stored


async def claim(conn: Connection, *, limit: int, lease_seconds: float) -> list[Claimed]:
    """Lend up to `limit` due messages. Leases live in real time; one that ends is lent again."""
    lease = uuid4()
    rows = await conn.fetch(CLAIM, limit, lease, lease_seconds)
    return [Claimed(**dict(row), lease=lease) for row in rows]


async def finish(
    conn: Connection,
    message: Claimed,
    state: FinalState,
    *,
    at: datetime,
    reason: str | None = None,
    payment_id: int | None = None,
) -> None:
    """Close a message in the transaction of its effects. Raises LeaseLost, which undoes them."""
    failpoints.reach("work.before_finish")
    row = await conn.fetchval(FINISH, message.id, message.lease, state, reason, payment_id, at)
    if row is None:
        raise LeaseLost(f"message {message.id}")


def retry_seconds(attempts: int) -> float:
    """The pause after so many earlier failures: from a second, doubling to an hour, jittered."""
    pause = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempts, 30), RETRY_SECONDS_MAX)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311


async def fail(
    conn: Connection, message: Claimed, reason: str, *, at: datetime, patient: bool = False
) -> bool:
    """Put a message back for a later try; true when it has used its tries up and is dead now.

    `patient` is for a failure that is nobody's fault here: a provider that is away for a day.
    """
    if message.attempts + 1 < (PATIENT_ATTEMPTS_MAX if patient else ATTEMPTS_MAX):
        pause = retry_seconds(message.attempts)
        await conn.execute(RETRY, message.id, message.lease, pause, reason[:2000])
        return False
    row = await conn.fetchval(BURY, message.id, message.lease, reason[:2000], at)
    return row is not None


async def replay(conn: Connection, message_ids: Sequence[int]) -> int:
    """Queue messages again, whatever their state: effects happen once. Returns how many."""
    return len(await conn.fetch(REPLAY, list(message_ids)))


async def list_messages(
    conn: Connection, *, state: str | None, before: int | None, limit: int
) -> list[Message]:
    """Messages newest first, from the one below id `before` on."""
    rows = await conn.fetch(LIST, state, before, limit)
    return [Message(**dict(row)) for row in rows]


async def find_message(
    conn: Connection, message_id: int
) -> tuple[Message, bytes, dict[str, str]] | None:
    """One message with its raw bytes and headers."""
    row = await conn.fetchrow(SHOW, message_id)
    if row is None:
        return None
    fields = dict(row)
    payload, headers = fields.pop("payload"), fields.pop("headers")
    return Message(**fields), payload, orjson.loads(headers)
