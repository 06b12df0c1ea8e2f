"""What the API keeps while it runs: the wiring, known keys, the general limit, its figures."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from bursar.access.keys import KeyCache
from bursar.access.limits import ProcessLimit
from bursar.entrypoints.api.metrics import Metrics
from bursar.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Api:
    """One for each app; `limit` counts requests of a key in this process."""

    wiring: Wiring
    keys: KeyCache
    limit: ProcessLimit
    metrics: Metrics


def api_of(request: Request) -> Api:
    """The state of the app that serves this request."""
    api: Api = request.app.state.api
    return api
