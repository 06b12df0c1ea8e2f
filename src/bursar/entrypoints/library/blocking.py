"""The library's calls for code that does not await: the same, blocking, safe from any thread.

Each call runs on the loop that has Bursar open: the host's own while its lifespan runs, else one
that `start` runs in a thread. It copies no signature: every call is the awaitable one, waited for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from bursar import errors
from bursar.entrypoints.library.catalog import Catalog
from bursar.entrypoints.library.checkouts import Checkouts
from bursar.entrypoints.library.credits import Credits
from bursar.entrypoints.library.entitlements import Entitlements
from bursar.entrypoints.library.subscriptions import Subscriptions

if TYPE_CHECKING:
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")

GetLoop = Callable[[], asyncio.AbstractEventLoop]
Opened = Callable[[], AbstractAsyncContextManager[None]]

CLOSE_SECONDS = 20.0


class Waiter:
    """Runs awaitable calls on a loop of another thread, and waits for them."""

    def __init__(self, loop: GetLoop) -> None:
        self._loop = loop

    def blocking(self, call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
        """`call`, waited for. Raises what it raises, and errors.Misconfigured when not started."""

        def wait(*args: P.args, **kwargs: P.kwargs) -> T:
            loop = self._loop()
            if _running_here() is loop:
                raise errors.Misconfigured(
                    "This would wait for itself: in async code await the call without `.sync`."
                )
            future = asyncio.run_coroutine_threadsafe(call(*args, **kwargs), loop)
            try:
                return future.result()
            except concurrent.futures.CancelledError:
                raise errors.Unavailable(
                    "Bursar was closed during this call. Ask again under the same key."
                ) from None

        return wait


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class SyncCredits:
    """`bursar.credits`, blocking."""

    def __init__(self, waiter: Waiter, credits: Credits) -> None:
        self.use = waiter.blocking(credits.use)
        self.give_back = waiter.blocking(credits.give_back)
        self.hold = waiter.blocking(credits.hold)
        self.capture = waiter.blocking(credits.capture)
        self.release = waiter.blocking(credits.release)
        self.grant = waiter.blocking(credits.grant)
        self.balance = waiter.blocking(credits.balance)


class SyncCheckouts:
    """`bursar.checkouts`, blocking."""

    def __init__(self, waiter: Waiter, checkouts: Checkouts) -> None:
        self.open = waiter.blocking(checkouts.open)


class SyncSubscriptions:
    """`bursar.subscriptions`, blocking."""

    def __init__(self, waiter: Waiter, subscriptions: Subscriptions) -> None:
        self.open = waiter.blocking(subscriptions.open)
        self.get = waiter.blocking(subscriptions.get)
        self.preview = waiter.blocking(subscriptions.preview)
        self.change = waiter.blocking(subscriptions.change)
        self.cancel = waiter.blocking(subscriptions.cancel)
        self.resume = waiter.blocking(subscriptions.resume)
        self.pause = waiter.blocking(subscriptions.pause)
        self.portal = waiter.blocking(subscriptions.portal)


class SyncEntitlements:
    """`bursar.entitlements`, blocking."""

    def __init__(self, waiter: Waiter, entitlements: Entitlements) -> None:
        self.check = waiter.blocking(entitlements.check)
        self.consume = waiter.blocking(entitlements.consume)


class SyncCatalog:
    """`bursar.catalog`, blocking."""

    def __init__(self, waiter: Waiter, catalog: Catalog) -> None:
        self.push = waiter.blocking(catalog.push)


class Sync:
    """`bursar.sync`: for Django, Flask, scripts and threads.

    `start` and `close`, or `with bursar.sync:`, open Bursar for a process that has no lifespan of
    its own; inside a lifespan neither is needed.
    """

    def __init__(
        self,
        opened: Opened,
        loop: GetLoop,
        *,
        credits: Credits,
        checkouts: Checkouts,
        subscriptions: Subscriptions,
        entitlements: Entitlements,
        catalog: Catalog,
    ) -> None:
        waiter = Waiter(loop)
        self.credits = SyncCredits(waiter, credits)
        self.checkouts = SyncCheckouts(waiter, checkouts)
        self.subscriptions = SyncSubscriptions(waiter, subscriptions)
        self.entitlements = SyncEntitlements(waiter, entitlements)
        self.catalog = SyncCatalog(waiter, catalog)
        self._opened = opened
        self._guard = threading.Lock()
        self._background: _Background | None = None

    def start(self) -> None:
        """Open Bursar in a thread of its own; nothing happens when that is done already.

        Call it in each process that serves, after any fork: threads don't go along into a child.
        Raises what opening raises: errors.Misconfigured, errors.DatabaseUnavailable.
        """
        with self._guard:
            if self._background is None or self._background.pid != os.getpid():
                self._background = _Background(self._opened)

    def close(self) -> None:
        """End what `start` began; events that are being told are finished first."""
        with self._guard:
            background, self._background = self._background, None
        if background is not None and background.pid == os.getpid():
            background.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Background:
    """A thread whose loop has Bursar open."""

    def __init__(self, opened: Opened) -> None:
        self.pid = os.getpid()
        self._opened = opened
        self._settled: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        # A daemon: a process that ends without close() must not hang; leases end by themselves.
        self._thread = threading.Thread(target=self._run, name="bursar", daemon=True)
        self._thread.start()
        try:
            self._settled.result()
        except BaseException:
            self._thread.join(CLOSE_SECONDS)
            raise

    def close(self) -> None:
        """Stop the loop and wait for its thread."""
        assert self._loop is not None  # noqa: S101 - set before it counted as started
        assert self._stop is not None  # noqa: S101 - likewise
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if self._settled.done():
                raise
            self._settled.set_exception(error)

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._opened():
            self._settled.set_result(None)
            await self._stop.wait()
