"""Disputes over HTTP: listed by the time that is left, answered with evidence, given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import dispute_list, disputes
from bursar.billing.dispute_list import Dispute
from bursar.billing.disputes import Said
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, find_id, idempotency_key
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.requests import Sent
from bursar.entrypoints.api.state import api_of
from bursar.providers.after_sale import DisputeStatus

router = APIRouter(tags=["admin"])

Admin = Annotated[Actor, Depends(actor_of("admin"))]
ClientKey = Annotated[str | None, Depends(idempotency_key)]
Short = Annotated[str, Field(max_length=500)]
Long = Annotated[str, Field(max_length=20_000)]


class EvidenceRequest(Sent):
    """What speaks for the shop. What is left out stays; an empty text takes a field away."""

    customer_name: Short | None = None
    customer_email: Short | None = None
    customer_ip: Short | None = None
    billing_address: Short | None = None
    product_description: Long | None = None
    service_date: Short | None = None
    access_log: Long | None = Field(None, description="That the buyer used what was bought.")
    receipt: Long | None = Field(None, description="As text; it goes to the bank with the rest.")
    refund_policy: Long | None = None
    refund_refusal: Long | None = None
    cancellation_policy: Long | None = None
    cancellation_rebuttal: Long | None = None
    duplicate_charge: Short | None = Field(None, description="The other charge's id.")
    duplicate_explanation: Long | None = None
    shipping_address: Short | None = None
    shipping_carrier: Short | None = None
    shipping_date: Short | None = None
    shipping_tracking_number: Short | None = None
    uncategorized_text: Long | None = None
    submit: bool = Field(
        False, description="Send all that is kept to the bank now. That can't be undone."
    )


class DisputesAsked(Page):
    """The query of the list."""

    open: bool | None = Field(None, description="Only those that are undecided, or decided.")


class DisputeAnswer(Answer):
    """A dispute, or a bank's inquiry, which moves nothing; amounts in minor units."""

    id: int
    payment_id: int
    customer_id: int
    user_id: str | None
    provider: str
    provider_ref: str
    amount: int
    currency: str
    status: DisputeStatus
    inquiry: bool
    reason: str | None
    due_at: datetime | None = Field(description="Until when evidence is taken.")
    evidence: dict[str, str]
    submitted_at: datetime | None
    created_at: datetime


class DisputesAnswer(Answer):
    """Disputes: those that need an answer by the time that is left, then the others."""

    data: list[DisputeAnswer]
    next_cursor: str | None


@router.get("/api/admin/disputes", response_model=DisputesAnswer, **described(refusals=(422,)))
async def list_disputes(
    request: Request, actor: Admin, asked: Annotated[DisputesAsked, Query()]
) -> Response:
    """List disputes, the nearest deadline first."""
    after = asked.before
    async with api_of(request).wiring.db.connection() as conn:
        rows = await dispute_list.list_disputes(
            conn, open_ones=asked.open, after=after, limit=asked.limit + 1
        )
    shown, cursor = cut(rows, asked.limit)
    return answer(DisputesAnswer(data=[_dispute(row) for row in shown], next_cursor=cursor))


@router.get(
    "/api/admin/disputes/{dispute_id}", response_model=DisputeAnswer, **described(refusals=(404,))
)
async def get_dispute(request: Request, dispute_id: str, actor: Admin) -> Response:
    """Show one dispute, with the evidence that is kept."""
    async with api_of(request).wiring.db.connection() as conn:
        return answer(_dispute(await dispute_list.get_dispute(conn, _number(dispute_id))))


@router.post(
    "/api/admin/disputes/{dispute_id}/evidence",
    response_model=DisputeAnswer,
    **described(body=EvidenceRequest, idempotent=True, refusals=(404, 409, 502, 504)),
)
async def add_evidence(
    request: Request,
    dispute_id: str,
    actor: Admin,
    key: ClientKey,
    body: Annotated[EvidenceRequest, Depends(body_of(EvidenceRequest))],
) -> Response:
    """Keep evidence as a draft, or submit it."""
    told = body.model_dump(exclude={"submit"}, exclude_none=True)
    said = Said(
        dispute_id=_number(dispute_id),
        evidence=told,
        submit=body.submit,
        actor=actor,
        rules=api_of(request).wiring.rules,
    )
    sent = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    return await _say(request, said, "evidence", key, sent)


@router.post(
    "/api/admin/disputes/{dispute_id}/accept",
    response_model=DisputeAnswer,
    **described(idempotent=True, refusals=(400, 404, 409, 422, 502, 504)),
)
async def accept_dispute(
    request: Request, dispute_id: str, actor: Admin, key: ClientKey
) -> Response:
    """Give in: the dispute is lost, and can't be answered any more."""
    said = Said(
        dispute_id=_number(dispute_id),
        accept=True,
        actor=actor,
        rules=api_of(request).wiring.rules,
    )
    return await _say(request, said, "accept", key, b"")


async def _say(request: Request, said: Said, act: str, key: str | None, sent: bytes) -> Response:
    wiring = api_of(request).wiring
    route = f"POST /api/admin/disputes/{said.dispute_id}/{act}"
    claimed = key and Key(said.actor.principal, route, key, idempotency.hash_request(sent))

    async def work(resume: str | None) -> DisputeAnswer:
        found = await disputes.say(
            wiring.db,
            wiring.providers,
            said,
            clock=wiring.clock,
            key=claimed or None,
            resume=resume,
        )
        return _dispute(found)

    if not claimed:
        return answer(await work(None))
    return await once(wiring.db, claimed, work)


def _number(text: str) -> int:
    found = find_id(text)
    if found is None:
        raise errors.NotFound("There is no such dispute.")
    return found


def _dispute(row: Dispute) -> DisputeAnswer:
    return DisputeAnswer(
        id=row.id,
        payment_id=row.payment_id,
        customer_id=row.customer_id,
        user_id=row.user_id,
        provider=row.provider,
        provider_ref=row.provider_ref,
        amount=row.amount_minor,
        currency=row.currency,
        status=row.status,
        inquiry=row.inquiry,
        reason=row.reason,
        due_at=row.due_at,
        evidence=dict(row.evidence),
        submitted_at=row.submitted_at,
        created_at=row.created_at,
    )
