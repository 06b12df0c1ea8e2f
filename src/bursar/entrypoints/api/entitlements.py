"""Entitlements over HTTP: what a customer may do, using a limit up, and grants by hand."""

from __future__ import annotations

import re
from typing import Annotated, Self

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
from bursar.billing import customers, entitlement_grants, entitlements, grants
from bursar.billing.entitlement_grants import Given, Wanted
from bursar.billing.rights import Entitled, Right
from bursar.db import Connection
from bursar.entrypoints.api.answers import answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import (
    Caller,
    actor_of,
    find_id,
    idempotency_key,
    user_caller,
)
from bursar.entrypoints.api.entitlement_bodies import (
    CheckAnswer,
    ConsumeRequest,
    EntitlementAnswer,
    EntitlementRequest,
    EntitlementsAnswer,
    GivenAnswer,
    GivenListAnswer,
    HeldAnswer,
)
from bursar.entrypoints.api.once import once_here
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.paging import Page, cut
from bursar.entrypoints.api.requests import UserId
from bursar.entrypoints.api.state import api_of

router = APIRouter(tags=["entitlements"])

FEATURE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)

User = Annotated[Caller, Depends(user_caller)]
Admin = Annotated[Actor, Depends(actor_of("admin"))]
OptionalKey = Annotated[str | None, Depends(idempotency_key)]


class GivenAsked(Page):
    """The query of what a customer was given."""

    customer_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    user_id: UserId | None = Field(None, description="Instead: this user's own account.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.customer_id is None) == (self.user_id is None):
            raise PydanticCustomError("one_of", "Send exactly one of customer_id and user_id")
        return self


def _check_feature(text: str) -> None:
    if not FEATURE.fullmatch(text):
        raise errors.NotFound("No feature can have this name.")


def _entitlement(found: Entitled) -> EntitlementAnswer:
    return EntitlementAnswer(
        feature=found.feature,
        limit=found.limit,
        used=found.used,
        left=found.left,
        resets_at=found.resets_at,
    )


def _checked(found: Entitled) -> CheckAnswer:
    return CheckAnswer(**_entitlement(found).model_dump(), entitled=found.allowed)


@router.get("/api/entitlements", response_model=EntitlementsAnswer, **described(acting=True))
async def list_entitlements(request: Request, caller: User) -> Response:
    """List what the customer has now, by feature."""
    wiring = api_of(request).wiring
    now = wiring.clock.now()
    async with wiring.db.connection() as conn:
        found = await entitlements.list_for(conn, caller.customer_id, at=now)
        ends = await entitlements.list_ends(conn, caller.customer_id, found, at=now)
    data = [
        HeldAnswer(**_entitlement(each).model_dump(), ends_at=ends.get(each.feature))
        for each in found
    ]
    return answer(EntitlementsAnswer(data=data, next_cursor=None))


@router.get(
    "/api/entitlements/{feature}",
    response_model=CheckAnswer,
    **described(acting=True, refusals=(404,)),
)
async def check_entitlement(request: Request, feature: str, caller: User) -> Response:
    """Ask whether the customer may use a feature now, and how much of it is left."""
    _check_feature(feature)
    wiring = api_of(request).wiring
    found = await entitlements.check_known(
        wiring.db, wiring.tags, caller.customer_id, feature, at=wiring.clock.now()
    )
    return answer(_checked(found))


@router.post(
    "/api/entitlements/{feature}/consume",
    response_model=CheckAnswer,
    **described(body=ConsumeRequest, acting=True, idempotent=True, refusals=(404, 409)),
)
async def consume_entitlement(
    request: Request,
    feature: str,
    caller: User,
    key: OptionalKey,
    body: Annotated[ConsumeRequest, Depends(body_of(ConsumeRequest))],
) -> Response:
    """Use up a part of a limit, whole or not at all; what has no limit is not counted."""
    _check_feature(feature)
    wiring = api_of(request).wiring

    async def work(conn: Connection) -> CheckAnswer:
        at = wiring.clock.now()
        used = await entitlements.consume(conn, caller.customer_id, feature, body.amount, at=at)
        return _checked(used)

    # The customer is part of the scope, as it is for credits: a service acts for many.
    scope = f"{caller.actor.principal} for {caller.customer_id}"
    route = f"POST /api/entitlements/{feature}/consume"
    return await once_here(wiring.db, _claim(scope, route, key, body), work)


def _claim(
    scope: str, route: str, key: str | None, body: ConsumeRequest | EntitlementRequest
) -> Key | None:
    if key is None:
        return None
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    return Key(scope, route, key, idempotency.hash_request(said))


def _given(given: Given) -> GivenAnswer:
    return GivenAnswer(
        id=given.id,
        customer_id=given.customer_id,
        source_kind=given.source_kind,
        source=given.source,
        feature=given.right.feature,
        amount=given.right.amount,
        per=given.right.per,
        starts_at=given.starts_at,
        ends_at=given.ends_at,
    )


@router.post(
    "/api/admin/entitlements",
    response_model=GivenAnswer,
    **described(body=EntitlementRequest, idempotent=True, refusals=(404, 409)),
)
async def give_entitlement(
    request: Request,
    actor: Admin,
    key: OptionalKey,
    body: Annotated[EntitlementRequest, Depends(body_of(EntitlementRequest))],
) -> Response:
    """Give a customer a feature by hand, beside what plans and packs give."""
    wiring = api_of(request).wiring

    async def work(conn: Connection) -> GivenAnswer:
        customer_id = await grants.find_customer(
            conn, customer_id=body.customer_id, user_id=body.user_id
        )
        wanted = Wanted(
            customer_id=customer_id,
            right=Right(body.feature, body.amount, body.per),
            ends_at=body.ends_at,
            reason=body.reason,
            actor=actor,
        )
        return _given(await entitlement_grants.give(conn, wanted, at=wiring.clock.now()))

    claimed = _claim(actor.principal, "POST /api/admin/entitlements", key, body)
    made = await once_here(wiring.db, claimed, work)
    # Whoever asks this process next need not wait until it hears of its own change.
    wiring.tags.drop(entitlements.tag(orjson.loads(made.body)["customer_id"]))
    return made


@router.get(
    "/api/admin/entitlements",
    response_model=GivenListAnswer,
    **described(refusals=(404, 422)),
)
async def list_given(
    request: Request, actor: Admin, asked: Annotated[GivenAsked, Query()]
) -> Response:
    """List what a customer has and had, by source, newest first."""
    async with api_of(request).wiring.db.connection() as conn:
        customer_id = await _named_customer(conn, asked)
        rows = await entitlement_grants.list_given(
            conn, customer_id, before=asked.before, limit=asked.limit + 1
        )
    shown, cursor = cut(rows, asked.limit)
    return answer(GivenListAnswer(data=[_given(row) for row in shown], next_cursor=cursor))


async def _named_customer(conn: Connection, asked: GivenAsked) -> int:
    """Raises errors.NotFound."""
    if asked.user_id is not None:
        return await grants.find_customer(conn, user_id=asked.user_id)
    found = asked.customer_id or 0
    if await customers.find_customer(conn, found) is None:
        raise errors.NotFound("There is no such customer.")
    return found


@router.delete(
    "/api/admin/entitlements/{grant_id}",
    response_model=GivenAnswer,
    **described(refusals=(404,)),
)
async def take_entitlement(request: Request, grant_id: str, actor: Admin) -> Response:
    """End a grant that was given by hand; what a plan or a pack gives follows the money."""
    wiring = api_of(request).wiring
    found = find_id(grant_id)
    if found is None:
        raise errors.NotFound("There is no such grant.")

    async def work(conn: Connection) -> Given:
        return await entitlement_grants.take(conn, found, actor, at=wiring.clock.now())

    ended = await wiring.db.run(work)
    wiring.tags.drop(entitlements.tag(ended.customer_id))
    return answer(_given(ended))
