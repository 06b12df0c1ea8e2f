"""Credits by hand, over HTTP: given and corrected by an admin, once for each Idempotency-Key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Self

import orjson
from fastapi import APIRouter, Depends
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.billing import grants
from bursar.billing.grants import Done, Wanted
from bursar.db import Connection
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, required_key
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Credits, Description, Sent, UnitName, UserId
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.api.times import Time
from bursar.money import AMOUNT_MAX

router = APIRouter(tags=["admin"])

Admin = Annotated[Actor, Depends(actor_of("admin"))]
ClientKey = Annotated[str, Depends(required_key)]


class ByHand(Sent):
    """Whose credits: a customer's, or those of a user's own account; and why."""

    customer_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    user_id: UserId | None = None
    unit: UnitName | None = None
    reason: Description

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if (self.customer_id is None) == (self.user_id is None):
            raise PydanticCustomError("one_of", "Send exactly one of customer_id and user_id")
        return self


class GrantRequest(ByHand):
    """Bonus credits to give; they end at `expires_at`, or never."""

    amount: Credits
    expires_at: Time | None = None


class AdjustmentRequest(ByHand):
    """A correction: above zero adds, below zero takes, in the unit's smallest part."""

    amount: Annotated[
        int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX, json_schema_extra={"not": {"const": 0}})
    ]

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.amount == 0:
            raise PydanticCustomError("amount_zero", "An adjustment moves something: not 0")
        return self


class PostedAnswer(Answer):
    """What was posted; `balance` is what the customer can spend after it."""

    transaction_id: int
    customer_id: int
    unit: str
    balance: int


@router.post(
    "/api/admin/credits/grants",
    response_model=PostedAnswer,
    **described(body=GrantRequest, key_required=True, refusals=(404,)),
)
async def grant_credits(
    request: Request,
    actor: Admin,
    key: ClientKey,
    body: Annotated[GrantRequest, Depends(body_of(GrantRequest))],
) -> Response:
    """Give bonus credits, with an end or without."""
    return await _post(request, actor, key, body, grants.grant, expires_at=body.expires_at)


@router.post(
    "/api/admin/credits/adjustments",
    response_model=PostedAnswer,
    **described(body=AdjustmentRequest, key_required=True, refusals=(402, 404)),
)
async def adjust_credits(
    request: Request,
    actor: Admin,
    key: ClientKey,
    body: Annotated[AdjustmentRequest, Depends(body_of(AdjustmentRequest))],
) -> Response:
    """Correct a balance: what is added pays debt first, what is taken goes by the order of use."""
    return await _post(request, actor, key, body, grants.adjust)


async def _post(
    request: Request,
    actor: Actor,
    key: str,
    body: GrantRequest | AdjustmentRequest,
    act: Callable[..., Awaitable[Done]],
    *,
    expires_at: datetime | None = None,
) -> Response:
    wiring = api_of(request).wiring
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)

    async def work(conn: Connection) -> Done:
        customer_id = await grants.find_customer(
            conn, customer_id=body.customer_id, user_id=body.user_id
        )
        wanted = Wanted(
            customer_id=customer_id,
            unit=body.unit,
            amount=body.amount,
            reason=body.reason,
            actor=actor,
            key=key,
            request_hash=idempotency.hash_request(said),
            expires_at=expires_at,
        )
        return await act(conn, wanted, at=wiring.clock.now())

    done = await wiring.db.run(work)
    headers = {"Idempotent-Replayed": "true"} if done.repeated else None
    told = PostedAnswer(
        transaction_id=done.transaction_id,
        customer_id=done.customer_id,
        unit=done.unit,
        balance=done.balance,
    )
    return answer(told, headers=headers)
