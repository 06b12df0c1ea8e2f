"""The audit log over HTTP: what admins, services and commands changed, for admins to read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.access.audit_log import Entry
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.callers import actor_of
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.state import api_of

router = APIRouter(tags=["admin"])


class AuditLogAsked(Page):
    """The query of the audit log."""

    action: Annotated[str, Field(pattern="^[a-z_]{1,40}[.][a-z_]{1,40}$")] | None = Field(
        None, description="Only this action, such as `credits.granted`."
    )
    customer_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = Field(
        None, description="Only what concerned this customer."
    )


class AuditEntryAnswer(Answer):
    """A change: who made it, what it was, to what, and why."""

    id: int
    actor: str = Field(description="`admin`, `service` or `command`; an admin's user id after it.")
    key_id: int | None
    action: str
    subject: str
    customer_id: int | None
    reason: str | None
    detail: dict[str, object]
    created_at: datetime


class AuditLogAnswer(Answer):
    """Changes, newest first."""

    data: list[AuditEntryAnswer]
    next_cursor: str | None


@router.get("/api/admin/audit-log", response_model=AuditLogAnswer, **described(refusals=(422,)))
async def list_audit_log(
    request: Request,
    actor: Annotated[Actor, Depends(actor_of("admin"))],
    asked: Annotated[AuditLogAsked, Query()],
) -> Response:
    """List what admins, services and commands changed, newest first."""
    async with api_of(request).wiring.db.connection() as conn:
        rows = await audit_log.list_entries(
            conn,
            action=asked.action,
            customer_id=asked.customer_id,
            before=asked.before,
            limit=asked.limit + 1,
        )
    shown, cursor = cut(rows, asked.limit)
    return answer(AuditLogAnswer(data=[_entry(row) for row in shown], next_cursor=cursor))


def _entry(row: Entry) -> AuditEntryAnswer:
    return AuditEntryAnswer(
        id=row.id,
        actor=row.actor,
        key_id=row.key_id,
        action=row.action,
        subject=row.subject,
        customer_id=row.customer_id,
        reason=row.reason,
        detail=row.detail,
        created_at=row.created_at,
    )
