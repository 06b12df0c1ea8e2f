"""A customer's saved cards over HTTP. Another's look the same as none."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from bursar.access import idempotency
from bursar.access.idempotency import Key
from bursar.billing import saved_cards
from bursar.billing.saved_cards import SavedCard
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.callers import Caller, idempotency_key, managing_caller
from bursar.entrypoints.api.once import once
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.state import api_of

router = APIRouter(tags=["payments"])

Payer = Annotated[Caller, Depends(managing_caller)]


class CardAnswer(Answer):
    """A saved card."""

    id: str
    provider: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    default: bool = Field(description="Whether it is charged unless another is named.")


class CardsAnswer(Answer):
    """A customer's saved cards, newest first."""

    data: list[CardAnswer]
    next_cursor: None = Field(description="They are answered whole.")


@router.get(
    "/api/payment-methods",
    response_model=CardsAnswer,
    **described(acting=True, refusals=(409, 502, 504)),
)
async def list_cards(request: Request, caller: Payer) -> Response:
    """List saved cards."""
    wiring = api_of(request).wiring
    found = await saved_cards.list_cards(wiring.db, wiring.providers, caller.customer_id)
    return answer(CardsAnswer(data=[_card(saved) for saved in found], next_cursor=None))


@router.get(
    "/api/payment-methods/{card_id}",
    response_model=CardAnswer,
    **described(acting=True, refusals=(409, 502, 504)),
)
async def get_card(request: Request, card_id: str, caller: Payer) -> Response:
    """Show one saved card."""
    wiring = api_of(request).wiring
    return answer(
        _card(await saved_cards.get_card(wiring.db, wiring.providers, caller.customer_id, card_id))
    )


@router.delete(
    "/api/payment-methods/{card_id}",
    response_model=CardAnswer,
    **described(acting=True, refusals=(409, 502, 504)),
)
async def remove_card(request: Request, card_id: str, caller: Payer) -> Response:
    """Forget a saved card; answers the card that is gone."""
    wiring = api_of(request).wiring
    gone = await saved_cards.remove(
        wiring.db, wiring.providers, caller.customer_id, card_id, caller.actor
    )
    return answer(_card(gone))


@router.post(
    "/api/payment-methods/{card_id}/default",
    response_model=CardAnswer,
    **described(acting=True, idempotent=True, refusals=(400, 409, 502, 504)),
)
async def make_default(
    request: Request,
    card_id: str,
    caller: Payer,
    key: Annotated[str | None, Depends(idempotency_key)],
) -> Response:
    """Have a saved card be the one that is charged unless another is named."""
    wiring = api_of(request).wiring

    async def work(_: str | None = None) -> CardAnswer:
        chosen = await saved_cards.make_default(
            wiring.db, wiring.providers, caller.customer_id, card_id, caller.actor
        )
        return _card(chosen)

    if key is None:
        return answer(await work())
    scope = f"{caller.actor.principal} for {caller.customer_id}"
    route = f"POST /api/payment-methods/{card_id[:100]}/default"
    claimed = Key(scope, route, key, idempotency.hash_request(card_id.encode()))
    return await once(wiring.db, claimed, work)


def _card(saved: SavedCard) -> CardAnswer:
    card = saved.card
    return CardAnswer(
        id=card.id,
        provider=saved.provider,
        brand=card.brand,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        default=card.default,
    )
