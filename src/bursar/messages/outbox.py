"""The outbox: what is owed to the world, written in the transaction of what caused it.

Owns outbox_destinations (who asks for which topics) and outbox_messages (a message for each of them
and each event). `emit` writes, `claim` lends to a sender for the length of a lease, `sent` and
`retry_at` give back, if the lease is still ours. Due times and leases are real time. It sends
nothing itself, and knows no event by name.

A destination with an empty list of topics gets only what is written for it by name (`owe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

import orjson

from bursar import errors
from bursar.db.connections import Connection
from bursar.messages.inbox import retry_seconds

TRIES_MAX = 40
"""Tries after which a message is dead: with the pauses between them, some thirty hours."""
REASON_LENGTH_MAX = 2000
EVENTS = UUID("6f1d1f7c-2f5b-4c1e-9a55-1f0b6a3c9d27")

State = Literal["queued", "sending", "sent", "failed", "dead"]

SUBSCRIBE = """
insert into outbox_destinations (destination, topics, created_at) values ($1, $2, $3)
on conflict (destination) do update set topics = excluded.topics
where outbox_destinations.topics <> excluded.topics
"""

UNSUBSCRIBE = "delete from outbox_destinations where destination = $1"

# A topic asks for one event, for a family (`payment.*`) or for everything (`*`). The order keeps
# two transactions that write the same messages from waiting for each other in a circle.
EMIT = """
insert into outbox_messages
    (topic, cause, customer_id, destination, payload, event_id, due_at, created_at)
select e.topic, e.cause, e.customer_id, d.destination, e.payload::jsonb, e.event_id, now(), $1
from unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::uuid[])
    as e (topic, cause, customer_id, payload, event_id)
join outbox_destinations d
    on d.topics && array[e.topic, split_part(e.topic, '.', 1) || '.*', '*']
order by e.topic, e.cause, d.destination
on conflict (topic, cause, destination) do nothing
"""

# For named destinations, as far as there are such.
OWE = """
insert into outbox_messages
    (topic, cause, customer_id, destination, payload, event_id, due_at, created_at)
select e.topic, e.cause, e.customer_id, d.destination, e.payload::jsonb, e.event_id, now(), $1
from unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::uuid[], $7::text[])
    as e (topic, cause, customer_id, payload, event_id, destination)
join outbox_destinations d on d.destination = e.destination
order by e.topic, e.cause, d.destination
on conflict (topic, cause, destination) do nothing
returning id
"""

DESTINATIONS = """
select destination, topics from outbox_destinations where starts_with(destination, $1)
order by destination
"""

# A try counts when it begins, so that a message which kills its sender is dead in the end, too.
CLAIM = """
with due as (
    select id from outbox_messages
    where destination = any ($1) and state in ('queued', 'sending', 'failed') and due_at <= now()
        and (lease_until is null or lease_until <= now())
    order by due_at, id
    limit $2
    for update skip locked
)
update outbox_messages m
set state = 'sending', lease = $3, lease_until = now() + make_interval(secs => $4),
    attempts = attempts + 1
from due where m.id = due.id
returning m.id, m.topic, m.destination, m.customer_id, m.payload, m.attempts, m.last_error,
    m.handed_at
"""

# Of each destination only the oldest message that is not at its end, so that none overtakes.
CLAIM_IN_ORDER = """
with heads as materialized (
    select first.id from unnest($1::text[]) as d (destination)
    cross join lateral (
        select id from outbox_messages
        where destination = d.destination and state in ('queued', 'sending', 'failed')
        order by id limit 1
    ) first
), due as (
    select id from outbox_messages
    where id in (select id from heads) and state in ('queued', 'sending', 'failed')
        and due_at <= now() and (lease_until is null or lease_until <= now())
    order by due_at, id
    limit $2
    for update skip locked
)
update outbox_messages m
set state = 'sending', lease = $3, lease_until = now() + make_interval(secs => $4),
    attempts = attempts + 1
from due where m.id = due.id
returning m.id, m.topic, m.destination, m.customer_id, m.payload, m.attempts, m.last_error,
    m.handed_at
"""

HAND_OVER = """
update outbox_messages set handed_at = now() where id = $1 and lease = $2 returning id
"""

EXTEND = """
update outbox_messages set lease_until = now() + make_interval(secs => $3)
where id = $1 and lease = $2 returning id
"""

SENT = """
update outbox_messages
set state = 'sent', sent_at = $3, lease = null, lease_until = null, last_error = null
where id = $1 and lease = $2 returning id
"""

RETRY = """
update outbox_messages
set state = 'failed', due_at = now() + make_interval(secs => $3), last_error = $4, lease = null,
    lease_until = null, handed_at = null
where id = $1 and lease = $2 returning id
"""

BURY = """
update outbox_messages set state = 'dead', last_error = $3, lease = null, lease_until = null
where id = $1 and lease = $2 returning id
"""

# What is being sent just now is left to its sender.
AGAIN = """
update outbox_messages
set state = 'queued', due_at = now(), attempts = 0, lease = null, lease_until = null,
    handed_at = null
where id = any ($1) and (lease_until is null or lease_until <= now())
returning id
"""

# What still waits for a destination that takes nothing any more; what is being sent just now ends
# by itself.
BURY_ALL = """
update outbox_messages set state = 'dead', last_error = $2
where destination = $1 and state in ('queued', 'failed')
"""

FIELDS = """id, event_id, topic, destination, customer_id, state, attempts, due_at, created_at,
    sent_at, last_error"""

GET = f"select {FIELDS} from outbox_messages where id = $1"  # noqa: S608 - a constant above

GET_ID = """
select id from outbox_messages where topic = $1 and cause = $2 and destination = $3
"""

LIST = f"""
select {FIELDS} from outbox_messages
where ($1::text is null or state = $1) and ($2::text is null or destination = $2)
    and ($3::bigint is null or id < $3)
order by id desc
limit $4
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `cause` tells it from the others of its topic, for ever."""

    topic: str
    cause: str
    customer_id: int | None
    data: Mapping[str, Any]

    @property
    def id(self) -> UUID:
        """The event's id: the same for every destination, and whenever it is told."""
        return uuid5(EVENTS, f"{self.topic}\n{self.cause}")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message lent to a sender until its lease ends. `attempts` counts this try, too."""

    id: int
    topic: str
    destination: str
    customer_id: int | None
    payload: str
    attempts: int
    last_error: str | None
    handed_at: datetime | None
    """When it was handed over by a sender whose end nobody kept."""
    lease: UUID


class DeliveryFailed(Exception):
    """A delivery failed, and its courier knows what is to be done: wait so long, or give up.

    `pause_seconds` None is the outbox's own pause. With `alone` no case is opened: the failure is
    told of elsewhere.
    """

    def __init__(
        self,
        reason: str,
        *,
        pause_seconds: float | None = None,
        dead: bool = False,
        alone: bool = False,
    ) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds
        self.dead = dead
        self.alone = alone


@dataclass(frozen=True, slots=True)
class Message:
    """A message and where it stands, as a person reads it."""

    id: int
    event_id: UUID
    topic: str
    destination: str
    customer_id: int | None
    state: State
    attempts: int
    due_at: datetime
    created_at: datetime
    sent_at: datetime | None
    last_error: str | None


async def subscribe(
    conn: Connection, destination: str, topics: Sequence[str], *, at: datetime
) -> None:
    """Have events of these topics written for `destination` from now on; its old topics end."""
    await conn.execute(SUBSCRIBE, destination, sorted(set(topics)), at)


async def unsubscribe(conn: Connection, destination: str) -> None:
    """Write nothing more for `destination`; what is written already stays due."""
    await conn.execute(UNSUBSCRIBE, destination)


async def emit(conn: Connection, events: Sequence[Event], *, at: datetime) -> None:
    """Write each event once for each destination that asks for its topic. `at` is business time."""
    if not events:
        return
    await conn.execute(
        EMIT,
        at,
        [event.topic for event in events],
        [event.cause for event in events],
        [event.customer_id for event in events],
        [_payload(event, at) for event in events],
        [event.id for event in events],
    )


async def owe(conn: Connection, owed: Sequence[tuple[Event, str]], *, at: datetime) -> list[int]:
    """Write each event once for the destination beside it, where there is such a destination.

    Returns the ids of the messages that are new.
    """
    if not owed:
        return []
    rows = await conn.fetch(
        OWE,
        at,
        [event.topic for event, _ in owed],
        [event.cause for event, _ in owed],
        [event.customer_id for event, _ in owed],
        [_payload(event, at) for event, _ in owed],
        [event.id for event, _ in owed],
        [destination for _, destination in owed],
    )
    return [row["id"] for row in rows]


async def list_destinations(conn: Connection, prefix: str) -> dict[str, list[str]]:
    """The destinations whose names begin with `prefix`, with the topics that each asks for."""
    return {row["destination"]: row["topics"] for row in await conn.fetch(DESTINATIONS, prefix)}


def _payload(event: Event, at: datetime) -> str:
    told = {
        "id": str(event.id),
        "type": event.topic,
        "created_at": at.astimezone(UTC),
        "data": dict(event.data),
    }
    return orjson.dumps(told, option=orjson.OPT_UTC_Z).decode()


async def claim(
    conn: Connection, destinations: Sequence[str], *, limit: int, lease_seconds: float
) -> list[Claimed]:
    """Lend up to `limit` due messages for these destinations; a lease that ends is lent again."""
    lease = uuid4()
    rows = await conn.fetch(CLAIM, list(destinations), limit, lease, lease_seconds)
    return sorted((Claimed(**dict(row), lease=lease) for row in rows), key=lambda one: one.id)


async def claim_in_order(
    conn: Connection, destinations: Sequence[str], *, limit: int, lease_seconds: float
) -> list[Claimed]:
    """As `claim`, but of each destination the oldest message alone, when it is due: the next one
    waits until that is sent or dead."""
    lease = uuid4()
    rows = await conn.fetch(CLAIM_IN_ORDER, list(destinations), limit, lease, lease_seconds)
    return sorted((Claimed(**dict(row), lease=lease) for row in rows), key=lambda one: one.id)


async def hand_over(conn: Connection, message: Claimed) -> bool:
    """Note that from now on the message may arrive; false when the lease was lost."""
    return await conn.fetchval(HAND_OVER, message.id, message.lease) is not None


async def extend(conn: Connection, message: Claimed, *, lease_seconds: float) -> bool:
    """Make the lease longer while the message is being sent; false when it was lost."""
    return await conn.fetchval(EXTEND, message.id, message.lease, lease_seconds) is not None


async def sent(conn: Connection, message: Claimed, *, at: datetime) -> bool:
    """Close a message; false when another sender has it meanwhile."""
    return await conn.fetchval(SENT, message.id, message.lease, at) is not None


async def retry_at(
    conn: Connection,
    message: Claimed,
    reason: str,
    *,
    pause_seconds: float | None = None,
    dead: bool = False,
) -> bool:
    """Put a message back for a later try; true when it is dead now: it has used its tries up, or
    it is to be. Without `pause_seconds` the pauses grow from a second to an hour."""
    told = reason[:REASON_LENGTH_MAX]
    if message.attempts < TRIES_MAX and not dead:
        pause = retry_seconds(message.attempts - 1) if pause_seconds is None else pause_seconds
        await conn.execute(RETRY, message.id, message.lease, pause, told)
        return False
    return await conn.fetchval(BURY, message.id, message.lease, told) is not None


async def retry(conn: Connection, message_ids: Sequence[int]) -> int:
    """Queue messages again, whatever became of them; returns how many were."""
    return len(await conn.fetch(AGAIN, list(message_ids)))


async def get_message(conn: Connection, message_id: int) -> Message:
    """Raises NotFound."""
    row = await conn.fetchrow(GET, message_id)
    if row is None:
        raise errors.NotFound("There is no such message.")
    return Message(**dict(row))


async def get_id(conn: Connection, event: Event, destination: str) -> int:
    """The message by which a destination is told of an event. Raises NotFound."""
    found: int | None = await conn.fetchval(GET_ID, event.topic, event.cause, destination)
    if found is None:
        raise errors.NotFound("There is no such message.")
    return found


async def bury_all(conn: Connection, destination: str, reason: str) -> None:
    """Give up what waits for a destination."""
    await conn.execute(BURY_ALL, destination, reason[:REASON_LENGTH_MAX])


async def list_messages(
    conn: Connection,
    *,
    state: State | None = None,
    destination: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Message]:
    """Messages newest first, from the one below id `before` on."""
    rows = await conn.fetch(LIST, state, destination, before, limit)
    return [Message(**dict(row)) for row in rows]
