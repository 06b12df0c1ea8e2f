"""Orders under review over HTTP: listed by their end, captured whole or in part, or canceled."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import captures, order_review
from bursar.billing.captures import Wanted
from bursar.billing.order_decisions import Decision
from bursar.billing.order_review import Order, OrderState
from bursar.billing.payments import Status
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, find_id, idempotency_key
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Sent
from bursar.entrypoints.api.state import api_of
from bursar.money import AMOUNT_MAX
from bursar.providers.port import CancelReason

router = APIRouter(tags=["admin"])

Admin = Annotated[Actor, Depends(actor_of("admin"))]
ClientKey = Annotated[str | None, Depends(idempotency_key)]


class OrderCaptureRequest(Sent):
    """How much to take."""

    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)] | None = Field(
        None, description="In minor units; all that is held without it."
    )


class OrderCancelRequest(Sent):
    """Why the money is let go."""

    reason: CancelReason | None = None


class OrdersAsked(BaseModel):
    """The query of the list."""

    model_config = ConfigDict(extra="forbid")

    state: OrderState = "authorized"
    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")

    @property
    def beyond(self) -> tuple[datetime, int] | None:
        """The place beyond which this page begins. Raises errors.Invalid for a made-up cursor."""
        if self.cursor is None:
            return None
        place = _read_cursor(self.cursor)
        if place is None:
            message = "This is no cursor of ours; send next_cursor of the page before, or none"
            entry = {"field": "cursor", "code": "cursor_invalid", "message": message}
            raise errors.Invalid(f"cursor: {message}.", errors=[entry])
        return place


class DecisionAnswer(Answer):
    """What somebody decided about an order, and what became of it."""

    id: int
    kind: Literal["capture", "cancel"]
    amount: int | None
    state: Literal["pending", "unknown", "done", "refused"]
    reason: str | None
    requested_by: str
    created_at: datetime


class OrderAnswer(Answer):
    """An order whose money is held, or was; amounts in minor units of `currency`."""

    payment_id: int
    status: Status
    user_id: str | None
    customer_id: int
    first_order: bool
    disputes: int = Field(description="How many this customer ever opened.")
    name: str | None = Field(description="What was ordered.")
    description: str | None
    amount: int = Field(description="What was asked.")
    authorized: int | None = Field(description="What the bank holds, or held.")
    authorized_until: datetime
    captured: int
    currency: str
    credits: int = Field(description="What the whole brings; a part brings its share.")
    unit: str | None
    provider: str
    payment_intent_id: str | None
    created_at: datetime
    decision: DecisionAnswer | None = Field(description="The newest one.")


class OrdersAnswer(Answer):
    """Orders: those that wait by the time left, the nearest end first; the others latest first."""

    data: list[OrderAnswer]
    next_cursor: str | None


@router.get("/api/admin/orders", response_model=OrdersAnswer, **described(refusals=(422,)))
async def list_orders(
    request: Request, actor: Admin, asked: Annotated[OrdersAsked, Query()]
) -> Response:
    """List orders whose money is held for a capture by hand, or was."""
    beyond = asked.beyond
    async with api_of(request).wiring.db.connection() as conn:
        found = await order_review.list_orders(
            conn, asked.state, beyond=beyond, limit=asked.limit + 1
        )
    shown = found[: asked.limit]
    cursor = make_cursor(*shown[-1].place) if len(found) > asked.limit else None
    return answer(OrdersAnswer(data=[_order(order) for order in shown], next_cursor=cursor))


@router.get(
    "/api/admin/orders/{payment_id}", response_model=OrderAnswer, **described(refusals=(404,))
)
async def get_order(request: Request, payment_id: str, actor: Admin) -> Response:
    """Show one order."""
    async with api_of(request).wiring.db.connection() as conn:
        return answer(_order(await order_review.get_order(conn, _number(payment_id))))


@router.post(
    "/api/admin/orders/{payment_id}/capture",
    response_model=OrderAnswer,
    **described(body=OrderCaptureRequest, idempotent=True, refusals=(404, 409, 502, 504)),
)
async def capture_order(
    request: Request,
    payment_id: str,
    actor: Admin,
    key: ClientKey,
    body: Annotated[OrderCaptureRequest, Depends(body_of(OrderCaptureRequest))],
) -> Response:
    """Take the money that is held, or a part of it: the rest is let go, and never refunded."""
    wanted = Wanted(
        payment_id=_number(payment_id),
        kind="capture",
        amount_minor=body.amount,
        requested_by=actor.principal,
        actor=actor,
        rules=api_of(request).wiring.rules,
    )
    return await _decide(request, wanted, key, body)


@router.post(
    "/api/admin/orders/{payment_id}/cancel",
    response_model=OrderAnswer,
    **described(body=OrderCancelRequest, idempotent=True, refusals=(404, 409, 502, 504)),
)
async def cancel_order(
    request: Request,
    payment_id: str,
    actor: Admin,
    key: ClientKey,
    body: Annotated[OrderCancelRequest, Depends(body_of(OrderCancelRequest))],
) -> Response:
    """Let the money go that is held: nothing is charged."""
    wanted = Wanted(
        payment_id=_number(payment_id),
        kind="cancel",
        reason=body.reason,
        requested_by=actor.principal,
        actor=actor,
        rules=api_of(request).wiring.rules,
    )
    return await _decide(request, wanted, key, body)


async def _decide(request: Request, wanted: Wanted, key: str | None, body: BaseModel) -> Response:
    wiring = api_of(request).wiring
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    route = f"POST /api/admin/orders/{wanted.payment_id}/{wanted.kind}"
    claimed = key and Key(wanted.actor.principal, route, key, idempotency.hash_request(said))

    async def work(resume: str | None) -> OrderAnswer:
        await captures.decide(
            wiring.db,
            wiring.providers,
            wanted,
            clock=wiring.clock,
            key=claimed or None,
            resume=resume,
        )
        async with wiring.db.connection() as conn:
            return _order(await order_review.get_order(conn, wanted.payment_id))

    if not claimed:
        return answer(await work(None))
    return await once(wiring.db, claimed, work)


def _number(text: str) -> int:
    found = find_id(text)
    if found is None:
        raise errors.NotFound("There is no such payment.")
    return found


def make_cursor(until: datetime, payment_id: int) -> str:
    """The cursor of a page that goes on beyond this place."""
    text = f"{until.astimezone(UTC).isoformat()}~{payment_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, int] | None:
    try:
        # Padding is left off, since it needs escaping in an address.
        text = base64.b64decode(cursor + "==", altchars=b"-_", validate=True).decode()
        when, _, number = text.partition("~")
        until, payment_id = datetime.fromisoformat(when), find_id(number)
    except (binascii.Error, ValueError):
        return None
    if payment_id is None or until.tzinfo is None or make_cursor(until, payment_id) != cursor:
        return None
    return until, payment_id


def _order(order: Order) -> OrderAnswer:
    payment = order.payment
    return OrderAnswer(
        payment_id=payment.id,
        status=payment.status,
        user_id=payment.user_id,
        customer_id=payment.customer_id,
        first_order=order.first_order,
        disputes=order.disputes,
        name=payment.snapshot.get("name"),
        description=payment.description,
        amount=payment.amount_minor,
        authorized=payment.authorized_minor,
        authorized_until=order.place[0],
        captured=payment.captured_minor,
        currency=payment.currency,
        credits=payment.credits,
        unit=payment.unit,
        provider=payment.provider,
        payment_intent_id=payment.payment_intent_id,
        created_at=payment.created_at,
        decision=_decision(order.decision) if order.decision else None,
    )


def _decision(decision: Decision) -> DecisionAnswer:
    return DecisionAnswer(
        id=decision.id,
        kind=decision.kind,
        amount=decision.amount_minor,
        state=decision.state,
        reason=decision.reason,
        requested_by=decision.requested_by,
        created_at=decision.created_at,
    )
