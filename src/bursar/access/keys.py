"""API keys: 256 random bits behind a readable prefix, of which only the SHA-256 is stored.

Owns table api_keys. Expiry and revocation live in real time. A secret is handed out once, by
`create`; it is never stored, logged or shown again.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bursar import errors
from bursar.access.actors import Actor, Kind
from bursar.db import Connection, Database

SECRET = re.compile(r"bursar_(?:user|service|admin)_[A-Za-z0-9_-]{43}", re.ASCII)
SHOWN_CHARACTERS = 4
CACHE_SECONDS = 3.0
"""How long a found key is believed; a revocation bites within this time in every process."""
CACHE_KEYS_MAX = 10_000
ACTIVE_PER_USER_MAX = 20
"""How many working keys a user may make without asking anybody."""

CREATE = """
insert into api_keys (kind, user_id, hash, prefix, name, created_at, expires_at)
select $1, $2, $3, $4, $5, $6, $7
where $2::text is null or exists (select from users where id = $2)
returning id
"""

# The time of the last use is kept to five minutes, so that reading a key is seldom a write.
FIND = """
with found as (
    select id, kind, user_id, last_used_at from api_keys
    where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
), touched as (
    update api_keys k set last_used_at = now() from found f
    where k.id = f.id
        and (f.last_used_at is null or f.last_used_at < now() - interval '5 minutes')
)
select id, kind, user_id from found
"""

REVOKE = "update api_keys set revoked_at = $2 where id = $1 and revoked_at is null returning id"

EXISTS = "select true from api_keys where id = $1"

LIST = """
select id, kind, user_id, prefix, name, created_at, last_used_at, expires_at, revoked_at
from api_keys
where $1::text is null or user_id = $1
order by id
"""

# Keys that work stand first, so that the limit leaves out only the oldest of those that ended.
LIST_OWN = """
select id, kind, user_id, prefix, name, created_at, last_used_at, expires_at, revoked_at
from api_keys
where user_id = $1
order by (revoked_at is null and (expires_at is null or expires_at > now())) desc, id desc
limit $2
"""

FIND_OWN = """
select id, kind, user_id, prefix, name, created_at, last_used_at, expires_at, revoked_at
from api_keys
where id = $1 and user_id = $2
"""

LOCK_OWNER = "select from users where id = $1 for no key update"

COUNT_ACTIVE = """
select count(*) from api_keys
where user_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
"""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it is listed; `prefix` is the beginning of its secret, enough to recognise it."""

    id: int
    kind: Kind
    user_id: str | None
    prefix: str
    name: str | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


def hash_secret(secret: str) -> bytes:
    """The SHA-256 under which a secret is stored; it has 256 bits, so no salt is needed."""
    return hashlib.sha256(secret.encode()).digest()


async def create(
    conn: Connection,
    kind: Kind,
    *,
    user_id: str | None = None,
    name: str | None = None,
    at: datetime,
    expires_at: datetime | None = None,
) -> tuple[int, str]:
    """Make a key; returns its id and its secret, which nobody can read again.

    A user's key names a user who exists. Raises errors.NotFound and errors.Invalid.
    """
    if (kind == "user") != (user_id is not None):
        raise errors.Invalid("A user's key names its user; a service or admin key names none.")
    lead = f"bursar_{kind}_"
    secret = lead + secrets.token_urlsafe(32)
    prefix = secret[: len(lead) + SHOWN_CHARACTERS]
    row: Any = (kind, user_id, hash_secret(secret), prefix, name, at, expires_at)
    key_id = await conn.fetchval(CREATE, *row)
    if key_id is None:
        raise errors.NotFound(f"There is no user {user_id!r}.")
    return int(key_id), secret


async def find_actor(conn: Connection, secret: str) -> Actor | None:
    """Who holds `secret`; None for a key that is malformed, unknown, revoked or expired."""
    if not SECRET.fullmatch(secret):
        return None
    row = await conn.fetchrow(FIND, hash_secret(secret))
    return None if row is None else Actor(row["kind"], row["user_id"], row["id"])


async def revoke(conn: Connection, key_id: int, *, at: datetime) -> bool:
    """End a key for good; a second time changes nothing, and says False. Raises errors.NotFound."""
    if await conn.fetchval(REVOKE, key_id, at) is not None:
        return True
    if await conn.fetchval(EXISTS, key_id) is None:
        raise errors.NotFound(f"There is no key {key_id}.")
    return False


async def list_keys(conn: Connection, *, user_id: str | None = None) -> list[KeyRow]:
    """All keys in the order they were made, of one user or of everybody."""
    return [KeyRow(**dict(row)) for row in await conn.fetch(LIST, user_id)]


async def list_own(conn: Connection, user_id: str, *, limit: int) -> list[KeyRow]:
    """A user's newest keys, those that work before those that ended; at most `limit`."""
    return [KeyRow(**dict(row)) for row in await conn.fetch(LIST_OWN, user_id, limit)]


async def get_own(conn: Connection, key_id: int, user_id: str) -> KeyRow:
    """A key of this user. Raises errors.NotFound, for another's as for none."""
    row = await conn.fetchrow(FIND_OWN, key_id, user_id)
    if row is None:
        raise errors.NotFound("There is no such key.")
    return KeyRow(**dict(row))


async def count_active(conn: Connection, user_id: str) -> int:
    """How many keys of a user work.

    It locks the user's row until the transaction ends, so that of parallel requests each counts
    the keys that the others made.
    """
    await conn.execute(LOCK_OWNER, user_id)
    return int(await conn.fetchval(COUNT_ACTIVE, user_id))


class KeyCache:
    """Found keys, believed for a few seconds, so that a busy caller costs no query per request.

    Only keys that exist are kept, by their hash, and at most `capacity` of them.
    """

    def __init__(
        self, db: Database, *, seconds: float = CACHE_SECONDS, capacity: int = CACHE_KEYS_MAX
    ) -> None:
        self._db = db
        self._seconds = seconds
        self._capacity = capacity
        self._found: dict[bytes, tuple[float, Actor]] = {}

    async def find_actor(self, secret: str) -> Actor | None:
        """As `find_actor` above, at most `seconds` old. Raises errors.DatabaseUnavailable."""
        if not SECRET.fullmatch(secret):
            return None
        digest = hash_secret(secret)
        # The age counts from before the query: what was revoked during it must not live longer.
        asked_at = time.monotonic()
        known = self._found.get(digest)
        if known is not None and known[0] > asked_at:
            return known[1]
        async with self._db.connection() as conn:
            actor = await find_actor(conn, secret)
        self._found.pop(digest, None)
        if actor is not None:
            while len(self._found) >= self._capacity:
                del self._found[next(iter(self._found))]
            self._found[digest] = (asked_at + self._seconds, actor)
        return actor

    def __len__(self) -> int:
        return len(self._found)
