"""Teams over HTTP: made and named, their members, and the links that bring people in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.idempotency import Key, Replay
from bursar.billing import customers, teams
from bursar.billing.customers import Membership
from bursar.billing.invitations import Invitation
from bursar.billing.team_rules import By
from bursar.db import Connection
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import (
    Caller,
    find_id,
    idempotency_key,
    managing_caller,
    user_caller,
)
from bursar.entrypoints.api.once import once_here
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.people import REPLACEMENT
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.api.team_bodies import (
    AcceptRequest,
    GoneAnswer,
    InvitationAnswer,
    InvitationMadeAnswer,
    MemberAnswer,
    MemberMadeAnswer,
    MemberRequest,
    MembersAnswer,
    RoleRequest,
    SeatsAnswer,
    TeamAnswer,
    TeamRequest,
    TeamsAnswer,
)
from bursar.wiring import Wiring

router = APIRouter(tags=["teams"])

User = Annotated[Caller, Depends(user_caller)]
Manager = Annotated[Caller, Depends(managing_caller)]
ClientKey = Annotated[str | None, Depends(idempotency_key)]


def _by(caller: Caller) -> By:
    return By(caller.actor, caller.user.id)


def _team(membership: Membership) -> TeamAnswer:
    return TeamAnswer(
        customer_id=membership.customer_id,
        kind=membership.kind,
        name=membership.name,
        role=membership.role,
    )


def _claim(route: str, caller: Caller, key: str | None, body: BaseModel) -> Key | None:
    """The client's key in its scope: the holder, the user for whom, and the account meant.

    Ids of users hold any sign, so a length stands before the one that another follows.
    """
    if key is None:
        return None
    principal = caller.actor.principal
    scope = f"{len(principal)}:{principal} for {caller.customer_id} as {caller.user.id}"
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    return Key(scope, route, key, idempotency.hash_request(said))


@router.post(
    "/api/team",
    response_model=TeamAnswer,
    **described(body=TeamRequest, acting=True, idempotent=True, refusals=(409,)),
)
async def create_team(
    request: Request,
    caller: User,
    key: ClientKey,
    body: Annotated[TeamRequest, Depends(body_of(TeamRequest))],
) -> Response:
    """Make a team; the user is its owner."""
    wiring = api_of(request).wiring

    async def work(conn: Connection) -> Answer:
        return _team(await teams.create(conn, _by(caller), body.name, at=wiring.clock.now()))

    return await once_here(wiring.db, _claim("POST /api/team", caller, key, body), work)


@router.get("/api/team", response_model=TeamsAnswer, **described(acting=True))
async def list_teams(request: Request, caller: User, page: Annotated[Page, Query()]) -> Response:
    """List the accounts that the user belongs to, their own and teams, with the role in each."""
    async with api_of(request).wiring.db.connection() as conn:
        rows = await customers.list_memberships(
            conn, caller.user.id, before=page.before, limit=page.limit + 1
        )
    shown, cursor = cut(rows, page.limit)
    return answer(TeamsAnswer(data=[_team(row) for row in shown], next_cursor=cursor))


@router.patch(
    "/api/team",
    response_model=TeamAnswer,
    **described(body=TeamRequest, acting=True, refusals=(409,)),
)
async def rename_team(
    request: Request,
    caller: Manager,
    body: Annotated[TeamRequest, Depends(body_of(TeamRequest))],
) -> Response:
    """Call the team in `Bursar-Customer` something else."""

    async def work(conn: Connection) -> Answer:
        return _team(await teams.rename(conn, _by(caller), caller.customer_id, body.name))

    return answer(await api_of(request).wiring.db.run(work))


@router.get(
    "/api/team/members",
    response_model=MembersAnswer,
    **described(acting=True, refusals=(409,)),
)
async def list_members(request: Request, caller: User) -> Response:
    """List the team's members, its open invitations and its seats."""
    wiring = api_of(request).wiring
    seats, at = wiring.settings.team_seats, wiring.clock.now()
    async with wiring.db.connection() as conn:
        found = await teams.roster(conn, caller.customer_id, seats=seats, at=at)
    members = [
        MemberAnswer(
            user_id=member.user_id,
            email=member.email,
            name=member.name,
            role=member.role,
            joined_at=member.joined_at,
        )
        for member in found.members
    ]
    return answer(
        MembersAnswer(
            data=members,
            next_cursor=None,
            invitations=[_invitation(invitation) for invitation in found.invitations],
            seats=SeatsAnswer(limit=found.seats.limit, used=found.seats.used),
        )
    )


def _invitation(invitation: Invitation) -> InvitationAnswer:
    return InvitationAnswer(
        invitation_id=invitation.id,
        email=invitation.email,
        role=invitation.role,
        invited_by=invitation.invited_by,
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
    )


@router.post(
    "/api/team/members",
    response_model=MemberMadeAnswer | InvitationMadeAnswer,
    **described(body=MemberRequest, acting=True, idempotent=True, refusals=(409,)),
)
async def add_member(
    request: Request,
    caller: Manager,
    key: ClientKey,
    body: Annotated[MemberRequest, Depends(body_of(MemberRequest))],
) -> Response:
    """Add a user at once (a service key and `user_id`), or make an invitation: a link to hand on.

    A repeat of an invitation under its Idempotency-Key answers the same invitation with a new
    link, and the link before stops working: a stored answer would be a stored secret.
    """
    wiring = api_of(request).wiring
    claimed = _claim("POST /api/team/members", caller, key, body)
    if body.user_id is None:
        return await _invite(wiring, caller, body, claimed)
    user_id = body.user_id

    async def work(conn: Connection) -> Answer:
        await teams.add(
            conn,
            _by(caller),
            caller.customer_id,
            user_id,
            body.role,
            seats=wiring.settings.team_seats,
            at=wiring.clock.now(),
        )
        return MemberMadeAnswer(customer_id=caller.customer_id, user_id=user_id, role=body.role)

    return await once_here(wiring.db, claimed, work)


async def _invite(wiring: Wiring, caller: Caller, body: MemberRequest, key: Key | None) -> Response:
    """Make an invitation; what is kept of the answer under the key is its id alone."""

    async def work(conn: Connection) -> tuple[Invitation, str, bool]:
        by, at = _by(caller), wiring.clock.now()
        claim = None if key is None else await idempotency.claim(conn, key)
        if isinstance(claim, Replay):
            made = int(claim.response)
            return *(await teams.renew(conn, by, caller.customer_id, made, at=at)), True
        invitation, token = await teams.invite(
            conn,
            by,
            caller.customer_id,
            "admin" if body.role == "admin" else "member",
            email=body.email,
            seats=wiring.settings.team_seats,
            at=at,
        )
        if key is not None:
            await idempotency.complete(conn, key, 200, str(invitation.id).encode())
        return invitation, token, False

    invitation, token, repeated = await wiring.db.run(work)
    told = InvitationMadeAnswer(
        invitation_id=invitation.id,
        url=f"{wiring.settings.own_url}/team/join?token={quote(token)}",
        expires_at=invitation.expires_at,
    )
    return answer(told, headers={"Idempotent-Replayed": "true"} if repeated else None)


def _user_id(text: str) -> str:
    """The member's id that the rest of an address is. Raises errors.NotFound for what is none."""
    if REPLACEMENT in text or not text.isprintable() or len(text) > customers.USER_ID_MAX:
        raise errors.NotFound("There is no such member.")
    return text


async def _change(
    request: Request, work: Callable[[Connection], Awaitable[None]], told: Answer
) -> Response:
    await api_of(request).wiring.db.run(work)
    return answer(told)


@router.patch(
    "/api/team/members/{user_id:path}",
    response_model=MemberMadeAnswer,
    **described(body=RoleRequest, acting=True, refusals=(409,)),
)
async def change_member(
    request: Request,
    user_id: str,
    caller: Manager,
    body: Annotated[RoleRequest, Depends(body_of(RoleRequest))],
) -> Response:
    """Give a member another role, which owners do."""
    named, at = _user_id(user_id), api_of(request).wiring.clock.now()

    async def work(conn: Connection) -> None:
        await teams.change_role(conn, _by(caller), caller.customer_id, named, body.role, at=at)

    told = MemberMadeAnswer(customer_id=caller.customer_id, user_id=named, role=body.role)
    return await _change(request, work, told)


@router.delete(
    "/api/team/members/{user_id:path}",
    response_model=GoneAnswer,
    **described(acting=True, refusals=(409,)),
)
async def remove_member(request: Request, user_id: str, caller: User) -> Response:
    """Let a member go, or leave; the credits stay with the team."""
    named, at = _user_id(user_id), api_of(request).wiring.clock.now()

    async def work(conn: Connection) -> None:
        await teams.remove(conn, _by(caller), caller.customer_id, named, at=at)

    return await _change(request, work, GoneAnswer())


@router.post(
    "/api/team/invitations/accept",
    response_model=TeamAnswer,
    **described(body=AcceptRequest, acting=True, idempotent=True, refusals=(404, 409)),
)
async def accept_invitation(
    request: Request,
    caller: User,
    key: ClientKey,
    body: Annotated[AcceptRequest, Depends(body_of(AcceptRequest))],
) -> Response:
    """Join a team by the token of its link, once."""
    wiring = api_of(request).wiring

    async def work(conn: Connection) -> Answer:
        joined = await teams.accept(
            conn,
            _by(caller),
            body.token,
            seats=wiring.settings.team_seats,
            at=wiring.clock.now(),
        )
        return _team(joined)

    route = "POST /api/team/invitations/accept"
    return await once_here(wiring.db, _claim(route, caller, key, body), work)


@router.delete(
    "/api/team/invitations/{invitation_id}",
    response_model=GoneAnswer,
    **described(acting=True, refusals=(409,)),
)
async def withdraw_invitation(request: Request, invitation_id: str, caller: Manager) -> Response:
    """End an open invitation; its link stops working."""
    named, at = find_id(invitation_id), api_of(request).wiring.clock.now()
    if named is None:
        raise errors.NotFound("There is no such invitation.")

    async def work(conn: Connection) -> None:
        await teams.withdraw(conn, _by(caller), caller.customer_id, named, at=at)

    return await _change(request, work, GoneAnswer())
