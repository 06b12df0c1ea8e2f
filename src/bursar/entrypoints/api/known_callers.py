"""Who acts for which customer, kept for a few seconds: a busy caller costs no query a request.

Keys are checked and counted each time. What is kept stands under a hash of the headers that it
follows from, and no refusal is kept. Users met for the first time are looked up together.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from starlette.requests import Request

from bursar.access.actors import Actor
from bursar.billing import customers
from bursar.entrypoints.api.callers import (
    CUSTOMER_HEADER,
    USER_HEADER,
    actor_of,
    named_user,
    user_caller,
)
from bursar.entrypoints.api.collector import Collector
from bursar.wiring import Wiring

PERSONAL_SECONDS = 60.0
"""How long a user's own customer is believed: it is made with the user and stays."""
TEAM_SECONDS = 3.0
"""How long a membership is believed; who leaves a team is out within this time."""
KNOWN_MAX = 20_000

CUSTOMER = CUSTOMER_HEADER.lower().encode()
NAMES = frozenset((b"authorization", USER_HEADER.lower().encode(), CUSTOMER))


class KnownCallers:
    """The callers of one endpoint, at most `capacity` of them."""

    def __init__(self, wiring: Wiring, *, capacity: int = KNOWN_MAX) -> None:
        self._wiring = wiring
        self._admit = actor_of("user", "service")
        self._capacity = capacity
        self._known: dict[bytes, tuple[float, int]] = {}
        self._people: Collector[str, int] = Collector(self._find)

    async def admit(self, request: Request) -> tuple[Actor, int]:
        """The actor and the customer meant; refuses as `user_caller` does."""
        said = [pair for pair in request.scope["headers"] if pair[0] in NAMES]
        digest = hashlib.sha256(repr(said).encode()).digest()
        asked_at = time.monotonic()
        known = self._known.get(digest)
        if known is not None and known[0] > asked_at:
            return await self._admit(request), known[1]
        if any(name == CUSTOMER for name, _ in said):
            caller = await user_caller(request)
            actor, customer_id = caller.actor, caller.customer_id
            seconds = TEAM_SECONDS
        else:
            actor = await self._admit(request)
            customer_id = await self._people.submit(named_user(request, actor))
            seconds = PERSONAL_SECONDS
        self._keep(digest, asked_at + seconds, customer_id)
        return actor, customer_id

    def _keep(self, digest: bytes, until: float, customer_id: int) -> None:
        self._known.pop(digest, None)
        while len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[digest] = (until, customer_id)

    async def _find(self, user_ids: Sequence[str]) -> list[int]:
        """Their personal customers; who is new here is made."""
        async with self._wiring.db.connection() as conn:
            found = await customers.find_personal(conn, user_ids)
            new = dict.fromkeys(user_id for user_id in user_ids if user_id not in found)
            if new:
                found |= await customers.ensure_users(conn, new, at=self._wiring.clock.now())
        return [found[user_id] for user_id in user_ids]
