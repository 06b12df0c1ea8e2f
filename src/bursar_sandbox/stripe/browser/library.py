"""The browser library's files: the script a shop loads, and the frame in which a card is typed.

Owns their addresses and headers. They are files for a browser; nothing is charged here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_FILES = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted(_STATIC.iterdir())}
# The frame stands in the pages of shops, wherever those are.
_FRAME_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors http: https:"
)


async def script(request: Request) -> Response:
    """GET /v3/ and /stripe.js: the library."""
    return _file("library.js", {"cross-origin-resource-policy": "cross-origin"})


async def frame(request: Request) -> Response:
    """GET /v3/card: the page inside of a card element's frame."""
    return _file("card.html", {"content-security-policy": _FRAME_POLICY})


async def part(request: Request) -> Response:
    """GET /v3/static/{name}: the frame's script and style."""
    name: str = request.path_params["name"]
    if name not in _FILES or name.endswith(".html"):
        return Response("Not found", status_code=404, media_type="text/plain")
    return _file(name, {"cross-origin-resource-policy": "same-origin"})


def _file(name: str, headers: dict[str, str]) -> Response:
    content, media_type = _FILES[name]
    mark = hashlib.sha256(content).hexdigest()[:16]
    headers = {
        "cache-control": "no-cache",
        "etag": f'"{mark}"',
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        **headers,
    }
    return Response(content, headers=headers, media_type=media_type)


routes = [
    Route("/v3/", script, methods=["GET"]),
    Route("/v3", script, methods=["GET"]),
    Route("/stripe.js", script, methods=["GET"]),
    Route("/v3/card", frame, methods=["GET"]),
    Route("/v3/static/{name}", part, methods=["GET"]),
]
