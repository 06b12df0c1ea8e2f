"""The page on which somebody joins a team, and the teams on the account page.

Owns `/team/join`. Looking at an invitation uses nothing up: the button does, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.billing import catalog, customers, teams
from bursar.billing.catalog import Unit
from bursar.billing.customers import Membership, Role
from bursar.billing.team_rules import By
from bursar.billing.teams import Invited
from bursar.db import Connection
from bursar.entrypoints.web import forms, pages, visitors
from bursar.entrypoints.web.figures import amount_of, moment
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.ledger import balances

LISTED_MAX = 20
ROLE_WORDS: Mapping[Role, str] = {"owner": "Owner", "admin": "Admin", "member": "Member"}
ROLE_HINTS: Mapping[Role, str] = {
    "owner": "You may use its credits, buy for it and decide who belongs to it.",
    "admin": "You may use its credits, buy for it and bring in members.",
    "member": "You may use its credits.",
}


@dataclass(frozen=True, slots=True)
class TeamLine:
    """A team in the list, with what it has to use now in each unit."""

    id: int
    name: str
    role: str
    balances: tuple[str, ...]


async def show(site: Site, request: Request) -> Response:
    """GET /team/join?token=: which team, as what, and the button; nothing is used up."""
    token = request.query_params.get("token", "")
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.find(conn, request)
        if visitor is None:
            return _page(site, request, "signed_out", visitor=None, status=401)
        try:
            invited = await teams.invited(conn, token, visitor.user.id, at=site.wiring.clock.now())
        except errors.NotFound:
            return _page(site, request, "wrong", visitor=visitor, status=404)
    state = "in" if invited.role else "ask"
    return _page(site, request, state, visitor=visitor, invited=invited, token=token)


async def join(site: Site, request: Request) -> Response:
    """POST /team/join: join, and go to the account. The same person again changes nothing."""
    fields = await forms.read(request)
    token = fields.get("token", "")
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
    by, at = By(visitor.actor, visitor.user.id), site.wiring.clock.now()
    seats = site.wiring.settings.team_seats

    async def work(conn: Connection) -> Membership:
        return await teams.accept(conn, by, token, seats=seats, at=at)

    try:
        joined = await site.wiring.db.run(work)
    except errors.NotFound:
        return _page(site, request, "wrong", visitor=visitor, status=404)
    except errors.SeatsTaken:
        return _page(site, request, "full", visitor=visitor, status=409)
    where = f"/account?joined={joined.customer_id}"
    return RedirectResponse(where, 303, {"cache-control": "no-store"})


def _page(
    site: Site,
    request: Request,
    state: str,
    *,
    visitor: Visitor | None,
    invited: Invited | None = None,
    token: str = "",
    status: int = 200,
) -> Response:
    values: dict[str, object] = {"state": state, "token": token, "team": "", "role": "", "hint": ""}
    if invited is not None:
        role = invited.role or invited.invitation.role
        values |= {
            "team": invited.team.name or "this team",
            "role": ROLE_WORDS[role],
            "hint": ROLE_HINTS[role],
            "ends": moment(invited.invitation.expires_at, site.wiring.clock.now()),
        }
    return pages.render(site, request, "team_join.html", values, visitor=visitor, status=status)


async def section(
    conn: Connection, user_id: str, joined: int | None, *, at: datetime
) -> dict[str, object]:
    """What the account page says of a user's teams; `joined` is one that the address names."""
    found = await customers.list_memberships(conn, user_id, personal=False, limit=LISTED_MAX + 1)
    units = {unit.name: unit for unit in await catalog.list_units(conn)} if found else {}
    lines = [await _line(conn, team, units, at) for team in found[:LISTED_MAX]]
    return {
        "teams": lines,
        "teams_more": len(found) > LISTED_MAX,
        "joined": next((line.name for line in lines if line.id == joined), ""),
    }


async def _line(
    conn: Connection, team: Membership, units: Mapping[str, Unit], at: datetime
) -> TeamLine:
    shown = []
    for name in await balances.list_units(conn, team.customer_id):
        if name in units:
            found = await balances.balance(conn, team.customer_id, name, at=at)
            shown.append(amount_of(found.spendable, units[name]))
    return TeamLine(
        team.customer_id, team.name or f"Team {team.id}", ROLE_WORDS[team.role], tuple(shown)
    )
