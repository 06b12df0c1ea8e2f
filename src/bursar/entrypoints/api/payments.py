"""A customer's payments, as lists and one by one. Another's look the same as none."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.billing import payments, reversals
from bursar.entrypoints.api.answers import (
    PaymentAnswer,
    PaymentsAnswer,
    answer,
    payment_answer,
)
from bursar.entrypoints.api.callers import Caller, find_id, managing_caller
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.state import api_of
from bursar.providers.port import ProviderName

router = APIRouter(tags=["payments"])

Payer = Annotated[Caller, Depends(managing_caller)]


async def _list(request: Request, caller: Caller, page: Page, provider: str | None) -> Response:
    async with api_of(request).wiring.db.connection() as conn:
        rows = await payments.list_payments(
            conn, caller.customer_id, provider=provider, before=page.before, limit=page.limit + 1
        )
        shown, cursor = cut(rows, page.limit)
        ids = [row.id for row in shown]
        back = await reversals.list_for_payments(conn, caller.customer_id, ids)
    data = [payment_answer(row, back.get(row.id, [])) for row in shown]
    return answer(PaymentsAnswer(data=data, next_cursor=cursor))


async def _get(request: Request, caller: Caller, text: str, provider: str | None) -> Response:
    payment_id = find_id(text)
    missing = errors.NotFound("There is no such payment.")
    if payment_id is None:
        raise missing
    async with api_of(request).wiring.db.connection() as conn:
        payment = await payments.get_payment(conn, caller.customer_id, payment_id)
        back = await reversals.list_for_payments(conn, caller.customer_id, [payment_id])
    if provider is not None and payment.provider != provider:
        raise missing
    return answer(payment_answer(payment, back.get(payment_id, [])))


@router.get("/api/payments", response_model=PaymentsAnswer, **described(acting=True))
async def list_payments(
    request: Request, caller: Payer, page: Annotated[Page, Query()]
) -> Response:
    """List payments, newest first."""
    return await _list(request, caller, page, None)


@router.get("/api/payments/{payment_id}", response_model=PaymentAnswer, **described(acting=True))
async def get_payment(request: Request, payment_id: str, caller: Payer) -> Response:
    """One payment."""
    return await _get(request, caller, payment_id, None)


@router.get(
    "/api/{provider:provider}/payments",
    response_model=PaymentsAnswer,
    **described(acting=True),
)
async def list_provider_payments(
    request: Request, provider: ProviderName, caller: Payer, page: Annotated[Page, Query()]
) -> Response:
    """List the payments made through one provider, newest first."""
    return await _list(request, caller, page, provider)


@router.get(
    "/api/{provider:provider}/payments/{payment_id}",
    response_model=PaymentAnswer,
    **described(acting=True),
)
async def get_provider_payment(
    request: Request, provider: ProviderName, payment_id: str, caller: Payer
) -> Response:
    """One payment made through one provider."""
    return await _get(request, caller, payment_id, provider)
