"""Turns a template and its values into an answer that a browser may show.

Owns the template environment and the security headers of every page. Knows nothing of money: what
a page says comes in as words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from bursar.config import origin_of
from bursar.entrypoints.mounted import links_under
from bursar.entrypoints.web import assets
from bursar.entrypoints.web.assets import Assets
from bursar.entrypoints.web.figures import cut
from bursar.entrypoints.web.visitors import Visitor, scheme_of
from bursar.wiring import Wiring

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Site:
    """What every page needs: the inner rooms, the files, the templates."""

    wiring: Wiring
    assets: Assets
    templates: Environment

    @property
    def own_url(self) -> str:
        """This server's own address, without a slash at the end."""
        return self.wiring.settings.own_url


def open_site(wiring: Wiring) -> Site:
    """Read templates and files. Raises errors.Misconfigured for a bad logo or colour."""
    settings = wiring.settings
    files = assets.read(settings)
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(
        assets=files,
        shop_name=settings.shop_name,
        shop_short=cut(settings.shop_name),
        # Only `bursar demo` puts this file there, and takes it away when it ends.
        demo=lambda: settings.sandbox and (settings.home / "demo.json").exists(),
        test_mode=settings.mode != "live",
    )
    return Site(wiring, files, templates)


def render(
    site: Site,
    request: Request,
    template: str,
    values: dict[str, object],
    *,
    visitor: Visitor | None,
    status: int = 200,
    ways_out: Iterable[str] = (),
    card_form: Mapping[str, Iterable[str]] | None = None,
) -> Response:
    """A page under our policy; `ways_out` are the origins where its forms may end; `card_form`
    those that a page with the provider's card form needs, by directive.

    Whatever belongs to somebody is not kept by any cache.
    """
    html = site.templates.get_template(template).render(
        **values,
        path=request.url.path,
        scheme=scheme_of(request),
        visitor=visitor,
        here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
    )
    headers = {
        "content-security-policy": _policy(ways_out, card_form or {}),
        "cache-control": "no-store",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cross-origin-opener-policy": "same-origin",
    }
    html = links_under(site.wiring.settings.base_path, html)
    return Response(html, status_code=status, media_type="text/html", headers=headers)


def _policy(ways_out: Iterable[str], card_form: Mapping[str, Iterable[str]]) -> str:
    """The form's redirect leads to the provider, and browsers hold it to `form-action` as well."""
    targets = " ".join(dict.fromkeys(["'self'", *map(origin_of, ways_out)]))
    scripts, frames, calls = (
        " ".join(["'self'", *card_form.get(directive, ())])
        for directive in ("script-src", "frame-src", "connect-src")
    )
    framed = f"frame-src {frames}; " if card_form else ""
    return (
        f"default-src 'none'; style-src 'self'; script-src {scripts}; img-src 'self' data:; "
        f"{framed}connect-src {calls}; form-action {targets}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
