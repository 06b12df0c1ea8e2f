"""Turns a template and its values into an answer that a browser may show.

Owns the template environment, the static files and the security headers of every page. It
knows nothing about cards or sessions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

_HERE = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Content types are named here: the system's own table gives scripts a wrong one on some machines.
_FILES = {
    path.name: (path.read_bytes(), _TYPES[path.suffix])
    for path in sorted((_HERE / "static").iterdir())
    if path.suffix in _TYPES
}
_HOST = re.compile(r"[a-z0-9.-]+", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)


def static_url(name: str) -> str:
    """The address of a static file, with a mark of its content so that a new one is fetched."""
    mark = hashlib.sha256(_FILES[name][0]).hexdigest()[:12]
    return f"/_sandbox/static/{name}?v={mark}"


_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["static_url"] = static_url


async def static_file(request: Request) -> Response:
    """GET /_sandbox/static/{name}: a style, script or picture of the pages."""
    name: str = request.path_params["name"]
    if name not in _FILES:
        return Response("Not found", status_code=404, media_type="text/plain")
    content, media_type = _FILES[name]
    headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)


def page(
    template: str,
    values: dict[str, object],
    *,
    status: int = 200,
    ways_out: Iterable[str] = (),
    framed: bool = False,
) -> Response:
    """A page under our policy; `ways_out` are the URLs its form may end at after a redirect.

    `framed`: it may stand in a frame of a shop's page.
    """
    html = _TEMPLATES.get_template(template).render(values)
    headers = {
        "content-security-policy": _policy(ways_out, framed=framed),
        "cache-control": "no-store",
        "referrer-policy": "strict-origin-when-cross-origin",
        "x-content-type-options": "nosniff",
    }
    return Response(html, status_code=status, media_type="text/html", headers=headers)


def _policy(ways_out: Iterable[str], *, framed: bool) -> str:
    """The form's redirect leads to the shop, and browsers hold it to `form-action` as well."""
    targets = " ".join(dict.fromkeys(["'self'", *filter(None, map(_source, ways_out))]))
    around = "http: https:" if framed else "'none'"
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        f"form-action {targets}; base-uri 'none'; frame-ancestors {around}"
    )


def _source(url: str) -> str:
    """A URL as a source of the policy: its origin, or the scheme alone for an app's own one.

    Whatever is not plainly a host is left out, so that no URL can write into the header.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or ""), parts.port
    except ValueError:
        return ""
    if parts.scheme in {"http", "https"}:
        where = host + (f":{port}" if port else "")
        return f"{parts.scheme}://{where}" if _HOST.fullmatch(host) else ""
    return f"{parts.scheme}:" if _SCHEME.fullmatch(parts.scheme) else ""
