"""The outbox over HTTP: what is owed to the world, where it stands, and sending it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.callers import actor_of, find_id, idempotency_key
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.state import api_of
from bursar.messages import outbox
from bursar.messages.outbox import Message, State

router = APIRouter(tags=["admin"])

Admin = Annotated[Actor, Depends(actor_of("admin"))]


class OutboxAsked(Page):
    """The query of the outbox."""

    state: State | None = Field(None, description="Only messages in this state.")
    destination: Annotated[str, Field(pattern="^[a-zA-Z0-9_.:-]{1,200}$")] | None = Field(
        None, description="Only what goes there: `webhook:1`, `mail:refund`, `host:…`."
    )


class OutboxMessageAnswer(Answer):
    """A message to one destination. `last_error` is the reason of the last try that failed."""

    id: int
    event_id: UUID
    topic: str
    destination: str
    customer_id: int | None
    state: State
    attempts: int
    due_at: datetime
    created_at: datetime
    sent_at: datetime | None
    last_error: str | None


class OutboxAnswer(Answer):
    """Messages, newest first."""

    data: list[OutboxMessageAnswer]
    next_cursor: str | None


@router.get("/api/admin/outbox", response_model=OutboxAnswer, **described(refusals=(422,)))
async def list_outbox(
    request: Request, actor: Admin, asked: Annotated[OutboxAsked, Query()]
) -> Response:
    """List what is owed, newest first."""
    async with api_of(request).wiring.db.connection() as conn:
        rows = await outbox.list_messages(
            conn,
            state=asked.state,
            destination=asked.destination,
            before=asked.before,
            limit=asked.limit + 1,
        )
    shown, cursor = cut(rows, asked.limit)
    return answer(OutboxAnswer(data=[_message(row) for row in shown], next_cursor=cursor))


@router.post(
    "/api/admin/outbox/{message_id}/retry",
    response_model=OutboxMessageAnswer,
    **described(idempotent=True, refusals=(404, 409, 422)),
)
async def retry_message(
    request: Request,
    actor: Admin,
    key: Annotated[str | None, Depends(idempotency_key)],
    message_id: str,
) -> Response:
    """Send a message again, whatever became of it; one that was sent arrives twice."""
    number = find_id(message_id)
    if number is None:
        raise errors.NotFound("There is no such message.")
    async with api_of(request).wiring.db.transaction() as conn:
        before = await outbox.get_message(conn, number)
        if not await outbox.retry(conn, [number]):
            raise errors.Conflict("This message is being sent just now.")
        await audit_log.record(
            conn,
            actor,
            "outbox_message.retried",
            subject=f"outbox_message:{number}",
            customer_id=before.customer_id,
            detail={"destination": before.destination, "state": before.state},
        )
        queued = await outbox.get_message(conn, number)
    return answer(_message(queued))


def _message(message: Message) -> OutboxMessageAnswer:
    return OutboxMessageAnswer.model_validate(message, from_attributes=True)
