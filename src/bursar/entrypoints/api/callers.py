"""Callers: who asks, for which user and which customer, before anything else is looked at.

The order is law: first 401, then 403, then the general limit, then headers. Bodies and query
parameters come later. It never says why a key is not good.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from bursar import errors
from bursar.access.actors import Actor, Kind
from bursar.billing import customers
from bursar.billing.customers import Role, User
from bursar.entrypoints.api.problems import Refusal
from bursar.entrypoints.api.state import api_of

USER_HEADER = "Bursar-User"
CUSTOMER_HEADER = "Bursar-Customer"
KEY_HEADER = "Idempotency-Key"

# Ids are PostgreSQL's bigint; nothing longer can be one.
ID = re.compile(r"[0-9]{1,18}", re.ASCII)
IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody asking for a user: `actor` holds the key, `customer_id` is the account meant, and
    `role` is what the user is in it (of one's own account one is the owner)."""

    actor: Actor
    user: User
    customer_id: int
    role: Role


def find_id(text: str) -> int | None:
    """An id as a path or header has it; None for what can't be one."""
    return int(text) if ID.fullmatch(text) else None


async def authenticate(request: Request) -> Actor:
    """Who holds the Bearer key. Raises errors.Unauthenticated, alike for every bad key."""
    sent = request.headers.getlist("authorization")
    scheme, _, secret = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    actor = None
    if scheme.lower() == "bearer":
        actor = await api_of(request).keys.find_actor(secret.strip())
    if actor is None:
        raise errors.Unauthenticated()
    request.scope["bursar.actor"] = actor
    return actor


async def _admit(request: Request, *kinds: Kind) -> Actor:
    actor = await authenticate(request)
    actor.require(*kinds)
    api_of(request).limit.take(actor.key_id)
    return actor


KINDS: dict[Callable[..., object], tuple[Kind, ...]] = {}
"""Which keys each dependency lets in, for the reference."""


def actor_of(*kinds: Kind) -> Callable[[Request], Awaitable[Actor]]:
    """A dependency that lets in the keys of these kinds alone."""

    async def admit(request: Request) -> Actor:
        return await _admit(request, *kinds)

    KINDS[admit] = kinds
    return admit


async def user_caller(request: Request) -> Caller:
    """A dependency: a user by their own key, or the user for whom a service asks.

    A service names the user in `Bursar-User`, who is made on first sight.
    """
    actor = await _admit(request, "user", "service")
    user_id = named_user(request, actor)
    wanted = _header(request, CUSTOMER_HEADER)
    customer_id = None if wanted is None else find_id(wanted)
    if wanted is not None and customer_id is None:
        raise errors.NotFound("There is no such customer.")
    wiring = api_of(request).wiring
    async with wiring.db.connection() as conn:
        user = await customers.ensure_user(conn, user_id, at=wiring.clock.now())
        chosen, role = await customers.customer_for(conn, user, customer_id)
    return Caller(actor, user, chosen, role)


async def managing_caller(request: Request) -> Caller:
    """A dependency: a user as above who is an owner or an admin of the account that is meant.

    A team's members use its credits; they spend none of its money and see none of its payments.
    """
    caller = await user_caller(request)
    if caller.role == "member":
        raise errors.Denied("This needs an owner or an admin of the team; you are a member.")
    return caller


def named_user(request: Request, actor: Actor) -> str:
    """Whom the request is for: a user key's own user, or the one that a service names.

    Raises errors.Denied and errors.Invalid.
    """
    named = _header(request, USER_HEADER)
    if actor.user_id is not None:
        if named not in (None, actor.user_id):
            raise errors.Denied(f"Your key acts for its own user only; leave {USER_HEADER} out.")
        return actor.user_id
    if named is None:
        raise header_invalid(USER_HEADER, "A service key names the user for whom it acts here")
    customers.check_user_id(named)
    return named


def _header(request: Request, name: str) -> str | None:
    """A header's text in UTF-8, in which ids may be written. Raises errors.Invalid."""
    wanted = name.lower().encode()
    values = [value for key, value in request.scope["headers"] if key == wanted]
    if not values:
        return None
    if len(values) > 1:
        raise header_invalid(name, "The header stands there more than once")
    try:
        return bytes(values[0]).decode()
    except UnicodeDecodeError:
        raise header_invalid(name, "The header is not UTF-8") from None


def header_invalid(name: str, message: str) -> errors.Invalid:
    """A header's fault, named as a field's."""
    entry = {"field": name, "code": "header_invalid", "message": message}
    return errors.Invalid(f"{name}: {message}.", errors=[entry])


async def idempotency_key(request: Request) -> str | None:
    """A dependency: the client's Idempotency-Key, if it sent one. Raises Refusal."""
    values = request.headers.getlist(KEY_HEADER)
    if not values:
        return None
    if len(values) > 1 or not IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise Refusal("idempotency_key_invalid")
    return values[0]


async def required_key(request: Request) -> str:
    """A dependency: the client's Idempotency-Key. Raises Refusal."""
    key = await idempotency_key(request)
    if key is None:
        raise Refusal("idempotency_key_required")
    return key
