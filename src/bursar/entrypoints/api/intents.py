"""Payment intents over HTTP: what a card form of the host's own confirms in the browser.

Opened once for each Idempotency-Key. Client secrets pass through here and are kept nowhere: not in
the stored answer of a key either, which is why a replay asks the provider for the secret again.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

import orjson
import structlog
from fastapi import APIRouter, Depends
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.idempotency import Key
from bursar.billing import checkouts, intents, payments
from bursar.billing.orders import Order
from bursar.billing.payments import Payment, Status
from bursar.entrypoints import card_forms
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import Caller, idempotency_key, managing_caller
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import (
    Currency,
    Description,
    Metadata,
    Sent,
)
from bursar.entrypoints.api.state import api_of
from bursar.money import AMOUNT_MAX
from bursar.providers.port import Provider, ProviderName
from bursar.wiring import Wiring

log = structlog.get_logger("bursar.api")

router = APIRouter(tags=["checkout"])

INTENT_ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
MONTHS_MAX = 60

Buyer = Annotated[Caller, Depends(managing_caller)]


class IntentRequest(Sent):
    """What to pay: a plan for some months, a package, or an amount of one's own choice."""

    plan_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    months: Annotated[int, Field(ge=1, le=MONTHS_MAX)] | None = None
    package: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)] | None = Field(
        None,
        description="In minor units. With a plan the price that was shown, which is compared; "
        "alone a free top-up.",
    )
    currency: Currency | None = None
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _no_coupon(cls, said: Any) -> Any:
        if isinstance(said, dict) and "coupon" in said:
            raise PydanticCustomError(
                "coupon_not_taken",
                "A card form takes no coupon; a checkout session of a package does",
            )
        return said

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if self.plan_id is not None and self.package is not None:
            raise PydanticCustomError("one_of", "Send one of plan_id, package and amount")
        if (self.plan_id is None) != (self.months is None):
            raise PydanticCustomError("months_missing", "A plan is bought for a number of months")
        if self.plan_id is not None and self.amount is None:
            raise PydanticCustomError("amount_missing", "A plan needs the amount that was shown")
        if self.plan_id is None and self.package is None:
            if self.amount is None:
                raise PydanticCustomError("one_of", "Send one of plan_id, package and amount")
            if self.currency is None:
                raise PydanticCustomError("currency_missing", "An amount needs its currency")
        return self


class IntentMadeAnswer(Answer):
    """A payment that a browser confirms, without the secret by which it does."""

    payment_intent_id: str
    payment_id: int
    amount: int
    currency: str
    status: Status


class IntentAnswer(IntentMadeAnswer):
    """A payment that a browser confirms with `client_secret` and `publishable_key`."""

    client_secret: str
    publishable_key: str


@router.post(
    "/api/{provider:provider}/payment-intent",
    response_model=IntentAnswer,
    **described(body=IntentRequest, acting=True, idempotent=True, refusals=(409, 502, 504)),
)
async def open_intent(
    request: Request,
    provider: ProviderName,
    caller: Buyer,
    key: Annotated[str | None, Depends(idempotency_key)],
    body: Annotated[IntentRequest, Depends(body_of(IntentRequest))],
) -> Response:
    """Open a payment intent; the buyer's browser confirms it with the provider's own library."""
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    publishable_key = card_forms.require_publishable_key(wiring)
    order = _order(caller, body)
    subject = card_forms.subject_of(wiring, request)
    if key is None:
        await card_forms.count(wiring, subject)
        opened = await intents.open(wiring.db, adapter, order, clock=wiring.clock)
        return answer(_whole(opened.payment, opened.client_secret, publishable_key))
    route = f"POST /api/{provider}/payment-intent"
    scope = f"{caller.actor.principal} for {caller.customer_id}"
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    claimed = Key(scope, route, key, idempotency.hash_request(said))
    return await _open_once(wiring, adapter, order, claimed, subject)


async def _open_once(
    wiring: Wiring, adapter: Provider, order: Order, key: Key, subject: str
) -> Response:
    """Open under a client's key; the answer is kept without the secret, which is added here."""
    secrets: list[str] = []

    async def work(resume: str | None) -> IntentMadeAnswer:
        if resume is None:
            await card_forms.count(wiring, subject)
        opened = await intents.open(
            wiring.db, adapter, order, clock=wiring.clock, key=key, resume=resume
        )
        secrets.append(opened.client_secret)
        return _made(opened.payment)

    kept = await once(wiring.db, key, work)
    made = IntentMadeAnswer.model_validate_json(bytes(kept.body))
    secret = secrets[-1] if secrets else await adapter.fetch_client_secret(made.payment_intent_id)
    whole = IntentAnswer(
        **made.model_dump(),
        client_secret=secret,
        publishable_key=card_forms.require_publishable_key(wiring),
    )
    replayed = kept.headers.get("idempotent-replayed")
    return answer(whole, headers={"Idempotent-Replayed": replayed} if replayed else None)


def _order(caller: Caller, body: IntentRequest) -> Order:
    of_catalogue = body.plan_id is not None or body.package is not None
    return Order(
        customer_id=caller.customer_id,
        user=caller.user,
        plan=body.plan_id,
        months=body.months,
        package=body.package,
        amount_minor=None if of_catalogue else body.amount,
        shown_minor=body.amount if of_catalogue else None,
        currency=body.currency,
        description=body.description,
        metadata=body.metadata,
    )


def _made(payment: Payment) -> IntentMadeAnswer:
    return IntentMadeAnswer(
        payment_intent_id=payment.payment_intent_id or "",
        payment_id=payment.id,
        amount=payment.amount_minor,
        currency=payment.currency,
        status=payment.status,
    )


def _whole(payment: Payment, client_secret: str, publishable_key: str) -> IntentAnswer:
    return IntentAnswer(
        **_made(payment).model_dump(),
        client_secret=client_secret,
        publishable_key=publishable_key,
    )


@router.get(
    "/api/{provider:provider}/payment-intent/{payment_intent_id}",
    response_model=IntentAnswer,
    **described(acting=True, refusals=(404, 409, 502, 504)),
)
async def get_intent(
    request: Request, provider: ProviderName, payment_intent_id: str, caller: Buyer
) -> Response:
    """Ask how a payment intent stands; while it is open the provider is asked, too."""
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    publishable_key = card_forms.require_publishable_key(wiring)
    found = None
    if INTENT_ID.fullmatch(payment_intent_id):
        async with wiring.db.connection() as conn:
            found = await payments.find_by_intent(conn, provider, payment_intent_id)
    # Those of hosted checkouts are the provider's own page to confirm.
    if found is None or found.customer_id != caller.customer_id or found.kind != "intent":
        raise errors.NotFound("There is no such payment intent.")
    found = await checkouts.sync(wiring.db, adapter, found, clock=wiring.clock, rules=wiring.rules)
    secret = await intents.client_secret(adapter, found)
    return answer(_whole(found, secret, publishable_key))
