"""How a request came to us, over HTTPS or in the clear, and where it should have gone.

`X-Forwarded-Proto` can be sent by anybody: it is read only when the peer is a proxy that we trust.
Redirects lead to our own public address, never to where the `Host` header points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from starlette.types import Scope

from bursar.config import Settings
from bursar.entrypoints import addresses
from bursar.entrypoints.addresses import Networks

HEADER = b"x-forwarded-proto"
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
"""Asked for by machines beside us, in the clear; they hold no secret."""
PROGRAMS = ("/api/", "/user/")

Verdict = Literal["pass", "refuse", "redirect", "page"]
IN_CLEAR = "bursar.in_clear"
"""In the scope: a page must refuse it, in a page's words."""


@dataclass(frozen=True, slots=True)
class Transport:
    """What a deployment asks of the way by which requests come.

    In live mode everything comes over HTTPS, as a trusted proxy says or as we see ourselves. In
    the other modes only a proxy that says plainly `http` sends people to the secure address.
    """

    live: bool
    own_url: str
    trusted: Networks

    @property
    def secured(self) -> bool:
        """Whether our own address is one that a browser can be sent to."""
        return self.own_url.startswith("https://")

    def in_clear(self, scope: Scope) -> bool:
        """Whether the request, as far as can be known, went over a network unencrypted."""
        said = self._said(scope)
        if said is not None:
            return said != "https"
        return self.live and scope["scheme"] != "https"

    def _said(self, scope: Scope) -> str | None:
        """What a trusted proxy says; of several proxies the outermost, who met the client."""
        if not addresses.is_trusted_peer(scope, self.trusted):
            return None
        for name, value in scope["headers"]:
            if name == HEADER:
                return str(value.split(b",")[0].strip().lower().decode("latin-1"))
        return None

    def judge(self, scope: Scope) -> Verdict:
        """What becomes of a request that came in the clear; ask only of such.

        A key that was sent in the clear can't be unsent: programs are refused, so that it is
        noticed at once. Who asked for a page is sent to the same page, and a form is refused.
        """
        path = scope["path"]
        if path in PROBES:
            return "pass"
        if path.startswith(PROGRAMS):
            return "refuse" if self.live else "pass"
        if self.secured and scope["method"] in ("GET", "HEAD"):
            return "redirect"
        return "page" if self.live or self.secured else "pass"

    def secure_url(self, scope: Scope) -> str:
        """The same path and query at our own address."""
        raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        query: bytes = scope.get("query_string", b"")
        # Only characters that a URL may have leave here: no header can be written into.
        path = quote(raw.partition(b"?")[0], safe="/%:@!$&'()*+,;=~")
        asked = quote(query, safe="/%:@!$&'()*+,;=~?[]")
        return f"{self.own_url}{path}" + (f"?{asked}" if asked else "")


def of(settings: Settings) -> Transport:
    """The rules of a deployment. Raises errors.Misconfigured for proxies that are no addresses."""
    trusted = addresses.networks(settings.trusted_proxies)
    return Transport(settings.mode == "live", settings.own_url, trusted)
