"""Cases over HTTP: what a person must look at, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import cases, unmatched
from bursar.billing.cases import Case
from bursar.billing.unmatched import Resolution
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, find_id, idempotency_key
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.requests import Description, Sent, UserId
from bursar.entrypoints.api.state import api_of

router = APIRouter(tags=["admin"])

Admin = Annotated[Actor, Depends(actor_of("admin"))]


class ResolveRequest(Sent):
    """Whose the money is, by user or by customer; or a note that says what was done."""

    user_id: UserId | None = None
    customer_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    note: Description | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        named = [x for x in (self.user_id, self.customer_id) if x is not None]
        if len(named) > 1 or not (named or self.note):
            raise PydanticCustomError("one_of", "Send one of user_id and customer_id, or a note")
        return self


class CasesAsked(Page):
    """The query of the list."""

    state: Literal["open", "resolved", "all"] = "open"


class CaseAnswer(Answer):
    """A case: money is there, or a message, that no rule may decide about."""

    id: int
    kind: str
    reference: str = Field(description="What it is about, such as `stripe:intent:pi_…`.")
    state: Literal["open", "resolved"]
    customer_id: int | None
    payment_id: int | None
    amount: int | None = Field(description="In minor units of `currency`.")
    currency: str | None
    summary: str
    detail: dict[str, object]
    resolution: str | None
    opened_at: datetime
    resolved_at: datetime | None


class CasesAnswer(Answer):
    """Cases, newest first."""

    data: list[CaseAnswer]
    next_cursor: str | None


@router.get("/api/admin/cases", response_model=CasesAnswer, **described(refusals=(422,)))
async def list_cases(
    request: Request, actor: Admin, asked: Annotated[CasesAsked, Query()]
) -> Response:
    """List cases, newest first."""
    wanted = None if asked.state == "all" else asked.state
    async with api_of(request).wiring.db.connection() as conn:
        rows = await cases.list_cases(
            conn, state=wanted, before=asked.before, limit=asked.limit + 1
        )
    shown, cursor = cut(rows, asked.limit)
    return answer(CasesAnswer(data=[_case(row) for row in shown], next_cursor=cursor))


@router.get("/api/admin/cases/{case_id}", response_model=CaseAnswer, **described(refusals=(404,)))
async def get_case(request: Request, case_id: str, actor: Admin) -> Response:
    """Show a case with everything that is known."""
    async with api_of(request).wiring.db.connection() as conn:
        return answer(_case(await cases.get_case(conn, _number(case_id))))


@router.post(
    "/api/admin/cases/{case_id}/resolve",
    response_model=CaseAnswer,
    **described(body=ResolveRequest, idempotent=True, refusals=(404, 409, 502, 504)),
)
async def resolve_case(
    request: Request,
    case_id: str,
    actor: Admin,
    key: Annotated[str | None, Depends(idempotency_key)],
    body: Annotated[ResolveRequest, Depends(body_of(ResolveRequest))],
) -> Response:
    """End a case: unmatched money is given to an account, which gets its credits; or a note."""
    wiring = api_of(request).wiring
    wanted = Resolution(
        case_id=_number(case_id),
        user_id=body.user_id,
        customer_id=body.customer_id,
        note=body.note,
        actor=actor,
        rules=wiring.rules,
    )

    async def work(_: str | None = None) -> CaseAnswer:
        return _case(
            await unmatched.resolve(wiring.db, wiring.providers, wanted, clock=wiring.clock)
        )

    if key is None:
        return answer(await work())
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    route = f"POST /api/admin/cases/{wanted.case_id}/resolve"
    claimed = Key(actor.principal, route, key, idempotency.hash_request(said))
    return await once(wiring.db, claimed, work)


def _number(text: str) -> int:
    found = find_id(text)
    if found is None:
        raise errors.NotFound("There is no such case.")
    return found


def _case(row: Case) -> CaseAnswer:
    return CaseAnswer(
        id=row.id,
        kind=row.kind,
        reference=row.reference,
        state="resolved" if row.state == "resolved" else "open",
        customer_id=row.customer_id,
        payment_id=row.payment_id,
        amount=row.amount_minor,
        currency=row.currency,
        summary=row.summary,
        detail=row.detail,
        resolution=row.resolution,
        opened_at=row.opened_at,
        resolved_at=row.resolved_at,
    )
