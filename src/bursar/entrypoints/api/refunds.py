"""Refunds over HTTP, asked for by an admin, once for each Idempotency-Key."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import refunds
from bursar.billing.refunds import Refund, Wanted
from bursar.entrypoints.api.answers import REFUND_STATUS, RefundMadeAnswer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, required_key
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import RefundRequest
from bursar.entrypoints.api.state import api_of
from bursar.providers.port import ProviderName

router = APIRouter(tags=["payments"])


@router.post(
    "/api/{provider:provider}/refund",
    response_model=RefundMadeAnswer,
    **described(body=RefundRequest, key_required=True, refusals=(404, 409, 502, 504)),
)
async def refund(
    request: Request,
    provider: ProviderName,
    actor: Annotated[Actor, Depends(actor_of("admin"))],
    key: Annotated[str, Depends(required_key)],
    body: Annotated[RefundRequest, Depends(body_of(RefundRequest))],
) -> Response:
    """Give a payment back, whole or in part; its credits go out once the refund succeeded."""
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    wanted = Wanted(
        payment_id=body.payment_id,
        amount_minor=body.amount,
        reason=body.reason,
        force=body.force,
        requested_by=actor.principal,
        actor=actor,
        rules=wiring.rules,
    )
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    claimed = Key(
        actor.principal, f"POST /api/{provider}/refund", key, idempotency.hash_request(said)
    )

    async def work(resume: str | None) -> RefundMadeAnswer:
        made = await refunds.request(
            wiring.db, adapter, wanted, clock=wiring.clock, key=claimed, resume=resume
        )
        return _made(made)

    return await once(wiring.db, claimed, work)


def _made(made: Refund) -> RefundMadeAnswer:
    return RefundMadeAnswer(
        refund_id=made.reversal.id,
        payment_id=made.reversal.payment_id,
        amount=made.reversal.amount_minor,
        status=REFUND_STATUS[made.reversal.state],
        credits_reversed=made.credits_reversed,
        owed=made.owed,
    )
