"""Work that many requests share: each is answered after its commit, a batch costs one round.

While one batch is at work the next one gathers; there is no timer, so a lone request waits for
nobody. It knows no table and no protocol: what the work is, its maker says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from bursar import errors

T = TypeVar("T")
R = TypeVar("R")

BATCH_MAX = 200
WAITING_MAX = 2000
"""Past this a request is asked to come again: its patience is longer than our memory."""
SECONDS = 8.0
"""How long a batch may take. Who asks waits some ten seconds; a later answer is none."""


class Collector(Generic[T, R]):
    """Hands items to `work` in the order in which they come, one batch at a time.

    `work` returns a result for each item, in their order, and commits before it returns. It may
    see an item again after an error, alone: it must be harmless to do twice.
    """

    def __init__(
        self,
        work: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        batch_max: int = BATCH_MAX,
        waiting_max: int = WAITING_MAX,
        seconds: float = SECONDS,
    ) -> None:
        self._work = work
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._seconds = seconds
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Return the result once it is committed.

        Raises errors.Unavailable when too many wait, when the part that `work` needs is away and
        when it took too long; whatever else `work` raises for this item alone is raised here.
        """
        if len(self._waiting) >= self._waiting_max:
            raise errors.Unavailable("Too many requests wait to be worked off.")
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await done

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[: self._batch_max]
                del self._waiting[: self._batch_max]
                try:
                    await self._do(batch)
                finally:
                    # Nobody may be left waiting, whatever went wrong here.
                    _give_up(batch, "the process is stopping")
        finally:
            self._flushing = None

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]]) -> bool:
        """Work off a batch and answer it; False when more of it would be in vain now."""
        try:
            async with asyncio.timeout(self._seconds):
                results = list(await self._work([item for item, _ in batch]))
            pairs = list(zip(batch, results, strict=True))
        except TimeoutError:
            _give_up(batch, f"it was not done in {self._seconds:g} seconds")
            return False
        except errors.Unavailable as error:
            # It is away for all of them: one by one they would only wait longer.
            _give_up(batch, str(error))
            return False
        except Exception as error:
            if len(batch) > 1:
                return await self._do_each(batch)
            _, done = batch[0]
            if not done.done():
                done.set_exception(error)
        else:
            for (_, done), result in pairs:
                # Who gave up meanwhile is not told.
                if not done.done():
                    done.set_result(result)
        return True

    async def _do_each(self, batch: list[tuple[T, asyncio.Future[R]]]) -> bool:
        """One bad item must not take the others with it."""
        for number, one in enumerate(batch, start=1):
            if not await self._do([one]):
                _give_up(batch[number:], "what it needs is away")
                return False
        return True


def _give_up(batch: Sequence[tuple[T, asyncio.Future[R]]], why: str) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(errors.Unavailable(f"The request could not be worked off: {why}"))
