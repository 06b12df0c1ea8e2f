"""Errors as pages: what happened, what it means for the money, what to do, and the request's id.

Owns the table that turns a family of errors into a status and its words. It never shows an
unforeseen error's own words, nor those that name hosts and settings.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.entrypoints.transport import IN_CLEAR
from bursar.entrypoints.web import pages, visitors
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor

log = structlog.get_logger("bursar.web")

RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in words. `says_detail`: the error's own sentence is fit for a buyer."""

    status: int
    heading: str
    sentence: str
    says_detail: bool = False


_OURS = "Something went wrong on our side. Nothing was charged by this page. Try again in a moment."

FAMILIES: Mapping[type[errors.Error], Problem] = {
    errors.NotFound: Problem(
        404, "There is nothing here", "The address is wrong, or it belongs to another account."
    ),
    errors.Conflict: Problem(
        409, "This can't be done now", "Nothing was charged.", says_detail=True
    ),
    errors.Invalid: Problem(
        422, "This can't be used as it is", "Nothing was charged.", says_detail=True
    ),
    errors.UnknownItem: Problem(
        422, "This is not on sale", "Nothing was charged.", says_detail=True
    ),
    errors.Denied: Problem(403, "This is not allowed", "Nothing was changed.", says_detail=True),
    errors.Unauthenticated: Problem(401, "Sign in first", "Open the sign-in link from the app."),
    errors.NotAuthentic: Problem(400, "This can't be trusted", "Nothing was changed."),
    errors.Throttled: Problem(429, "Too many attempts", "Nothing was charged.", says_detail=True),
    errors.InsufficientCredits: Problem(
        402, "Not enough credits", "Nothing was used.", says_detail=True
    ),
    errors.Unavailable: Problem(
        503,
        "We are not available for the moment",
        "Nothing was lost and nothing was charged by this page. Try again in a moment.",
    ),
    errors.Misconfigured: Problem(500, "Something went wrong", _OURS),
    errors.ProviderUnavailable: Problem(
        503,
        "We could not reach the payment provider",
        "You were not charged. Try again in a moment.",
    ),
    errors.ProviderRejected: Problem(
        502,
        "The payment provider refused this order",
        "You were not charged. Choose again, or ask us with the request id below.",
    ),
    errors.ProviderUnknown: Problem(
        504,
        "The payment provider did not answer in time",
        "You were not charged: no payment was begun. Try again in a moment.",
    ),
}
UNFORESEEN = Problem(500, "Something went wrong", _OURS)
PLAIN: Mapping[int, Problem] = {
    404: FAMILIES[errors.NotFound],
    405: Problem(405, "This page can't do that", "Nothing was changed. Open it from its link."),
    413: Problem(413, "This form is too long", "Nothing was charged. Go back and send less."),
    415: Problem(415, "This form can't be read", "Nothing was charged. Open the page again."),
}


def problem_of(error: errors.Error) -> Problem:
    """The words and status of an error's family."""
    for family in type(error).__mro__:
        if family in FAMILIES:
            return FAMILIES[family]
    return UNFORESEEN


def sign_in_first(request: Request) -> Response:
    """To the sign-in page, and back here afterwards when the page can be asked for again."""
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method not in ("GET", "HEAD"):
        # A form can't be sent again by a link: back to the page where it stood.
        path = request.url.path
        there = next((p for p in ("/account", "/admin") if path.startswith(p)), "/pricing")
    query = {"next": there}
    return RedirectResponse(f"/sign-in?{urlencode(query)}", 303, {"cache-control": "no-store"})


async def seen(site: Site, request: Request, error: errors.Error | None = None) -> Visitor | None:
    """Who is to see a refusal, so that its page looks signed in to who is.

    None where something of ours failed: the database may be it. Whatever goes wrong in looking
    must not hide the refusal.
    """
    if error is not None and problem_of(error).status >= 500:
        return None
    if visitors.SESSION_COOKIE not in request.cookies or request.scope.get(IN_CLEAR):
        return None
    try:
        async with site.wiring.db.connection() as conn:
            return await visitors.find(conn, request)
    except Exception:
        log.warning(
            "visitor not found out",
            request_id=request_id_of(request),
            traceback=traceback.format_exc(),
        )
        return None


def failed(
    site: Site, request: Request, error: errors.Error, visitor: Visitor | None = None
) -> Response:
    """The page for an error of ours."""
    if isinstance(error, errors.Unauthenticated):
        return sign_in_first(request)
    problem = problem_of(error)
    if problem.status >= 500:
        log.warning(
            "failed", code=error.code, detail=error.detail, request_id=request_id_of(request)
        )
    detail = error.detail if problem.says_detail else ""
    response = show(site, request, problem, detail, visitor=visitor)
    if isinstance(error, errors.Throttled):
        response.headers["retry-after"] = str(error.retry_after_seconds)
    elif problem.status == 503:
        response.headers["retry-after"] = str(RETRY_SECONDS)
    return response


def refused(
    site: Site,
    request: Request,
    status: int,
    headers: Mapping[str, str] | None = None,
    *,
    visitor: Visitor | None = None,
) -> Response:
    """The page for what HTTP's own rules refuse."""
    problem = PLAIN.get(status) or Problem(status, "This can't be done", "Nothing was changed.")
    response = show(site, request, problem, visitor=visitor)
    response.headers.update(headers or {})
    return response


def crashed(site: Site, request: Request) -> Response:
    """The page for an error that nobody foresaw; it is logged with its traceback."""
    # The trace as text: a renderer that prints frames would print keys and payloads.
    trace = traceback.format_exc()
    log.error("crashed", request_id=request_id_of(request), trace=trace)
    return show(site, request, UNFORESEEN)


def show(
    site: Site,
    request: Request,
    problem: Problem,
    detail: str = "",
    *,
    visitor: Visitor | None = None,
) -> Response:
    """A problem as a page. It asks nothing of the database, which may be what failed."""
    values: dict[str, object] = {
        "problem": problem,
        "detail": detail,
        "request_id": request_id_of(request),
        # A page that was asked for can be asked for again; a form goes back to the prices.
        "again": problem.status >= 500 and request.method in ("GET", "HEAD"),
    }
    status = problem.status
    return pages.render(site, request, "problem.html", values, visitor=visitor, status=status)


def request_id_of(request: Request) -> str:
    """The request's id: the server's, or one made here when no middleware gave one."""
    request_id = request.scope.setdefault("bursar.request_id", f"req_{uuid4().hex}")
    return str(request_id)
