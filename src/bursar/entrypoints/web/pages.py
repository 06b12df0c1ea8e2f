"""Turns a template and its values into an answer that a browser may show.

Owns the template environment. Knows nothing of money: what a page says comes in as words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from bursar.entrypoints import headers
from bursar.entrypoints.headers import Origins
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
    card_form: Origins | None = None,
) -> Response:
    """A page under our policy; `ways_out` are the origins where its forms may end; `card_form`
    those that a page with the provider's card form needs, by directive.
    """
    nonce = headers.new_nonce()
    html = site.templates.get_template(template).render(
        **values,
        path=request.url.path,
        scheme=scheme_of(request),
        visitor=visitor,
        here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        nonce=nonce,
    )
    told = headers.of_page(nonce, ways_out=ways_out, card_form=card_form)
    html = links_under(site.wiring.settings.base_path, html)
    return Response(html, status_code=status, media_type="text/html", headers=told)
