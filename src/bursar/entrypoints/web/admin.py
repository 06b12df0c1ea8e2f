"""The frame of the operators' pages: who may see them, and the list of places in them.

Owns `/admin`, which leads to its first place. To whoever is not an admin nothing is here, as at
any address where nothing is. A new page is a line in `GROUPS`, and a view that asks `require` and
answers by `render`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.billing import order_review
from bursar.db import Connection
from bursar.entrypoints.web import pages, visitors
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor

FIRST = "/admin/orders"


@dataclass(frozen=True, slots=True)
class Place:
    """A page in the list. `count` says how many things wait there for a person, if any can."""

    path: str
    words: str
    count: Callable[[Connection], Awaitable[int]] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Pages under one heading."""

    words: str
    places: tuple[Place, ...]


GROUPS = (Group("Money", (Place(FIRST, "Orders to review", order_review.count_waiting),)),)


@dataclass(frozen=True, slots=True)
class Item:
    """A place as the list shows it."""

    path: str
    words: str
    waiting: int
    here: bool


async def home(site: Site, request: Request) -> Response:
    """GET /admin: to the first place."""
    async with site.wiring.db.connection() as conn:
        await require(conn, request)
    return RedirectResponse(FIRST, 303, {"cache-control": "no-store"})


async def require(conn: Connection, request: Request) -> Visitor:
    """The admin who looks. Raises Unauthenticated, and NotFound for everybody else."""
    visitor = await visitors.require(conn, request)
    if visitor.actor.kind != "admin":
        raise errors.NotFound()
    return visitor


async def render(
    site: Site,
    request: Request,
    conn: Connection,
    template: str,
    values: dict[str, object],
    *,
    visitor: Visitor,
    status: int = 200,
) -> Response:
    """A page in the frame."""
    settings = site.wiring.settings
    framed = {
        **values,
        "groups": [(group.words, await _items(conn, group, request)) for group in GROUPS],
        "sandbox_url": f"{settings.stripe_base}/_sandbox/" if settings.sandbox else "",
    }
    return pages.render(site, request, template, framed, visitor=visitor, status=status)


async def _items(conn: Connection, group: Group, request: Request) -> list[Item]:
    path = request.url.path
    return [
        Item(
            path=place.path,
            words=place.words,
            waiting=await place.count(conn) if place.count else 0,
            here=path == place.path or path.startswith(f"{place.path}/"),
        )
        for place in group.places
    ]
