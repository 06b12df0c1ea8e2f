"""Who is looking at a page: the cookies of the session and of the colour scheme.

Owns the two cookies' names and attributes. Who a session belongs to is known to access.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import sessions
from bursar.access.actors import Actor
from bursar.billing import customers
from bursar.billing.customers import User
from bursar.db import Connection

if TYPE_CHECKING:
    from bursar.config import Settings

SESSION_COOKIE = "bursar_session"
SCHEME_COOKIE = "bursar_scheme"
SCHEMES = ("light", "dark")
SCHEME_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in user with the actor that the session stands for."""

    actor: Actor
    user: User


async def find(conn: Connection, request: Request) -> Visitor | None:
    """The visitor, by the session's cookie; None for one who is not signed in."""
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        return None
    actor = await sessions.find(conn, token)
    if actor is None or actor.user_id is None:
        return None
    user = await customers.find_user(conn, actor.user_id)
    return Visitor(actor, user) if user else None


async def require(conn: Connection, request: Request) -> Visitor:
    """The visitor. Raises errors.Unauthenticated, which leads to the sign-in page."""
    visitor = await find(conn, request)
    if visitor is None:
        raise errors.Unauthenticated()
    return visitor


def scheme_of(request: Request) -> str | None:
    """The colour scheme that the visitor chose; None follows the system."""
    scheme = request.cookies.get(SCHEME_COOKIE)
    return scheme if scheme in SCHEMES else None


def _set(
    response: Response, settings: Settings, name: str, value: str, seconds: int | None
) -> None:
    samesite: Literal["lax"] = "lax"
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=settings.base_path or "/",
        secure=settings.own_url.startswith("https://"),
        httponly=True,
        samesite=samesite,
    )


def begin_session(response: Response, settings: Settings, token: str) -> None:
    """Put a new session's token into the browser, until the session ends there or here."""
    _set(response, settings, SESSION_COOKIE, token, sessions.SESSION_SECONDS)


def end_session(response: Response, settings: Settings) -> None:
    """Take the token out of the browser."""
    _set(response, settings, SESSION_COOKIE, "", 0)


def choose_scheme(response: Response, settings: Settings, scheme: str | None) -> None:
    """Keep the chosen scheme for a year; None forgets it."""
    _set(response, settings, SCHEME_COOKIE, scheme or "", SCHEME_SECONDS if scheme else 0)
