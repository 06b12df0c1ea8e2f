"""Webhook endpoints: who is told of events by signed requests, and the secrets that sign them.

Owns table webhook_endpoints and the outbox's destinations `webhook:<id>`. A secret is told when it
is made and never again; while one replaces another both sign. It sends nothing.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar import errors
from bursar.db.connections import Connection
from bursar.messages import outbox

PREFIX = "webhook:"
SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)
"""How long a secret that was replaced still signs beside the new one."""
ENDPOINTS_MAX = 50

FIELDS = "id, url, created_at, disabled_at, disabled_reason"

CREATE = "insert into webhook_endpoints (url, secret, created_at) values ($1, $2, $3) returning id"

COUNT = "select count(*) from webhook_endpoints where deleted_at is null"

LIST = f"""
select {FIELDS} from webhook_endpoints where deleted_at is null order by id desc
"""  # noqa: S608 - FIELDS is a constant above

GET = f"""
select {FIELDS} from webhook_endpoints where id = $1 and deleted_at is null
"""  # noqa: S608 - likewise

# Those that were deleted, too: what was written for one while it was being deleted must end.
ALL = "select id from webhook_endpoints order by id"

# Sending is real time, whatever the clock of business says.
FOR_SENDING = """
select url, secret, case when former_until > now() then former_secret end as former,
    disabled_at is not null as disabled, deleted_at is not null as deleted
from webhook_endpoints where id = $1
"""

ROTATE = """
update webhook_endpoints set former_secret = secret, former_until = now() + $3, secret = $2
where id = $1 and deleted_at is null returning id
"""

DELETE = """
update webhook_endpoints set deleted_at = $2 where id = $1 and deleted_at is null returning id
"""

DISABLE = """
update webhook_endpoints set disabled_at = $2, disabled_reason = $3
where id = $1 and disabled_at is null and deleted_at is null returning url
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as an admin sees it."""

    id: int
    url: str
    topics: list[str]
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a sending needs to know. `secrets` sign, the newest first; none: nothing is sent."""

    url: str
    secrets: tuple[str, ...]


def destination_of(endpoint_id: int) -> str:
    """The endpoint's name in the outbox."""
    return f"{PREFIX}{endpoint_id}"


def make_secret() -> str:
    """A new signing secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def create(
    conn: Connection, url: str, topics: Sequence[str], *, at: datetime
) -> tuple[Endpoint, str]:
    """Make an endpoint; returns its secret, which nobody is told again. Raises Conflict."""
    if await conn.fetchval(COUNT) >= ENDPOINTS_MAX:
        raise errors.Conflict(f"There are {ENDPOINTS_MAX} webhook endpoints; delete one first.")
    secret = make_secret()
    endpoint_id: int = await conn.fetchval(CREATE, url, secret, at)
    await outbox.subscribe(conn, destination_of(endpoint_id), topics, at=at)
    return await get_endpoint(conn, endpoint_id), secret


async def list_endpoints(conn: Connection) -> list[Endpoint]:
    """Every endpoint that is not deleted, newest first."""
    topics = await outbox.list_destinations(conn, PREFIX)
    rows = await conn.fetch(LIST)
    return [Endpoint(**row, topics=topics.get(destination_of(row["id"]), [])) for row in rows]


async def get_endpoint(conn: Connection, endpoint_id: int) -> Endpoint:
    """Raises NotFound."""
    row = await conn.fetchrow(GET, endpoint_id)
    if row is None:
        raise errors.NotFound("There is no such webhook endpoint.")
    topics = await outbox.list_destinations(conn, destination_of(endpoint_id))
    return Endpoint(**row, topics=topics.get(destination_of(endpoint_id), []))


async def rotate(conn: Connection, endpoint_id: int) -> str:
    """A new secret; the one it replaces signs beside it for a day. Raises NotFound."""
    secret = make_secret()
    if await conn.fetchval(ROTATE, endpoint_id, secret, OVERLAP) is None:
        raise errors.NotFound("There is no such webhook endpoint.")
    return secret


async def delete(conn: Connection, endpoint_id: int, *, at: datetime) -> None:
    """End an endpoint; what waits for it is given up. Raises NotFound."""
    if await conn.fetchval(DELETE, endpoint_id, at) is None:
        raise errors.NotFound("There is no such webhook endpoint.")
    await _silence(conn, endpoint_id, "the endpoint was deleted")


async def disable(conn: Connection, endpoint_id: int, reason: str, *, at: datetime) -> str | None:
    """Send it nothing any more; returns its URL, None when it was disabled or deleted before."""
    url: str | None = await conn.fetchval(DISABLE, endpoint_id, at, reason)
    if url is not None:
        await _silence(conn, endpoint_id, "the endpoint is disabled")
    return url


async def list_destinations(conn: Connection) -> list[str]:
    """The destinations of all endpoints that there ever were."""
    return [destination_of(row["id"]) for row in await conn.fetch(ALL)]


async def find_receiver(conn: Connection, destination: str) -> Receiver | None:
    """Where and how to send now; None for an endpoint that takes nothing any more."""
    row = await conn.fetchrow(FOR_SENDING, int(destination.removeprefix(PREFIX)))
    if row is None or row["disabled"] or row["deleted"]:
        return None
    return Receiver(row["url"], tuple(s for s in (row["secret"], row["former"]) if s))


async def _silence(conn: Connection, endpoint_id: int, reason: str) -> None:
    destination = destination_of(endpoint_id)
    await outbox.unsubscribe(conn, destination)
    await outbox.bury_all(conn, destination, reason)
