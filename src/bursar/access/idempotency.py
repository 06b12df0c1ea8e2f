"""Idempotency keys of clients: the first answer of 2xx is kept and given again.

Owns table idempotency_keys. A key is claimed with a lease before the work and completed with the
answer in the transaction of the work's last step. Leases live in real time. A process that dies
leaves its lease to lapse: the next request with the key resumes the same intent (`reference`).
Refusals are released, not kept. It never decides whether work may be repeated.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from bursar import errors
from bursar.db import Connection

LEASE_SECONDS = 30.0
KEPT_DAYS = 30

# A row is taken over when its time is up, or when its lease lapsed without an answer. `now()` is
# the transaction's time, so a row that was made or renewed by this statement carries it.
CLAIM = """
insert into idempotency_keys as k (principal, route, key, request_hash, lease_until, created_at)
values ($1, $2, $3, $4, now() + make_interval(secs => $5), now())
on conflict (principal, route, key) do update set
    request_hash = excluded.request_hash,
    lease_until = excluded.lease_until,
    reference = case when k.created_at < now() - make_interval(days => $6)
        then null else k.reference end,
    created_at = case when k.created_at < now() - make_interval(days => $6)
        then now() else k.created_at end,
    status = null,
    response = null
where k.created_at < now() - make_interval(days => $6)
    or (k.status is null and k.request_hash = excluded.request_hash and k.lease_until <= now())
returning reference, lease_until, created_at = now() as fresh
"""

FIND = """
select request_hash, status, response from idempotency_keys
where principal = $1 and route = $2 and key = $3
"""

# Of two processes that hold one key, because the first one's lease lapsed, one alone may begin.
ATTACH = """
update idempotency_keys set reference = $4
where principal = $1 and route = $2 and key = $3 and status is null
    and (reference is null or reference = $4)
returning reference
"""

# The first answer stands, even when a slow process comes with its own after its lease lapsed.
COMPLETE = """
update idempotency_keys set status = $4, response = $5, lease_until = null
where principal = $1 and route = $2 and key = $3 and status is null
"""

SUSPEND = """
update idempotency_keys set lease_until = now()
where principal = $1 and route = $2 and key = $3 and status is null
    and ($4::timestamptz is null or lease_until = $4)
"""

RELEASE = """
delete from idempotency_keys
where principal = $1 and route = $2 and key = $3 and status is null
    and ($4::timestamptz is null or lease_until = $4)
"""

FORGET = "delete from idempotency_keys where created_at < now() - make_interval(days => $1)"


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key in its scope. `route` names method and path, `request_hash` the request."""

    principal: str
    route: str
    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nobody used the key before: do the work. `lease` is when the claim ends, and marks it."""

    lease: datetime = field(compare=False)


@dataclass(frozen=True, slots=True)
class Resumed:
    """An earlier try broke off: go on with what it began, if it got as far as a `reference`."""

    reference: str | None
    lease: datetime = field(compare=False)


@dataclass(frozen=True, slots=True)
class Replay:
    """The work is done: answer as before."""

    status: int
    response: bytes


Claim = Fresh | Resumed | Replay


def hash_request(*parts: bytes) -> bytes:
    """The SHA-256 of a request's parts, each with its length before it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


async def claim(conn: Connection, key: Key, *, lease_seconds: float = LEASE_SECONDS) -> Claim:
    """Take `key` for the length of a lease, or learn the answer it had.

    Commit before the work begins: until then parallel requests with the key wait here.
    Raises errors.IdempotencyKeyInUse while another has it, and errors.IdempotencyKeyReused when
    it came with another request before.
    """
    scope = (key.principal, key.route, key.key)
    row = await conn.fetchrow(CLAIM, *scope, key.request_hash, lease_seconds, KEPT_DAYS)
    if row is not None:
        lease = row["lease_until"]
        return Fresh(lease) if row["fresh"] else Resumed(row["reference"], lease)
    found = await conn.fetchrow(FIND, *scope)
    if found is None:
        # It was released between the two statements; the client's retry will find it free.
        raise errors.IdempotencyKeyInUse()
    if found["request_hash"] != key.request_hash:
        raise errors.IdempotencyKeyReused(
            "This Idempotency-Key was used before with another request. Send a new key."
        )
    if found["status"] is None:
        raise errors.IdempotencyKeyInUse(
            "A request with this Idempotency-Key is still running. Try again in a moment."
        )
    return Replay(found["status"], found["response"])


async def find_answer(conn: Connection, key: Key) -> Replay | None:
    """The answer that is kept for this request, if it was made before; claims nothing."""
    found = await conn.fetchrow(FIND, key.principal, key.route, key.key)
    if found is None or found["status"] is None or found["request_hash"] != key.request_hash:
        return None
    return Replay(found["status"], found["response"])


async def attach(conn: Connection, key: Key, reference: str) -> None:
    """Note the intent that the work began, in the transaction that commits it.

    Raises errors.IdempotencyKeyInUse, which undoes the intent, when another began one first.
    """
    if await conn.fetchval(ATTACH, key.principal, key.route, key.key, reference) is None:
        raise errors.IdempotencyKeyInUse(
            "A request with this Idempotency-Key is still running. Try again in a moment."
        )


async def complete(conn: Connection, key: Key, status: int, response: bytes) -> None:
    """Keep the answer; of two the first stands."""
    await conn.execute(COMPLETE, key.principal, key.route, key.key, status, response)


async def suspend(conn: Connection, key: Key, *, lease: datetime | None = None) -> None:
    """End the lease and keep the reference: the outcome is open, and the next request resumes.

    With the claim's `lease`, nothing happens when another has taken the key over meanwhile.
    """
    await conn.execute(SUSPEND, key.principal, key.route, key.key, lease)


async def release(conn: Connection, key: Key, *, lease: datetime | None = None) -> None:
    """Drop the claim after a refusal, so that a retry works. An answer that is kept stays.

    With the claim's `lease`, nothing happens when another has taken the key over meanwhile.
    """
    await conn.execute(RELEASE, key.principal, key.route, key.key, lease)


async def forget_old(conn: Connection) -> None:
    """Delete keys past the days they are kept."""
    await conn.execute(FORGET, KEPT_DAYS)
