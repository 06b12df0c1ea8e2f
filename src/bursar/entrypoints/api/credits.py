"""Credits over HTTP: what a customer has, and how it came and went."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from bursar.billing import catalog
from bursar.entrypoints.api.answers import (
    BalanceAnswer,
    PoolsAnswer,
    TransactionAnswer,
    TransactionsAnswer,
    answer,
)
from bursar.entrypoints.api.callers import Caller, user_caller
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.state import api_of
from bursar.ledger import balances
from bursar.ledger.balances import PostingRow

router = APIRouter(tags=["credits"])

User = Annotated[Caller, Depends(user_caller)]
UnitName = Annotated[
    str, Field(pattern="^[a-z][a-z0-9_-]{0,39}$", description="A unit of the catalogue.")
]


class BalanceAsked(BaseModel):
    """The query of a balance."""

    model_config = ConfigDict(extra="forbid")

    unit: UnitName | None = None


class TransactionsAsked(Page):
    """The query of the list of movements."""

    unit: UnitName | None = None


@router.get("/user/balance", response_model=BalanceAnswer, **described(acting=True))
async def get_balance(
    request: Request, caller: User, asked: Annotated[BalanceAsked, Query()]
) -> Response:
    """The balance in one unit; without a name the one that has a rate."""
    wiring = api_of(request).wiring
    async with wiring.db.connection() as conn:
        unit = (await catalog.get_unit(conn, asked.unit)).name
        found = await balances.balance(conn, caller.customer_id, unit, at=wiring.clock.now())
    return answer(
        BalanceAnswer(
            user_id=caller.user.id,
            customer_id=caller.customer_id,
            unit=unit,
            balance=found.spendable,
            held=found.held,
            owed=found.owed,
            pools=PoolsAnswer(**found.pools),
        )
    )


def _transaction(row: PostingRow) -> TransactionAnswer:
    return TransactionAnswer(
        id=row.id,
        unit=row.unit,
        type=row.type,
        amount=row.amount,
        balance_after=row.balance_after,
        description=row.description,
        payment_id=row.payment_id,
        created_at=row.created_at,
    )


@router.get("/user/transactions", response_model=TransactionsAnswer, **described(acting=True))
async def list_transactions(
    request: Request, caller: User, asked: Annotated[TransactionsAsked, Query()]
) -> Response:
    """List movements of credits, newest first."""
    async with api_of(request).wiring.db.connection() as conn:
        if asked.unit is not None:
            await catalog.get_unit(conn, asked.unit)
        rows = await balances.list_postings(
            conn, caller.customer_id, unit=asked.unit, before=asked.before, limit=asked.limit + 1
        )
    shown, cursor = cut(rows, asked.limit)
    return answer(TransactionsAnswer(data=[_transaction(row) for row in shown], next_cursor=cursor))
