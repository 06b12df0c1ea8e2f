"""The address of a payment link: leads each buyer to a payment page of their own.

Owns the route under /b/. What a visit opens, `link_visits` decides.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.stripe import link_visits
from bursar_sandbox.stripe.link_visits import Closed
from bursar_sandbox.stripe.pages import rendering


async def show(request: Request) -> Response:
    """GET /b/{link_id}: 303 to a payment page, or why nothing is sold here."""
    store = request.app.state.store
    base_url = str(request.base_url).rstrip("/")
    with store.transaction(base_url=base_url) as tx:
        found = link_visits.visit(
            tx, request.path_params["link_id"], dict(request.query_params.items())
        )
    if isinstance(found, Closed):
        values: dict[str, object] = {"message": found.message, "known": found.known}
        return rendering.page("link_closed.html", values, status=410 if found.known else 404)
    return RedirectResponse(
        f"/c/pay/{found['id']}", status_code=303, headers={"cache-control": "no-store"}
    )


routes = [Route("/b/{link_id}", show, methods=["GET"])]
