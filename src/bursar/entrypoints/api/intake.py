"""The intake of webhooks: each is answered after its commit, many share one.

While one statement is in flight the next batch gathers; there is no timer, so a lone webhook waits
for nobody. Stores through the inbox and decides nothing.
"""

from __future__ import annotations

import asyncio
import traceback

import structlog

from bursar import errors, failpoints
from bursar.clock import Clock
from bursar.db import Database
from bursar.messages import inbox
from bursar.messages.inbox import Received

log = structlog.get_logger("bursar.api")

BATCH_MAX = 200
WAITING_MAX = 2000
"""Past this the provider is asked to come again: its patience is longer than our memory."""
STORE_SECONDS = 8.0
"""Providers wait some ten seconds for an answer; one that comes later is no answer."""

Waiting = tuple[Received, "asyncio.Future[None]"]


class Intake:
    """Stores messages in the order in which they come; one batch at a time."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._flushing: asyncio.Task[None] | None = None

    async def store(self, message: Received) -> None:
        """Return once `message` is committed. Raises errors.Unavailable when it may not be."""
        if len(self._waiting) >= WAITING_MAX:
            raise errors.Unavailable("Too many webhooks wait to be stored.")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, stored))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await stored

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:BATCH_MAX]
                del self._waiting[:BATCH_MAX]
                try:
                    await self._store(batch)
                finally:
                    # Nobody may be left waiting, whatever went wrong here.
                    _answer(batch, errors.Unavailable("The webhook could not be stored."))
        finally:
            self._flushing = None

    async def _store(self, batch: list[Waiting]) -> None:
        try:
            async with asyncio.timeout(STORE_SECONDS), self._db.connection() as conn:
                # One statement, so it commits by itself, and whole.
                messages = [message for message, _ in batch]
                await inbox.receive(conn, messages, at=self._clock.now())
        except (errors.Error, TimeoutError) as error:
            _answer(batch, errors.Unavailable(f"The webhook could not be stored: {error}"))
        except Exception as error:
            # Whatever it is, each caller must hear of it.
            if len(batch) > 1:
                # One bad message must not take the others with it.
                for waiting in batch:
                    await self._store([waiting])
                return
            provider = batch[0][0].provider
            log.error("webhook not stored", provider=provider, traceback=traceback.format_exc())
            _answer(batch, errors.Unavailable(f"The webhook could not be stored: {error}"))
        else:
            failpoints.reach("webhook.after_commit")
            _answer(batch, None)


def _answer(batch: list[Waiting], error: errors.Unavailable | None) -> None:
    for _, stored in batch:
        if stored.done():
            continue
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)
