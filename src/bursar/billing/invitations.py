"""Invitations: secret links to a team, each good once, for some days of business time.

Owns table invitations. A token has 256 random bits, of which the SHA-256 alone is stored: it is
handed out once. An invitation is open until it is accepted, withdrawn or past its time; who may
make one, and whether a seat is left for it, is decided in `teams`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from bursar import errors
from bursar.access.keys import hash_secret
from bursar.db import Connection

InvitedRole = Literal["admin", "member"]

LIFETIME = timedelta(days=7)
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

MAKE = """
insert into invitations (customer_id, hash, role, email, invited_by, expires_at, created_at)
values ($1, $2, $3, $4, $5, $6, $7)
returning id
"""

FIND = """
select id, customer_id, role, email, invited_by, created_at, expires_at, accepted_by,
    closed_at is null and expires_at > $2 as open
from invitations where hash = $1
"""

LIST = """
select id, customer_id, role, email, invited_by, created_at, expires_at, accepted_by, true as open
from invitations
where customer_id = $1 and closed_at is null and expires_at > $2
order by id
"""

COUNT = """
select count(*) from invitations
where customer_id = $1 and closed_at is null and expires_at > $2
"""

# A new link for the same invitation: the one before stops working, the seat stays taken once.
RENEW = """
update invitations set hash = $3
where customer_id = $1 and id = $2 and closed_at is null and expires_at > $4
returning id, customer_id, role, email, invited_by, created_at, expires_at, accepted_by,
    true as open
"""

ACCEPT = """
update invitations set accepted_by = $2, closed_at = $3
where id = $1 and closed_at is null and expires_at > $3
returning true
"""

WITHDRAW = """
update invitations set closed_at = $3
where customer_id = $1 and id = $2 and closed_at is null and expires_at > $3
returning true
"""

WITHDRAW_OF = """
update invitations set closed_at = $4
where customer_id = $1 and invited_by = $2 and role = any($3::text[]) and closed_at is null
"""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as a team's owners see it: without its secret."""

    id: int
    customer_id: int
    role: InvitedRole
    email: str | None
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_by: str | None
    open: bool


def missing() -> errors.NotFound:
    """The refusal that is the same for unknown, used, withdrawn and expired invitations."""
    return errors.NotFound("There is no such open invitation. Ask the team for a new one.")


async def make(
    conn: Connection,
    customer_id: int,
    role: InvitedRole,
    *,
    email: str | None,
    invited_by: str,
    at: datetime,
) -> tuple[Invitation, str]:
    """Make an invitation. Returns it with its token, which nobody can read again."""
    token = secrets.token_urlsafe(32)
    expires_at = at + LIFETIME
    row = (customer_id, hash_secret(token), role, email, invited_by, expires_at, at)
    made = int(await conn.fetchval(MAKE, *row))
    return (
        Invitation(made, customer_id, role, email, invited_by, at, expires_at, None, True),
        token,
    )


async def find(conn: Connection, token: str, *, at: datetime) -> Invitation | None:
    """The invitation that a token stands for, open or not; None when it stands for none."""
    if not TOKEN.fullmatch(token):
        return None
    row = await conn.fetchrow(FIND, hash_secret(token), at)
    return None if row is None else Invitation(**dict(row))


async def list_open(conn: Connection, customer_id: int, *, at: datetime) -> list[Invitation]:
    """A team's open invitations, the oldest first."""
    return [Invitation(**dict(row)) for row in await conn.fetch(LIST, customer_id, at)]


async def count_open(conn: Connection, customer_id: int, *, at: datetime) -> int:
    return int(await conn.fetchval(COUNT, customer_id, at))


async def renew(
    conn: Connection, customer_id: int, invitation_id: int, *, at: datetime
) -> tuple[Invitation, str]:
    """Give an open invitation another token. Raises errors.NotFound."""
    token = secrets.token_urlsafe(32)
    row = await conn.fetchrow(RENEW, customer_id, invitation_id, hash_secret(token), at)
    if row is None:
        raise missing()
    return Invitation(**dict(row)), token


async def accept(conn: Connection, invitation: Invitation, user_id: str, *, at: datetime) -> None:
    """Close an invitation for the user who took it. Raises errors.NotFound if it is not open."""
    if await conn.fetchval(ACCEPT, invitation.id, user_id, at) is None:
        raise missing()


async def withdraw(conn: Connection, customer_id: int, invitation_id: int, *, at: datetime) -> None:
    """Close an open invitation that nobody took. Raises errors.NotFound."""
    if await conn.fetchval(WITHDRAW, customer_id, invitation_id, at) is None:
        raise missing()


async def withdraw_of(
    conn: Connection, customer_id: int, user_id: str, roles: Sequence[str], *, at: datetime
) -> None:
    """Close the open invitations to `roles` that a user made."""
    await conn.execute(WITHDRAW_OF, customer_id, user_id, list(roles), at)
