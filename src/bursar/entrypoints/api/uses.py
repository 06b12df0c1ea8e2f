"""Uses of credits over HTTP: taken once for each Idempotency-Key, and given back.

Using is a bare ASGI endpoint, as webhooks are: it is the busiest address of a shop's own app. It
keeps who may act for which customer for a few seconds, and nothing that an answer depends on.
"""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bursar import errors, failpoints
from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.billing import uses
from bursar.billing.uses import Outcome, Return, Use
from bursar.db import Connection
from bursar.entrypoints.api.answers import UseAnswer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import (
    KINDS,
    Caller,
    authenticate,
    find_id,
    required_key,
    user_caller,
)
from bursar.entrypoints.api.collector import Collector
from bursar.entrypoints.api.known_callers import KnownCallers
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import ReverseRequest, UseRequest
from bursar.entrypoints.api.state import api_of
from bursar.wiring import Wiring

ROUTE = "/api/credits/use"

router = APIRouter(tags=["credits"])


class UseCredits:
    """The endpoint: uses that come at the same time share a transaction."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._callers = KnownCallers(wiring)
        self._units = uses.KnownUnits(wiring.db)
        self._body = body_of(UseRequest)
        self._collector: Collector[Use, Outcome] = Collector(self._use)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises errors.Error or Refusal, which the app answers."""
        scope["bursar.route"] = ROUTE
        request = Request(scope, receive)
        actor, customer_id = await self._callers.admit(request)
        key = await required_key(request)
        body = await self._body(request)
        unit = await self._units.get(body.unit)
        asked = ledger_request(actor, customer_id, key, body, body.description)
        outcome = await self._collector.submit(Use(asked, unit, body.amount))
        await _answer(outcome)(scope, receive, send)

    async def _use(self, batch: list[Use]) -> list[Outcome]:
        async def work(conn: Connection) -> list[Outcome]:
            refuse_owing = self._wiring.settings.block_use_while_owing
            return await uses.use(
                conn, batch, at=self._wiring.clock.now(), refuse_owing=refuse_owing
            )

        outcomes = await self._wiring.db.run(work)
        failpoints.reach("credits.after_commit")
        return outcomes


def ledger_request(
    actor: Actor,
    customer_id: int,
    key: str,
    body: BaseModel,
    description: str | None,
    *about: bytes,
) -> uses.Request:
    """The request as the ledger will remember it; the hash is of what was sent, defaults apart."""
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    return uses.Request(
        customer_id=customer_id,
        principal=actor.principal,
        key=key,
        request_hash=idempotency.hash_request(said, *about),
        description=description,
    )


def _answer(outcome: Outcome) -> Response:
    if isinstance(outcome, errors.Error):
        raise outcome
    headers = {"Idempotent-Replayed": "true"} if outcome.repeated else None
    told = UseAnswer(transaction_id=outcome.transaction_id, balance=outcome.balance)
    return answer(told, headers=headers)


async def service_caller(request: Request) -> Caller:
    """A dependency: the user for whom a service asks; a user's own key is not enough."""
    actor = await authenticate(request)
    actor.require("service")
    return await user_caller(request)


KINDS[service_caller] = ("service",)


@router.post(
    "/api/credits/uses/{transaction_id}/reverse",
    response_model=UseAnswer,
    **described(body=ReverseRequest, acting=True, key_required=True, refusals=(404,)),
)
async def reverse_use(
    request: Request,
    transaction_id: str,
    caller: Annotated[Caller, Depends(service_caller)],
    key: Annotated[str, Depends(required_key)],
    body: Annotated[ReverseRequest, Depends(body_of(ReverseRequest))],
) -> Response:
    """Give a use back, whole or in part, to where its credits came from."""
    used = find_id(transaction_id)
    if used is None:
        raise errors.NotFound("There is no such use of credits.")
    about = str(used).encode()
    asked = ledger_request(caller.actor, caller.customer_id, key, body, body.description, about)
    wiring = api_of(request).wiring

    async def work(conn: Connection) -> list[Outcome]:
        wanted = [Return(asked, used, body.amount)]
        return await uses.give_back(conn, wanted, by=caller.actor, at=wiring.clock.now())

    [outcome] = await wiring.db.run(work)
    return _answer(outcome)


def routes(wiring: Wiring) -> list[Route]:
    """The address where credits are used."""
    return [Route(ROUTE, UseCredits(wiring), methods=["POST"])]
