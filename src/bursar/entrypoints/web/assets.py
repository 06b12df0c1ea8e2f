"""The files that pages load: style, script, icon, logo, and the theme made from the settings.

Owns their addresses, which carry a hash of the content, and their answers. Everything is read
once, at start, so that a bad logo or colour is found then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.config import Settings
from bursar.entrypoints.web import theme

_STATIC = Path(__file__).parent / "static"
# Content types are named here: the system's own table gives scripts a wrong one on some machines.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
LOGO_BYTES_MAX = 200_000
# An SVG opened by itself is a document: it may draw, and nothing else. Other files may nothing.
_DRAWING = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

FAVICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">\
<rect x="1" y="1" width="18" height="18" rx="4" fill="{fill}"/>\
<path d="M5.5 6.5h9M5.5 10h9M5.5 13.5h5" stroke="{label}" stroke-width="1.6"/></svg>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served."""

    url: str
    body: bytes
    media_type: str
    mark: str


@dataclass(frozen=True, slots=True)
class Assets:
    """All files by path, and the addresses that templates need."""

    by_path: dict[str, Asset]
    stylesheet: str
    admin: str
    theme: str
    script: str
    card_style: str
    card_script: str
    icon: str
    logo: str | None

    async def serve(self, request: Request) -> Response:
        """GET a file. One asked for by its present hash is kept for a year."""
        asset = self.by_path[request.url.path]
        fresh = request.query_params.get("v") == asset.mark
        headers = {
            "cache-control": "public, max-age=31536000, immutable" if fresh else "no-cache",
        }
        if asset.media_type == _TYPES[".svg"]:
            headers["content-security-policy"] = _DRAWING
        return Response(asset.body, media_type=asset.media_type, headers=headers)


def _asset(path: str, body: bytes, suffix: str) -> Asset:
    mark = hashlib.sha256(body).hexdigest()[:12]
    return Asset(f"{path}?v={mark}", body, _TYPES[suffix], mark)


def _logo(path: Path) -> tuple[bytes, str]:
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise errors.Misconfigured(f"BURSAR_BRAND_LOGO is {path}; it must be an SVG or PNG file.")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise errors.Misconfigured(f"BURSAR_BRAND_LOGO can't be read: {error}.") from error
    if len(body) > LOGO_BYTES_MAX:
        raise errors.Misconfigured(
            f"BURSAR_BRAND_LOGO has {len(body)} bytes; at most {LOGO_BYTES_MAX} are served."
        )
    return body, suffix


def read(settings: Settings) -> Assets:
    """Read every file. Raises errors.Misconfigured for a logo or colour that can't be used."""
    light = theme.accent(settings.brand_accent, theme.LIGHT)
    icon = FAVICON.format(fill=light.fill, label=light.label)
    found = {
        "/static/pages.css": ((_STATIC / "pages.css").read_bytes(), ".css"),
        "/static/admin.css": ((_STATIC / "admin.css").read_bytes(), ".css"),
        "/static/pages.js": ((_STATIC / "pages.js").read_bytes(), ".js"),
        "/static/checkout.css": ((_STATIC / "checkout.css").read_bytes(), ".css"),
        "/static/checkout.js": ((_STATIC / "checkout.js").read_bytes(), ".js"),
        "/theme.css": (theme.stylesheet(settings.brand_accent).encode(), ".css"),
        "/favicon.svg": (icon.encode(), ".svg"),
    }
    if settings.brand_logo is not None:
        found["/brand/logo"] = _logo(settings.brand_logo)
    files = {path: _asset(path, body, suffix) for path, (body, suffix) in found.items()}
    logo = files.get("/brand/logo")
    return Assets(
        by_path=files,
        stylesheet=files["/static/pages.css"].url,
        admin=files["/static/admin.css"].url,
        theme=files["/theme.css"].url,
        script=files["/static/pages.js"].url,
        card_style=files["/static/checkout.css"].url,
        card_script=files["/static/checkout.js"].url,
        icon=files["/favicon.svg"].url,
        logo=logo.url if logo else None,
    )
