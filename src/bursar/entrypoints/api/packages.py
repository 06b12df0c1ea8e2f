"""What is on sale, for anyone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from bursar.billing import catalog
from bursar.billing.catalog import Pack
from bursar.entrypoints.api.answers import PackageAnswer, PackagesAnswer, answer
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Currency
from bursar.entrypoints.api.state import api_of
from bursar.entrypoints.currencies import locale_of, usual_currency
from bursar.money import format_money, price_per_credit
from bursar.providers.port import ProviderName

router = APIRouter(tags=["catalogue"])

OPEN: dict[str, Any] = described(signed_in=False, refusals=(422, 503))


class Asked(BaseModel):
    """The query of the price list."""

    model_config = ConfigDict(extra="forbid")

    currency: Currency | None = None


def _package(pack: Pack, locale: str) -> PackageAnswer:
    return PackageAnswer(
        id=pack.key,
        name=pack.name,
        unit=pack.unit,
        credits=pack.credits,
        amount=pack.amount_minor,
        currency=pack.currency,
        price_formatted=format_money(pack.amount_minor, pack.currency, locale=locale),
        per_credit=price_per_credit(
            pack.amount_minor, pack.currency, pack.credits, pack.unit_decimals
        ),
    )


async def _list(request: Request, provider: str, currency: str | None) -> Response:
    wiring = api_of(request).wiring
    usual, locale = usual_currency(request, wiring.settings), locale_of(request)
    async with wiring.db.connection() as conn:
        packs = await catalog.list_packs(conn, provider, currency=currency, usual=usual)
    return answer(PackagesAnswer(data=[_package(pack, locale) for pack in packs]))


@router.get("/api/credit-packages", response_model=PackagesAnswer, **OPEN)
async def list_packages(request: Request, asked: Annotated[Asked, Query()]) -> Response:
    """List the packs on sale at the provider that this deployment uses first."""
    provider = next(iter(api_of(request).wiring.providers), "")
    return await _list(request, provider, asked.currency)


@router.get(
    "/api/{provider:provider}/credit-packages",
    response_model=PackagesAnswer,
    **described(signed_in=False, refusals=(409, 422, 503)),
)
async def list_provider_packages(
    request: Request, provider: ProviderName, asked: Annotated[Asked, Query()]
) -> Response:
    """List the packs on sale at one provider."""
    adapter = api_of(request).wiring.provider(provider)
    return await _list(request, adapter.name, asked.currency)
