"""The host's own functions that react to our events: which there are, and how one is called.

Owns the registry behind `@bursar.on` and the destinations' names, `host:<module.name>`: one for
each function, so that one that fails is tried again without the others being repeated. It stores
nothing and retries nothing: the outbox and its sender do.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
import structlog

from bursar import errors
from bursar.billing.events import TOPICS
from bursar.entrypoints.sending import Deliver, Deliveries
from bursar.messages.outbox import Claimed

PREFIX = "host:"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,179}", re.ASCII)

log = structlog.get_logger("bursar.library")


@dataclass(frozen=True, slots=True)
class Event:
    """What a host's function is told. It may come more than once: `id` stays the same then."""

    id: str
    type: str
    created_at: datetime
    data: Mapping[str, Any]


Handler = Callable[[Event], Awaitable[None] | None]
H = TypeVar("H", bound=Handler)


class Reactions:
    """The functions that were registered, and the topics that each asks for."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._topics: dict[str, set[str]] = {}

    def add(self, topic: str, handler: Handler, name: str | None) -> None:
        """Have `handler` called for events of `topic`.

        Raises errors.Misconfigured for a topic that there is not, for a name that says nothing
        that lasts, and for a name that another function has.
        """
        _check_topic(topic)
        destination = PREFIX + _name(handler, name)
        if self._handlers.setdefault(destination, handler) is not handler:
            raise errors.Misconfigured(
                f"Two functions are called {destination.removeprefix(PREFIX)}. Give one another "
                'name: @bursar.on(…, name="…").'
            )
        self._topics.setdefault(destination, set()).add(topic)

    @property
    def topics(self) -> dict[str, list[str]]:
        """The topics that each destination asks for."""
        return {destination: sorted(asked) for destination, asked in self._topics.items()}

    def deliveries(self) -> Deliveries:
        """How a message is delivered to each destination."""
        return {where: _delivery(handler) for where, handler in self._handlers.items()}


def _check_topic(topic: str) -> None:
    families = {f"{known.partition('.')[0]}.*" for known in TOPICS}
    if topic != "*" and topic not in families and topic not in TOPICS:
        raise errors.Misconfigured(
            f"There is no event {topic!r}. There are: {', '.join(TOPICS)}, "
            f"{', '.join(sorted(families))} and *."
        )


def _name(handler: Handler, name: str | None) -> str:
    """The name under which a function is known for ever, over restarts and versions."""
    found = name or f"{handler.__module__}.{getattr(handler, '__qualname__', '?')}"
    if not NAME.fullmatch(found):
        raise errors.Misconfigured(
            f"{found!r} is no lasting name of a function (a lambda and an inner function have "
            'none). Give it one: @bursar.on(…, name="…").'
        )
    return found


def _delivery(handler: Handler) -> Deliver:
    async def deliver(message: Claimed) -> None:
        told = orjson.loads(message.payload)
        at = datetime.fromisoformat(told["created_at"])
        event = Event(told["id"], told["type"], at, told["data"])
        try:
            await _call(handler, event)
        except Exception:
            # As text made here: a renderer might print the frames' locals.
            log.error("reaction failed", event_id=event.id, trace=traceback.format_exc())
            raise

    return deliver


async def _call(handler: Handler, event: Event) -> None:
    if inspect.iscoroutinefunction(handler):
        await handler(event)
        return
    # A plain function may block: it gets a thread, and the loop goes on.
    answer = await asyncio.to_thread(handler, event)
    if inspect.isawaitable(answer):
        await answer
