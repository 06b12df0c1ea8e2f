"""Webhook endpoints of the shop's own apps over HTTP: made, listed, rotated, tried, deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing.events import TOPICS
from bursar.entrypoints import sending_webhooks
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, find_id, idempotency_key
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Line, Sent
from bursar.entrypoints.api.state import api_of
from bursar.messages import addresses, endpoints, outbox
from bursar.messages.addresses import URL_LENGTH_MAX
from bursar.messages.endpoints import OVERLAP, Endpoint
from bursar.messages.outbox import Event
from bursar.wiring import Wiring

router = APIRouter(tags=["admin"])

TEST = "endpoint.test"
PATH = "/api/admin/webhook-endpoints"

Admin = Annotated[Actor, Depends(actor_of("admin"))]
ClientKey = Annotated[str | None, Depends(idempotency_key)]


def _topic(text: str) -> str:
    if text not in (*TOPICS, *(f"{topic.partition('.')[0]}.*" for topic in TOPICS), "*"):
        raise PydanticCustomError("topic_unknown", "There is no such event; docs name them all")
    return text


class EndpointRequest(Sent):
    """Where events are sent, and which: a name, a family such as `payment.*`, or `*`."""

    url: Annotated[Line, Field(min_length=1, max_length=URL_LENGTH_MAX)]
    topics: Annotated[
        list[Annotated[str, Field(max_length=60), AfterValidator(_topic)]],
        Field(min_length=1, max_length=50),
    ]


class EndpointAnswer(Answer):
    """An endpoint. One that answered 410 is disabled, and gets nothing any more."""

    id: int
    url: str
    topics: list[str]
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


class EndpointMadeAnswer(EndpointAnswer):
    """An endpoint with the secret that signs what it gets: it is told here and never again."""

    secret: str


class EndpointsAnswer(Answer):
    """All endpoints, newest first."""

    data: list[EndpointAnswer]


class RotatedAnswer(Answer):
    """The new secret, told here and never again. The one before signs beside it until then."""

    id: int
    secret: str
    former_for_seconds: int


class TestedAnswer(Answer):
    """The test event that is on its way; the outbox says what becomes of it."""

    event_id: UUID
    message_id: int


@router.post(
    PATH,
    response_model=EndpointMadeAnswer,
    **described(body=EndpointRequest, idempotent=True, refusals=(409,)),
)
async def create_endpoint(
    request: Request,
    actor: Admin,
    key: ClientKey,
    body: Annotated[EndpointRequest, Depends(body_of(EndpointRequest))],
) -> Response:
    """Make an endpoint; events are written for it from now on.

    A repeat under one Idempotency-Key makes another endpoint: a stored answer would be a stored
    secret. Delete the one whose secret you don't have.
    """
    wiring = api_of(request).wiring
    await _check_address(wiring, body.url)
    async with wiring.db.transaction() as conn:
        made, secret = await endpoints.create(conn, body.url, body.topics, at=wiring.clock.now())
        detail = {"url": made.url, "topics": made.topics}
        subject = f"webhook_endpoint:{made.id}"
        await audit_log.record(
            conn, actor, "webhook_endpoint.created", subject=subject, detail=detail
        )
    return answer(EndpointMadeAnswer(**_endpoint(made).model_dump(), secret=secret))


@router.get(PATH, response_model=EndpointsAnswer, **described())
async def list_endpoints(request: Request, actor: Admin) -> Response:
    """List every endpoint; there are 50 at most."""
    async with api_of(request).wiring.db.connection() as conn:
        found = await endpoints.list_endpoints(conn)
    return answer(EndpointsAnswer(data=[_endpoint(one) for one in found]))


@router.delete(PATH + "/{endpoint_id}", response_model=EndpointAnswer, **described(refusals=(404,)))
async def delete_endpoint(request: Request, actor: Admin, endpoint_id: str) -> Response:
    """End an endpoint: what still waits for it is given up."""
    wiring, number = api_of(request).wiring, _number(endpoint_id)
    async with wiring.db.transaction() as conn:
        ended = await endpoints.get_endpoint(conn, number)
        await endpoints.delete(conn, number, at=wiring.clock.now())
        await audit_log.record(
            conn,
            actor,
            "webhook_endpoint.deleted",
            subject=f"webhook_endpoint:{number}",
            detail={"url": ended.url, "topics": ended.topics},
        )
    return answer(_endpoint(ended))


@router.post(
    PATH + "/{endpoint_id}/rotate",
    response_model=RotatedAnswer,
    **described(idempotent=True, refusals=(404, 422)),
)
async def rotate_secret(
    request: Request, actor: Admin, key: ClientKey, endpoint_id: str
) -> Response:
    """Give an endpoint a new secret; for a day everything is signed with both.

    A repeat under one Idempotency-Key makes another secret, as with a new endpoint.
    """
    wiring, number = api_of(request).wiring, _number(endpoint_id)
    async with wiring.db.transaction() as conn:
        secret = await endpoints.rotate(conn, number)
        await audit_log.record(
            conn, actor, "webhook_endpoint.rotated", subject=f"webhook_endpoint:{number}"
        )
    seconds = int(OVERLAP.total_seconds())
    return answer(RotatedAnswer(id=number, secret=secret, former_for_seconds=seconds))


@router.post(
    PATH + "/{endpoint_id}/test",
    response_model=TestedAnswer,
    **described(idempotent=True, refusals=(404, 409, 422)),
)
async def test_endpoint(
    request: Request, actor: Admin, key: ClientKey, endpoint_id: str
) -> Response:
    """Send an endpoint the event `endpoint.test`, which nobody else gets.

    An Idempotency-Key makes repeats the same event.
    """
    wiring, number = api_of(request).wiring, _number(endpoint_id)
    event = Event(TEST, f"{number}:{key or uuid4()}", None, {"endpoint_id": number})
    destination = endpoints.destination_of(number)
    async with wiring.db.transaction() as conn:
        found = await endpoints.get_endpoint(conn, number)
        if found.disabled_at is not None:
            raise errors.Conflict("This endpoint is disabled; make it anew.")
        await outbox.owe(conn, [(event, destination)], at=wiring.clock.now())
        message_id = await outbox.get_id(conn, event, destination)
    return answer(TestedAnswer(event_id=event.id, message_id=message_id))


async def _check_address(wiring: Wiring, url: str) -> None:
    """Raise errors.Invalid for an address to which nothing is sent."""
    policy = sending_webhooks.policy_of(wiring)
    try:
        await addresses.checked(addresses.read(url, policy), policy)
    except (addresses.Forbidden, addresses.Unresolved) as error:
        message = f"Nothing can be sent to this address: {error}"
        entry = {"field": "url", "code": "url_not_allowed", "message": message}
        raise errors.Invalid(f"url: {message}.", errors=[entry]) from error


def _number(text: str) -> int:
    found = find_id(text)
    if found is None:
        raise errors.NotFound("There is no such webhook endpoint.")
    return found


def _endpoint(endpoint: Endpoint) -> EndpointAnswer:
    return EndpointAnswer.model_validate(endpoint, from_attributes=True)
