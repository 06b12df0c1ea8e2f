"""The short way to the busiest endpoints: past the framework's own layers, which take about a
tenth of a busy server's time.

Only addresses that are known letter by letter go this way, and only POST; all else, and each of
these in another spelling or under another method, goes through the router as ever and is answered
alike. It decides nothing: errors are answered by the table that the app uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bursar import errors
from bursar.entrypoints.api import problems
from bursar.entrypoints.api.problems import Refusal


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A route's endpoint, and what its path says in the place of parameters."""

    endpoint: ASGIApp
    path_params: Mapping[str, str]


def find_shortcuts(routes: Sequence[Route], names: Sequence[str]) -> dict[str, Shortcut]:
    """Every address of `routes`, which take POST; a parameter in a path is one of `names`."""
    found = {}
    for route in routes:
        for name in names if route.param_convertors else ("",):
            params = dict.fromkeys(route.param_convertors, name)
            path = str(route.url_path_for(route.name, **params))
            found[path] = Shortcut(route.app, params)
    return found


class Shortcuts:
    """A layer inside of the one that logs; it must not stand outside of any that guards."""

    def __init__(self, app: ASGIApp, *, shortcuts: Mapping[str, Shortcut]) -> None:
        self._app = app
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what the endpoint raises and nobody foresaw."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        shortcut = self._shortcuts.get(scope["path"])
        if shortcut is None:
            return await self._app(scope, receive, send)
        scope["path_params"] = dict(shortcut.path_params)
        try:
            await shortcut.endpoint(scope, receive, send)
        except errors.Error as error:
            await problems.failed(scope, error)(scope, receive, send)
        except Refusal as refusal:
            await problems.refused(scope, refusal)(scope, receive, send)
