"""Being mounted under a path of another app, such as `/billing`.

Inside, every address is a path of ours, as at a host's root. What comes in has the mount's path
taken off; what goes out as a local redirect or as a page has the path of our own public address put
before it. No route and no page knows where it is mounted.
"""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Values of attributes that lead to a path of ours; two slashes begin another host's address. Text
# of people can't look like this: its quotes are escaped.
_LINK = re.compile(r'(\s(?:href|src|action|formaction|data-watch)=")(?=/(?!/))')
_REFRESH = re.compile(r'(\scontent="\d+;url=)(?=/(?!/))')


def links_under(base: str, html: str) -> str:
    """A page whose links to us lead to where we are mounted."""
    if not base:
        return html
    return _REFRESH.sub(rf"\g<1>{base}", _LINK.sub(rf"\g<1>{base}", html))


class Mounted:
    """A layer around the app; `base` is the path of our own public address."""

    def __init__(self, app: ASGIApp, *, base: str) -> None:
        self._app = app
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_prefixed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                if location.startswith("/") and not location.startswith("//"):
                    headers["location"] = self._base + location
            await send(message)

        inside = {**_at_root(scope), "bursar.base": self._base}
        await self._app(inside, receive, send_prefixed)


def _at_root(scope: Scope) -> Scope:
    """The scope as if we were served at a host's root: the mount's path is not ours to see."""
    root = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    if not root or not (path == root or path.startswith(f"{root}/")):
        return {**scope, "root_path": ""}
    inside = path.removeprefix(root) or "/"
    # Percent signs of ids must stay as they were sent; the mount's own part is plain.
    raw = scope.get("raw_path") or path.encode()
    raw = raw.removeprefix(root.encode()) or b"/"
    return {**scope, "root_path": "", "app_root_path": "", "path": inside, "raw_path": raw}
