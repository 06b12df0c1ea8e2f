"""The provider's portal over HTTP: an address for a person who is a customer there.

A form that a signed-in browser posts to the same address is a page's business: it is left to the
pages, which stand behind.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from bursar import errors
from bursar.billing import portal
from bursar.entrypoints.api import redirects
from bursar.entrypoints.api.answers import Answer, answer
from bursar.entrypoints.api.bodies import body_of
from bursar.entrypoints.api.callers import Caller, idempotency_key, managing_caller
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.requests import Sent
from bursar.entrypoints.api.state import api_of
from bursar.providers.port import ProviderName

FORM_TYPE = b"application/x-www-form-urlencoded"


class ProgramsRoute(APIRoute):
    """A route for programs: forms of browsers, which bring cookies and no key, go on."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route does, but for those."""
        match, inner = super().matches(scope)
        if match is Match.FULL and _is_browsers_form(scope):
            return Match.NONE, {}
        return match, inner


def _is_browsers_form(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return (
        headers.get(b"content-type", b"").lower().startswith(FORM_TYPE)
        and b"cookie" in headers
        and b"authorization" not in headers
    )


router = APIRouter(tags=["subscriptions"], route_class=ProgramsRoute)


class PortalRequest(Sent):
    """Where the person comes back to."""

    return_url: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="On an allowed origin; by default the account page."
    )


class PortalAnswer(Answer):
    """An address for one visit, soon; send the person there."""

    url: str


@router.post(
    "/api/{provider:provider}/portal",
    response_model=PortalAnswer,
    **described(body=PortalRequest, acting=True, idempotent=True, refusals=(409, 502, 504)),
)
async def open_portal(
    request: Request,
    provider: ProviderName,
    caller: Annotated[Caller, Depends(managing_caller)],
    key: Annotated[str | None, Depends(idempotency_key)],
    body: Annotated[PortalRequest, Depends(body_of(PortalRequest))],
) -> Response:
    """Open the provider's page for cards, invoices and subscriptions.

    A repeat under one Idempotency-Key opens another: a stored address would be a stored way in.
    """
    wiring = api_of(request).wiring
    adapter = wiring.provider(provider)
    return_url = redirects.return_url(wiring.settings, body.return_url)
    try:
        url = await portal.open(wiring.db, adapter, caller.customer_id, return_url=return_url)
    except errors.NoCustomer as error:
        pricing_url = redirects.pricing_url(wiring.settings)
        raise errors.NoCustomer(error.detail, pricing_url=pricing_url) from error
    return answer(PortalAnswer(url=url))
