"""Users as the host app describes them, and the links that sign their browsers in."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import audit_log, sessions
from bursar.access.actors import Actor
from bursar.billing import customers, unmatched
from bursar.billing.customers import User
from bursar.db import Connection
from bursar.entrypoints.api.answers import SessionAnswer, UserAnswer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, idempotency_key
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import SessionRequest, UserRequest
from bursar.entrypoints.api.state import api_of

router = APIRouter(tags=["users"])

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Service = Annotated[Actor, Depends(actor_of("service"))]


# Ids of the host app may hold slashes, so the rest of the path is the id.
@router.put("/api/users/{user_id:path}", response_model=UserAnswer, **described(body=UserRequest))
async def put_user(
    request: Request,
    user_id: str,
    actor: Service,
    body: Annotated[UserRequest, Depends(body_of(UserRequest))],
) -> Response:
    """Make a user, or bring one up to date."""
    if REPLACEMENT in user_id:
        # Bytes that are no UTF-8 were replaced on the way; different ids would become one.
        raise errors.Invalid("The user id in the address is not UTF-8.")
    customers.check_user_id(user_id)
    wiring = api_of(request).wiring
    async with wiring.db.transaction() as conn:
        before = await customers.find_user(conn, user_id)
        user = await customers.put_user(
            conn,
            user_id,
            email=body.email,
            email_verified=body.email_verified,
            name=body.name,
            at=wiring.clock.now(),
        )
        await unmatched.claim(conn, user, at=wiring.clock.now())
        await _record(conn, actor, before, user)
    return answer(
        UserAnswer(
            user_id=user.id,
            customer_id=user.customer_id,
            email=user.email,
            email_verified=user.email_verified,
            name=user.name,
        )
    )


async def _record(conn: Connection, actor: Actor, before: User | None, user: User) -> None:
    """Tell the audit log which fields changed. What they say is left out: the log is for ever."""
    fields = ("email", "email_verified", "name")
    changed = [name for name in fields if getattr(before, name, None) != getattr(user, name)]
    if before is not None and not changed:
        return
    await audit_log.record(
        conn,
        actor,
        "user.updated" if before else "user.created",
        subject=f"user:{user.id}",
        customer_id=user.customer_id,
        detail={"fields": changed} if before else None,
    )


@router.post(
    "/api/sessions",
    response_model=SessionAnswer,
    **described(body=SessionRequest, idempotent=True),
)
async def create_session(
    request: Request,
    actor: Service,
    key: Annotated[str | None, Depends(idempotency_key)],
    body: Annotated[SessionRequest, Depends(body_of(SessionRequest))],
) -> Response:
    """Make a sign-in link: good once, for ten minutes.

    A repeat under one Idempotency-Key makes another link: a stored answer would be a stored
    secret, and an unused link harms nobody.
    """
    wiring = api_of(request).wiring
    async with wiring.db.transaction() as conn:
        user = await customers.ensure_user(conn, body.user_id, at=wiring.clock.now())
        token = await sessions.create_link(conn, body.user_id)
        subject = f"user:{user.id}"
        await audit_log.record(
            conn, actor, "sign_in_link.created", subject=subject, customer_id=user.customer_id
        )
    return answer(SessionAnswer(url=f"{wiring.settings.own_url}/sign-in?token={quote(token)}"))
