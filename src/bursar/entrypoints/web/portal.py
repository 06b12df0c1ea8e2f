"""The way from our pages to the provider's portal: a form's post, and a redirect.

Owns the form at `/api/{provider}/portal`; programs that call there with a key are the API's.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.billing import portal
from bursar.entrypoints.web import forms, visitors
from bursar.entrypoints.web.pages import Site


async def leave(site: Site, request: Request) -> Response:
    """POST /api/{provider}/portal: to the provider's page, or to the prices for who bought none.

    The way back is a path of ours, in the field `return_path`.
    """
    wiring = site.wiring
    fields = await forms.read(request)
    provider = wiring.provider(request.path_params["provider"])
    async with wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
    back = site.own_url + forms.local_path(fields.get("return_path"), "/account")
    try:
        where = await portal.open(wiring.db, provider, visitor.user.customer_id, return_url=back)
    except errors.NoCustomer:
        where = "/pricing"
    return RedirectResponse(where, 303, {"cache-control": "no-store"})
