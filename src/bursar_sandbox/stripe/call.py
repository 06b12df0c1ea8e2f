"""One API call as a resource sees it, and the routes that resources export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.params import Params


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated call. `ids` are the variable parts of the path, in order."""

    tx: Transaction
    params: Params
    ids: tuple[str, ...]
    path: str
    version: str | None = None
    """The API version that the caller has asked for; None if it named none."""


Handler = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers `method` on `path`, whose variable parts are written `*`.

    `params` are the names that Stripe documents for the call, `expand` apart.
    """

    method: str
    path: str
    handler: Handler
    params: frozenset[str]
    by_browser: bool = False


def route(
    method: str, path: str, handler: Handler, params: str = "", *, by_browser: bool = False
) -> Route:
    """A route; `params` is a text of names, `by_browser` one for publishable keys."""
    return Route(method, path, handler, frozenset(params.split()) | {"expand"}, by_browser)
