"""Every way by which a worker sends what the outbox owes: letters, webhooks, the host's functions.

Puts them together; each way is a module of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bursar.entrypoints import sending, sending_mail, sending_webhooks
from bursar.entrypoints.sending import Deliveries, Way
from bursar.wiring import Wiring


@asynccontextmanager
async def opened(wiring: Wiring, deliveries: Deliveries | None = None) -> AsyncIterator[list[Way]]:
    """The ways of this deployment; `deliveries` are those to the host's own functions.

    Raises errors.Misconfigured for settings of mail that can't be read.
    """
    letters = sending_mail.way(wiring)
    hosts = sending.by_name(deliveries) if deliveries else None
    async with sending_webhooks.opened(wiring) as webhooks:
        yield [way for way in (letters, hosts, webhooks) if way is not None]
