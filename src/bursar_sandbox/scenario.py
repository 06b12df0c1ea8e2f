"""What a scenario is: a few calls of the API, by which a type of event comes about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Caller(Protocol):
    """Calls the API; a declined card is returned as its error's body."""

    def __call__(
        self, method: str, path: str, fields: dict[str, str] | None = None
    ) -> dict[str, Any]: ...


Scenario = Callable[[Caller], object]
