"""Signing in by link, signing out, and the choice of light or dark.

Owns `/sign-in`, `/sign-out` and `/scheme`. There is no password: the host app asks the API for a
link, which works once and for ten minutes.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.access import limits, sessions
from bursar.access.sessions import SignedIn
from bursar.db import Connection
from bursar.entrypoints import addresses
from bursar.entrypoints.web import forms, pages, visitors
from bursar.entrypoints.web.pages import Site

HOME = "/account"
NO_STORE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


async def show(site: Site, request: Request) -> Response:
    """GET /sign-in: with a token, sign in and go on; without one, say how one signs in.

    Whoever only looks ahead (a HEAD, a browser's prefetch) must not use the link up.
    """
    token = request.query_params.get("token", "")
    then = forms.local_path(request.query_params.get("next"), "")
    if request.headers.get("sec-purpose", "").startswith("prefetch"):
        return Response(status_code=503, headers=NO_STORE)
    if not token or request.method != "GET":
        async with site.wiring.db.connection() as conn:
            visitor = await visitors.find(conn, request)
        if visitor is not None and not token:
            return RedirectResponse(then or HOME, 303, NO_STORE)
        return pages.render(site, request, "sign_in.html", _asked(then), visitor=visitor)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.find(conn, request)
        whose = await sessions.whose_link(conn, token) if visitor else None
    if visitor is not None and whose not in (None, visitor.user.id):
        # A link that somebody sent must not turn this buyer into another unseen: what is bought
        # next would be the other's.
        asked = {**_asked(then), "change_to": whose, "token": token, "then": then}
        return pages.render(site, request, "sign_in.html", asked, visitor=visitor)
    return await _sign_in(site, request, token, then)


def _asked(then: str) -> dict[str, object]:
    """What the page is told: nothing wrong, nobody to change to, and whether an operator waits."""
    operator = then == "/admin" or then.startswith("/admin/")
    return {"wrong": False, "change_to": None, "operator": operator}


async def confirm(site: Site, request: Request) -> Response:
    """POST /sign-in: sign in as another user, after the person was asked."""
    fields = await forms.read(request)
    then = forms.local_path(fields.get("next"), "")
    return await _sign_in(site, request, fields.get("token", ""), then)


async def _sign_in(site: Site, request: Request, token: str, then: str) -> Response:
    try:
        signed_in = await _redeem(site, request, token)
    except errors.Unauthenticated:
        return pages.render(
            site,
            request,
            "sign_in.html",
            {**_asked(then), "wrong": True},
            visitor=None,
            status=401,
        )
    then = then or ("/admin" if signed_in.admin else HOME)
    response = RedirectResponse(then, 303, NO_STORE)
    visitors.begin_session(response, site.wiring.settings, signed_in.session_token)
    return response


async def _redeem(site: Site, request: Request, token: str) -> SignedIn:
    """Use the link up. Only failures count against the limit: they are what guessing looks like.

    Raises errors.Unauthenticated and errors.Throttled.
    """

    async def work(conn: Connection) -> SignedIn:
        old = request.cookies.get(visitors.SESSION_COOKIE)
        signed_in = await sessions.redeem(conn, token)
        if old:
            await sessions.end(conn, old)
        return signed_in

    try:
        return await site.wiring.db.run(work)
    except errors.Unauthenticated:
        settings = site.wiring.settings
        subject = addresses.subject(request.scope, addresses.networks(settings.trusted_proxies))
        async with site.wiring.db.connection() as conn:
            await limits.take(conn, "sign_in", subject, settings.limit_sign_in)
        raise


async def sign_out(site: Site, request: Request) -> Response:
    """POST /sign-out: end the session here and in the database."""
    token = request.cookies.get(visitors.SESSION_COOKIE)
    if token:
        async with site.wiring.db.transaction() as conn:
            await sessions.end(conn, token)
    response = RedirectResponse("/pricing", 303, NO_STORE)
    visitors.end_session(response, site.wiring.settings)
    return response


async def choose_scheme(site: Site, request: Request) -> Response:
    """POST /scheme: keep the choice of `light`, `dark` or `system`, and go back."""
    fields = await forms.read(request)
    scheme = fields.get("scheme", "")
    if scheme not in (*visitors.SCHEMES, "system"):
        raise errors.Invalid("Choose light, dark or system.")
    response = RedirectResponse(forms.local_path(fields.get("next"), "/"), 303, NO_STORE)
    visitors.choose_scheme(response, site.wiring.settings, None if scheme == "system" else scheme)
    return response
