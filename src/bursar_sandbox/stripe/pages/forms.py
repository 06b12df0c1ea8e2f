"""Forms on the sandbox's own page: read, kept from strangers, answered with the way back.

Owns what all of them have in common. Never knows what a form is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar_sandbox.stripe.pages import hosted, rendering

Handler = Callable[[Request], Awaitable[Response]]


class Stranger(Exception):
    """A form that another site's page has sent."""


async def read(request: Request) -> dict[str, str]:
    """The fields of a form of ours. Raises Stranger for a form on a page of somebody else, and
    ValueError for one that is too large.
    """
    origin = request.headers.get("origin", "null")
    if origin != "null" and urlsplit(origin).netloc != request.headers.get("host"):
        raise Stranger
    fields = parse_qs((await hosted.read_body(request)).decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def guarded(handler: Handler) -> Handler:
    """The handler, with an answer for forms that can't be read."""

    async def guarded_handler(request: Request) -> Response:
        try:
            return await handler(request)
        except Stranger:
            return refused("This form came from another site.", status=403)
        except ValueError:
            return refused("That is larger than a form of this page can be.", status=413)

    return guarded_handler


def back(part: str) -> Response:
    """The way back to a part of the page."""
    return RedirectResponse(f"/_sandbox/#{part}", status_code=303)


def refused(message: str, *, status: int = 400) -> Response:
    """A page that says why nothing was done."""
    return rendering.page("refused.html", {"message": message}, status=status)
