"""Vouchers over HTTP: made, listed and ended by admins, redeemed by users."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Self

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import audit_log, idempotency, limits
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import catalog, customers, vouchers
from bursar.billing.vouchers import NewVoucher, Voucher
from bursar.db import Connection
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import (
    Caller,
    actor_of,
    find_id,
    idempotency_key,
    user_caller,
)
from bursar.entrypoints.api.once import once_here
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.requests import Credits, Description, Line, Sent, UnitName, UserId
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.api.times import Time
from bursar.wiring import Wiring

router = APIRouter(tags=["vouchers"])

LIMIT_SCOPE = "voucher"
CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{3,39}", re.ASCII)
CODE_LENGTH_MIN = 4

Admin = Annotated[Actor, Depends(actor_of("admin"))]
ClientKey = Annotated[str | None, Depends(idempotency_key)]


def _code(text: str) -> str:
    """A code as it is kept: upper case, with the dashes that were sent."""
    code = text.upper()
    if not CODE.fullmatch(code) or len(vouchers.read_code(code)) < CODE_LENGTH_MIN:
        raise PydanticCustomError(
            "code_invalid", "A code is 4 to 40 letters A to Z, digits and dashes, 4 without dashes"
        )
    return code


class VoucherRequest(Sent):
    """A voucher: `credits` for each user who redeems it, once each."""

    code: Annotated[str, Field(min_length=4, max_length=40), AfterValidator(_code)] | None = Field(
        None, description="Made for you when it is left out."
    )
    unit: UnitName | None = None
    credits: Credits
    uses_max: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="How many users can redeem it; without it, any number."
    )
    user_id: UserId | None = Field(None, description="Only this user can redeem it.")
    starts_at: Time | None = None
    ends_at: Time | None = None
    credits_days: Annotated[int, Field(ge=1, le=3660)] | None = Field(
        None, description="The credits end so many days after they were given."
    )
    description: Description | None = None

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise PydanticCustomError("ends_too_soon", "ends_at comes after starts_at")
        return self


class RedeemRequest(Sent):
    """The code as the user typed it: case, spaces and dashes don't matter."""

    code: Annotated[Line, Field(min_length=1, max_length=100)]


class VoucherAnswer(Answer):
    """A voucher as it stands; `uses` counts the users who redeemed it."""

    id: int
    code: str
    unit: str
    credits: int
    uses_max: int | None
    uses: int
    user_id: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    credits_days: int | None
    description: str | None
    active: bool
    created_at: datetime


class VouchersAnswer(Answer):
    """Vouchers, newest first."""

    data: list[VoucherAnswer]
    next_cursor: str | None


class RedeemedAnswer(Answer):
    """What the voucher gave; `balance` is what can be spent after it."""

    voucher_id: int
    unit: str
    credits: int
    expires_at: datetime | None = Field(description="When these credits end; null: never.")
    transaction_id: int
    balance: int


def _voucher(voucher: Voucher) -> VoucherAnswer:
    return VoucherAnswer.model_validate(voucher, from_attributes=True)


def _hash(body: Sent) -> bytes:
    return idempotency.hash_request(orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS))


@router.post(
    "/api/admin/vouchers",
    response_model=VoucherAnswer,
    **described(body=VoucherRequest, idempotent=True, refusals=(404, 409)),
)
async def create_voucher(
    request: Request,
    actor: Admin,
    key: ClientKey,
    body: Annotated[VoucherRequest, Depends(body_of(VoucherRequest))],
) -> Response:
    """Make a voucher, for everybody or for one user."""
    wiring = api_of(request).wiring
    at = wiring.clock.now()

    async def work(conn: Connection) -> VoucherAnswer:
        if body.user_id is not None and await customers.find_user(conn, body.user_id) is None:
            raise errors.NotFound("There is no such user.")
        if body.ends_at is not None and body.ends_at <= at:
            message = "The voucher would be over already; send a later time, or none"
            entry = {"field": "ends_at", "code": "time_passed", "message": message}
            raise errors.Invalid(f"ends_at: {message}.", errors=[entry])
        unit = (await catalog.get_unit(conn, body.unit)).name
        wanted = NewVoucher(**{**body.model_dump(), "unit": unit})
        made = await vouchers.create(conn, wanted, at=at)
        # Not the code: whoever reads the log could redeem it.
        detail = {"unit": unit, "credits": made.credits}
        subject = f"voucher:{made.id}"
        await audit_log.record(
            conn, actor, "voucher.created", subject=subject, reason=made.description, detail=detail
        )
        return _voucher(made)

    route = "POST /api/admin/vouchers"
    claimed = None if key is None else Key(actor.principal, route, key, _hash(body))
    return await once_here(wiring.db, claimed, work)


@router.get("/api/admin/vouchers", response_model=VouchersAnswer, **described(refusals=(422,)))
async def list_vouchers(
    request: Request, actor: Admin, asked: Annotated[Page, Query()]
) -> Response:
    """List vouchers, newest first, with those that were ended."""
    async with api_of(request).wiring.db.connection() as conn:
        rows = await vouchers.list_vouchers(conn, before=asked.before, limit=asked.limit + 1)
    shown, cursor = cut(rows, asked.limit)
    return answer(VouchersAnswer(data=[_voucher(row) for row in shown], next_cursor=cursor))


@router.delete(
    "/api/admin/vouchers/{voucher_id}", response_model=VoucherAnswer, **described(refusals=(404,))
)
async def end_voucher(request: Request, actor: Admin, voucher_id: str) -> Response:
    """End a voucher: nobody redeems it any more, and what it gave stays."""
    wanted = find_id(voucher_id)
    if wanted is None:
        raise errors.NotFound("There is no such voucher.")

    async def work(conn: Connection) -> VoucherAnswer:
        if await vouchers.end(conn, wanted):
            subject = f"voucher:{wanted}"
            await audit_log.record(conn, actor, "voucher.ended", subject=subject)
        return _voucher(await vouchers.get_voucher(conn, wanted))

    return answer(await api_of(request).wiring.db.run(work))


@router.post(
    "/api/vouchers/redeem",
    response_model=RedeemedAnswer,
    **described(body=RedeemRequest, acting=True, idempotent=True, refusals=(409,)),
)
async def redeem_voucher(
    request: Request,
    caller: Annotated[Caller, Depends(user_caller)],
    key: ClientKey,
    body: Annotated[RedeemRequest, Depends(body_of(RedeemRequest))],
) -> Response:
    """Turn a voucher's code into credits, once for each user."""
    wiring = api_of(request).wiring
    claimed = None
    if key is not None:
        principal = caller.actor.principal
        # Ids of users hold any sign, so a length stands before the one that another follows.
        scope = f"{len(principal)}:{principal}:{caller.customer_id}:{caller.user.id}"
        claimed = Key(scope, "POST /api/vouchers/redeem", key, _hash(body))
    await _count(wiring, caller, claimed)

    async def work(conn: Connection) -> RedeemedAnswer:
        return await _redeem(conn, caller, body.code, at=wiring.clock.now())

    return await once_here(wiring.db, claimed, work)


async def _count(wiring: Wiring, caller: Caller, key: Key | None) -> None:
    """Hold the user to the limit of tries, in a statement of its own that no refusal undoes.

    A repeat whose answer is kept tries nothing, so it does not count.
    """
    limit = wiring.settings.limit_voucher
    if limit is None:
        return
    async with wiring.db.connection() as conn:
        if key is None or await idempotency.find_answer(conn, key) is None:
            await limits.take(conn, LIMIT_SCOPE, caller.user.id, limit)


async def _redeem(conn: Connection, caller: Caller, code: str, *, at: datetime) -> RedeemedAnswer:
    got = await vouchers.redeem(
        conn, code, user_id=caller.user.id, customer_id=caller.customer_id, at=at
    )
    await audit_log.record(
        conn,
        caller.actor,
        "voucher.redeemed",
        subject=f"voucher:{got.voucher.id}",
        customer_id=caller.customer_id,
        detail={"user_id": caller.user.id, "transaction_id": got.transaction_id},
    )
    return RedeemedAnswer(
        voucher_id=got.voucher.id,
        unit=got.voucher.unit,
        credits=got.voucher.credits,
        expires_at=got.expires_at,
        transaction_id=got.transaction_id,
        balance=got.balance,
    )
