"""Faults on purpose: which calls and webhooks go wrong, the same ones again for the same seed.

Owns the settings and the decisions. Never carries one out: the API and the deliveries do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

LONGEST_SECONDS = 3600.0
SCATTER_SECONDS = 0.5
"""Over how long `reorder` and `duplicate` scatter webhooks."""

_CHANCES = (
    "duplicate",
    "drop",
    "bad_signature",
    "api_500",
    "api_timeout",
    "api_500_after",
    "api_timeout_after",
)
_SECONDS = ("delay", "timeout_seconds")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. Chances are between 0 and 1, times in seconds of real time.

    Webhooks: `duplicate` sends one twice, `drop` not at all, `bad_signature` makes the first
    attempt of one worthless, `reorder` scatters them, `delay` holds each back.

    POST calls whose path begins with one of `routes`: `api_500` refuses without doing anything,
    `api_500_after` does it and then says 500, which the idempotency key keeps; `api_timeout` is
    silent for `timeout_seconds` and hangs up, `api_timeout_after` does it first.
    """

    seed: int = 0
    duplicate: float = 0.0
    drop: float = 0.0
    bad_signature: float = 0.0
    reorder: bool = False
    delay: float = 0.0
    api_500: float = 0.0
    api_500_after: float = 0.0
    api_timeout: float = 0.0
    api_timeout_after: float = 0.0
    timeout_seconds: float = 10.0
    routes: tuple[str, ...] = ("/v1/",)


@dataclass(frozen=True, slots=True)
class Post:
    """One webhook to be sent, `wait_seconds` from now."""

    wait_seconds: float = 0.0
    dropped: bool = False
    forged: bool = False


_AS_IT_SHOULD = (Post(),)


class Plan:
    """The faults in force, and how many decisions have been taken of each kind."""

    def __init__(self) -> None:
        self.faults: Faults | None = None
        self.taken: Counter[str] = Counter()

    def set(self, faults: Faults | None) -> None:
        """Begin anew with these faults, or with none."""
        self.faults = faults
        self.taken.clear()

    def shown(self) -> dict[str, Any]:
        """The state, for people and tests."""
        return {
            "faults": asdict(self.faults) if self.faults else None,
            "calls": self.taken["call"],
            "webhooks": self.taken["webhook"],
        }

    def for_call(self, method: str, path: str) -> str:
        """What happens to a call: a fault's name, such as `api_500`, or nothing."""
        faults = self.faults
        if faults is None or method != "POST" or not path.startswith(faults.routes):
            return ""
        number = self._next("call")
        for name in ("api_timeout", "api_500", "api_500_after", "api_timeout_after"):
            if self._draw(name, number) < getattr(faults, name):
                return name
        return ""

    def for_webhook(self) -> tuple[Post, ...]:
        """How often one webhook is sent, when, and what is wrong with each sending."""
        faults = self.faults
        if faults is None:
            return _AS_IT_SHOULD
        number = self._next("webhook")
        twice = self._draw("duplicate", number) < faults.duplicate
        return tuple(self._post(faults, number, copy) for copy in range(1 + twice))

    def _post(self, faults: Faults, number: int, copy: int) -> Post:
        scatters = faults.reorder or copy
        wait = self._draw("wait", number, copy) * SCATTER_SECONDS if scatters else 0.0
        return Post(
            wait_seconds=faults.delay + wait,
            dropped=self._draw("drop", number, copy) < faults.drop,
            forged=self._draw("bad_signature", number, copy) < faults.bad_signature,
        )

    def _next(self, kind: str) -> int:
        self.taken[kind] += 1
        return self.taken[kind]

    def _draw(self, kind: str, *numbers: int) -> float:
        # A generator for each decision, so that one more call or another chance moves no other.
        seed = ":".join(map(str, (self.faults.seed if self.faults else 0, kind, *numbers)))
        return random.Random(seed).random()  # noqa: S311 - repeatable is the point


def parse(given: Any) -> Faults:
    """Faults from JSON. Raises ValueError with what is wrong."""
    if not isinstance(given, Mapping):
        raise ValueError("expected an object of faults")
    known = {field.name for field in fields(Faults)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"no such fault: {unknown[0]}; there are {', '.join(sorted(known))}")
    for name, value in given.items():
        _check(name, value)
    values = dict(given)
    routes = values.pop("routes", None)
    if routes is not None:
        values["routes"] = (routes,) if isinstance(routes, str) else tuple(routes)
    return Faults(**values)


def _check(name: str, value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _CHANCES and not (is_number and 0 <= value <= 1):
        raise ValueError(f"`{name}` is a chance between 0 and 1")
    if name in _SECONDS and not (is_number and 0 <= value <= LONGEST_SECONDS):
        raise ValueError(f"`{name}` is a time in seconds, at most {LONGEST_SECONDS:.0f}")
    if name == "seed" and not (is_number and value == int(value)):
        raise ValueError("`seed` is a whole number")
    if name == "reorder" and not isinstance(value, bool):
        raise ValueError("`reorder` is true or false")
    if name == "routes":
        routes = [value] if isinstance(value, str) else value
        if not (isinstance(routes, list) and all(isinstance(route, str) for route in routes)):
            raise ValueError("`routes` is a path's beginning, or a list of them")
