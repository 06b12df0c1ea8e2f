"""How messages arrive: in peace each once and in order; in a storm as a bad network brings them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx2

from bursar.providers.stripe.translate import HANDLED
from subscribers import Event, Subscribers

LOST = 0.1
LATE = 0.4
TWICE = 0.3
LATEST = timedelta(days=2)


@dataclass
class Peace(Subscribers):
    """Every message once, in its order. Only what is new is asked for: a year has thousands."""

    last: str | None = None
    client: httpx2.AsyncClient | None = None

    @property
    def http(self) -> httpx2.AsyncClient:
        """One client of the sandbox for the whole year: to make one takes as long as ten calls."""
        if self.client is None:
            self.client = self.world.http()
        return self.client

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()

    async def advance(self, *, step: timedelta = timedelta(days=1), **by: float) -> None:
        seconds = int(timedelta(**by).total_seconds())
        answer = await self.http.post("/_sandbox/clock", json={"advance": seconds})
        self.clock.offset = timedelta(seconds=answer.json()["offset"])
        await self.hear()

    async def events(self) -> list[Event]:
        found: list[Event] = []
        more = True
        while more:
            params = {"limit": 100} | ({"ending_before": self.last} if self.last else {})
            page = (await self.http.get("/v1/events", params=params)).json()
            found += page["data"][::-1]
            more = page["has_more"] and self.last is not None
            self.last = found[-1]["id"] if found else self.last
        return found


@dataclass
class Storm(Peace):
    """One message in ten is lost for good; others come up to two days late, twice, in any order.

    What is lost is found by asking.
    """

    chance: random.Random = field(default_factory=random.Random)
    waiting: list[tuple[datetime, Event]] = field(default_factory=list)

    async def hear(self) -> None:
        """Have arrive what is not lost and not late, and what was late before."""
        new = [event for event in await self.events() if event["id"] not in self.heard]
        self.heard |= {event["id"] for event in new}
        self._send([event for event in new if event["type"] in HANDLED])
        now = self.clock.now()
        arriving = [event for due, event in self.waiting if due <= now]
        self.waiting = [(due, event) for due, event in self.waiting if due > now]
        self.chance.shuffle(arriving)
        await self.world.deliver(arriving)
        await self.world.work()

    def _send(self, events: Sequence[Event]) -> None:
        now = self.clock.now()
        for event in events:
            if self.chance.random() < LOST:
                continue
            for _ in range(2 if self.chance.random() < TWICE else 1):
                late = self.chance.random() < LATE
                self.waiting.append((now + late * self.chance.random() * LATEST, event))
