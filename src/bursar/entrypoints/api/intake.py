"""The intake of webhooks: each is answered after its commit, many share one.

Stores through the inbox and decides nothing; how requests come together is the collector's.
"""

from __future__ import annotations

import traceback

import structlog

from bursar import errors, failpoints
from bursar.clock import Clock
from bursar.db import Database
from bursar.entrypoints.api.collector import Collector
from bursar.messages import inbox
from bursar.providers.port import Received

log = structlog.get_logger("bursar.api")


class Intake:
    """Stores messages in the order in which they come; one batch at a time."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._collector: Collector[Received, None] = Collector(self._store)

    async def store(self, message: Received) -> None:
        """Return once `message` is committed. Raises errors.Unavailable when it may not be."""
        try:
            await self._collector.submit(message)
        except errors.Unavailable:
            raise
        except errors.Error as error:
            raise errors.Unavailable(f"The webhook could not be stored: {error}") from error
        except Exception as error:
            # Whatever it is, the provider must hear that it has to come again.
            log.error(
                "webhook not stored",
                provider=message.provider,
                traceback=traceback.format_exc(),
            )
            raise errors.Unavailable(f"The webhook could not be stored: {error}") from error

    async def _store(self, messages: list[Received]) -> list[None]:
        async with self._db.connection() as conn:
            # One statement, so it commits by itself, and whole.
            await inbox.receive(conn, messages, at=self._clock.now())
        failpoints.reach("webhook.after_commit")
        return [None] * len(messages)
