"""Payment links over HTTP: an admin asks for the address at which one thing is sold to anybody."""

from __future__ import annotations

from typing import Annotated, Self

import orjson
from fastapi import APIRouter, Depends
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import idempotency
from bursar.access.actors import Actor
from bursar.access.idempotency import Key
from bursar.billing import links
from bursar.billing.links import Wanted
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import actor_of, idempotency_key
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Currency, Sent
from bursar.entrypoints.api.state import api_of
from bursar.providers.port import ProviderName

router = APIRouter(tags=["payments"])


class LinkRequest(Sent):
    """What to sell: exactly one of `package`, `plan` and `price_id`."""

    package: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    plan: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    price_id: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="A provider's price id; it must be in the catalogue."
    )
    currency: Currency | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(x is not None for x in (self.package, self.plan, self.price_id)) != 1:
            raise PydanticCustomError("one_of", "Send exactly one of package, plan and price_id")
        return self


class LinkAnswer(Answer):
    """An address at which anybody buys; the same one while the price stands."""

    url: str
    price_id: str
    name: str
    amount: int = Field(description="In minor units of `currency`.")
    currency: str


@router.post(
    "/api/{provider:provider}/payment-link",
    response_model=LinkAnswer,
    **described(body=LinkRequest, idempotent=True, refusals=(404, 409, 502, 504)),
)
async def open_link(
    request: Request,
    provider: ProviderName,
    actor: Annotated[Actor, Depends(actor_of("admin"))],
    key: Annotated[str | None, Depends(idempotency_key)],
    body: Annotated[LinkRequest, Depends(body_of(LinkRequest))],
) -> Response:
    """Get the address at which a package is sold to anybody, guests included."""
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    if body.plan is not None:
        raise errors.UnknownItem("There is no such plan on sale.")
    wanted = Wanted(
        package=body.package, price_id=body.price_id, currency=body.currency, actor=actor
    )

    async def work(_: str | None = None) -> LinkAnswer:
        made = await links.open(wiring.db, adapter, wanted, clock=wiring.clock)
        return LinkAnswer(
            url=made.url,
            price_id=made.price_id,
            name=made.name,
            amount=made.amount_minor,
            currency=made.currency,
        )

    if key is None:
        return answer(await work())
    said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS)
    route = f"POST /api/{provider}/payment-link"
    claimed = Key(actor.principal, route, key, idempotency.hash_request(said))
    return await once(wiring.db, claimed, work)
