"""Browser sessions and the links that begin them: tokens of 256 bits, stored as their SHA-256.

Owns tables sign_in_links and sessions. Their times are real time, whatever the sandbox's clock
says. Knows no cookie: the pages put the token into one.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from bursar import errors
from bursar.access.actors import Actor
from bursar.access.keys import hash_secret
from bursar.db import Connection

LINK_SECONDS = 600
SESSION_SECONDS = 14 * 24 * 3600
ADMIN_SESSION_SECONDS = 12 * 3600
TOKEN_LENGTH_MAX = 100

CREATE_LINK = """
insert into sign_in_links (hash, user_id, admin, reusable, expires_at)
select $1, id, $3, $4, now() + make_interval(secs => $5) from users where id = $2
returning true
"""

# The row's lock decides a race: whoever comes second finds the link used.
USE_LINK = """
update sign_in_links set used_at = now()
where hash = $1 and expires_at > now() and (reusable or used_at is null)
returning user_id, admin
"""

PEEK = """
select user_id from sign_in_links
where hash = $1 and expires_at > now() and (reusable or used_at is null)
"""

DROP_LINK = "delete from sign_in_links where hash = $1"

BEGIN = """
insert into sessions (hash, user_id, admin, expires_at)
values ($1, $2, $3, now() + make_interval(secs => $4))
"""

FIND = "select user_id, admin from sessions where hash = $1 and expires_at > now()"

END = "delete from sessions where hash = $1"

END_ALL = "delete from sessions where user_id = $1"

FORGET = """
with links as (delete from sign_in_links where expires_at < now() - interval '1 day')
delete from sessions where expires_at < now() - interval '1 day'
"""


class SignedIn(NamedTuple):
    """What a redeemed link gives: the browser's new token, and whose it is."""

    session_token: str
    user_id: str
    admin: bool


async def whose_link(conn: Connection, token: str) -> str | None:
    """The user whom a link would sign in, without using it up; None when it does not work."""
    found: str | None = await conn.fetchval(PEEK, hash_secret(token))
    return found


async def create_link(
    conn: Connection,
    user_id: str,
    *,
    admin: bool = False,
    reusable: bool = False,
    seconds: float = LINK_SECONDS,
) -> str:
    """Make the token of a sign-in link, good once (or until it ends, if `reusable`).

    Raises errors.NotFound for a user who does not exist.
    """
    token = secrets.token_urlsafe(32)
    made = await conn.fetchval(CREATE_LINK, hash_secret(token), user_id, admin, reusable, seconds)
    if made is None:
        raise errors.NotFound(f"There is no user {user_id!r}.")
    return token


async def drop_link(conn: Connection, token: str) -> None:
    """Take a link back; nothing happens when it is gone already."""
    await conn.execute(DROP_LINK, hash_secret(token))


async def redeem(conn: Connection, token: str) -> SignedIn:
    """Use a link and begin a new session. Raises errors.Unauthenticated when it is not good."""
    row = None
    if len(token) <= TOKEN_LENGTH_MAX and token.isascii():
        row = await conn.fetchrow(USE_LINK, hash_secret(token))
    if row is None:
        raise errors.Unauthenticated(
            "This sign-in link is unknown, used or expired. Ask for a new one."
        )
    session_token = secrets.token_urlsafe(32)
    seconds = ADMIN_SESSION_SECONDS if row["admin"] else SESSION_SECONDS
    await conn.execute(BEGIN, hash_secret(session_token), row["user_id"], row["admin"], seconds)
    return SignedIn(session_token, row["user_id"], row["admin"])


async def find(conn: Connection, session_token: str) -> Actor | None:
    """Who signed in with this token; None when the session is unknown or over."""
    if len(session_token) > TOKEN_LENGTH_MAX or not session_token.isascii():
        return None
    row = await conn.fetchrow(FIND, hash_secret(session_token))
    if row is None:
        return None
    return Actor("admin" if row["admin"] else "user", row["user_id"], None)


async def end(conn: Connection, session_token: str) -> None:
    """Sign out; nothing happens when the session is over already."""
    if session_token.isascii():
        await conn.execute(END, hash_secret(session_token))


async def end_all(conn: Connection, user_id: str) -> None:
    """Sign a user out of every browser."""
    await conn.execute(END_ALL, user_id)


async def forget_ended(conn: Connection) -> None:
    """Delete links and sessions that ended a day ago or earlier."""
    await conn.execute(FORGET)
