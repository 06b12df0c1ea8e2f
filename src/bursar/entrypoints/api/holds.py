"""Holds over HTTP: credits reserved, then settled for what the work took, or given back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors, failpoints
from bursar.billing import catalog, holds
from bursar.billing.holds import Capture, Captured, Opened, Release, Reserve, Standing
from bursar.db import Connection
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import Caller, find_id, required_key, user_caller
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Credits, Description, Sent, UnitName
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.api.uses import ledger_request

router = APIRouter(tags=["credits"])

User = Annotated[Caller, Depends(user_caller)]
RequiredKey = Annotated[str, Depends(required_key)]

DEFAULT_SECONDS = 3600


class HoldRequest(Sent):
    """What is reserved, and for how long at most."""

    amount: Credits
    unit: UnitName | None = None
    description: Description | None = None
    expires_in_seconds: int = Field(
        DEFAULT_SECONDS,
        ge=int(holds.SHORTEST.total_seconds()),
        le=int(holds.LONGEST.total_seconds()),
        description="After this time everything comes back by itself.",
    )


class CaptureRequest(Sent):
    """What of the hold was used; all of it, unless `amount` says less."""

    amount: Credits | None = None
    description: Description | None = None


class HoldAnswer(Answer):
    """A hold; `balance` is what can be spent beside it."""

    hold_id: int
    status: Literal["held", "settled", "released", "lapsed"]
    unit: str
    amount: int = Field(description="What was reserved, in the unit's smallest part.")
    captured: int
    balance: int
    expires_at: datetime


class CaptureAnswer(Answer):
    """A hold that was settled. `transaction_id` is its use, which can be given back like any."""

    hold_id: int
    status: Literal["settled"] = "settled"
    captured: int
    returned: int
    transaction_id: int
    balance: int


@router.post(
    "/api/credits/holds",
    response_model=HoldAnswer,
    **described(body=HoldRequest, acting=True, key_required=True, refusals=(402,)),
)
async def open_hold(
    request: Request,
    caller: User,
    key: RequiredKey,
    body: Annotated[HoldRequest, Depends(body_of(HoldRequest))],
) -> Response:
    """Reserve credits for work whose cost is not known yet."""
    wiring = api_of(request).wiring
    asked = ledger_request(caller.actor, caller.customer_id, key, body, body.description)
    lasting = timedelta(seconds=body.expires_in_seconds)

    async def work(conn: Connection) -> list[Opened | errors.Error]:
        unit = (await catalog.get_unit(conn, body.unit)).name
        return await holds.open(
            conn,
            [Reserve(asked, unit, body.amount, lasting)],
            at=wiring.clock.now(),
            refuse_owing=wiring.settings.block_use_while_owing,
        )

    [outcome] = await wiring.db.run(work)
    failpoints.reach("hold.after_commit")
    if isinstance(outcome, errors.Error):
        raise outcome
    told = HoldAnswer(
        hold_id=outcome.hold_id,
        status="held",
        unit=outcome.unit,
        amount=outcome.amount,
        captured=0,
        balance=outcome.balance,
        expires_at=outcome.expires_at,
    )
    return answer(told, headers=_replayed(outcome))


@router.post(
    "/api/credits/holds/{hold_id}/capture",
    response_model=CaptureAnswer,
    **described(body=CaptureRequest, acting=True, key_required=True, refusals=(409,)),
)
async def capture_hold(
    request: Request,
    hold_id: str,
    caller: User,
    key: RequiredKey,
    body: Annotated[CaptureRequest, Depends(body_of(CaptureRequest))],
) -> Response:
    """Settle a hold: use what the work took, and give the rest back."""
    wiring = api_of(request).wiring
    number = _number(hold_id)
    about = str(number).encode()
    asked = ledger_request(caller.actor, caller.customer_id, key, body, body.description, about)

    async def work(conn: Connection) -> list[Captured | errors.Error]:
        wanted = [Capture(asked, number, body.amount)]
        return await holds.capture(conn, wanted, at=wiring.clock.now())

    [outcome] = await wiring.db.run(work)
    failpoints.reach("hold.after_commit")
    if isinstance(outcome, errors.Error):
        raise outcome
    told = CaptureAnswer(
        hold_id=outcome.hold_id,
        captured=outcome.captured,
        returned=outcome.returned,
        transaction_id=outcome.transaction_id,
        balance=outcome.balance,
    )
    return answer(told, headers=_replayed(outcome))


@router.delete(
    "/api/credits/holds/{hold_id}",
    response_model=HoldAnswer,
    **described(acting=True, refusals=(404, 409)),
)
async def release_hold(request: Request, hold_id: str, caller: User) -> Response:
    """Give a hold back. A repeat does no harm, and gets the same answer."""
    wiring = api_of(request).wiring
    wanted = Release(caller.customer_id, caller.actor.principal, _number(hold_id))

    async def work(conn: Connection) -> list[Standing | errors.Error]:
        return await holds.release(conn, [wanted], at=wiring.clock.now())

    [outcome] = await wiring.db.run(work)
    if isinstance(outcome, errors.Error):
        raise outcome
    return answer(_standing(outcome))


@router.get(
    "/api/credits/holds/{hold_id}",
    response_model=HoldAnswer,
    **described(acting=True, refusals=(404,)),
)
async def get_hold(request: Request, hold_id: str, caller: User) -> Response:
    """How a hold stands, and what can be spent now."""
    wiring = api_of(request).wiring
    number = _number(hold_id)
    async with wiring.db.connection() as conn:
        found = await holds.get(conn, caller.customer_id, number, at=wiring.clock.now())
    return answer(_standing(found))


def _number(hold_id: str) -> int:
    number = find_id(hold_id)
    if number is None:
        raise errors.NotFound("There is no such hold.")
    return number


def _standing(found: Standing) -> HoldAnswer:
    hold = found.hold
    return HoldAnswer(
        hold_id=hold.id,
        status=hold.state,
        unit=hold.unit,
        amount=hold.amount,
        captured=hold.captured,
        balance=found.balance,
        expires_at=hold.expires_at,
    )


def _replayed(outcome: Opened | Captured) -> dict[str, str] | None:
    return {"Idempotent-Replayed": "true"} if outcome.repeated else None
