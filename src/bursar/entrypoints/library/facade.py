"""The façade `Bursar`: the app that a host mounts, the lifespan in which it is open, the calls.

It opens the same wiring as the server does, runs the same worker, and decides nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bursar import config, errors
from bursar.config import Settings
from bursar.db.embedded import EmbeddedServer
from bursar.db.migrate import migrate
from bursar.entrypoints import sandbox_clock, sending_mail, server, worker
from bursar.entrypoints.library.blocking import Sync
from bursar.entrypoints.library.catalog import Catalog
from bursar.entrypoints.library.checkouts import Checkouts
from bursar.entrypoints.library.credits import Credits
from bursar.entrypoints.library.entitlements import Entitlements
from bursar.entrypoints.library.reactions import H, Reactions
from bursar.entrypoints.library.subscriptions import Subscriptions
from bursar.messages import outbox
from bursar.wiring import Wiring, opened

log = structlog.get_logger("bursar.library")

NOT_STARTED = (
    "Bursar is not started in this process. Run it inside the app's lifespan "
    "(`async with bursar.lifespan(app)`), or call `bursar.sync.start()`."
)


@dataclass(frozen=True, slots=True)
class _Live:
    """What is there while Bursar is open."""

    wiring: Wiring
    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    pid: int


class Bursar:
    """Payments and credits inside a host's process.

    `settings` by default come from the environment and `.env`. With `with_worker=False` received
    events, timers and `@bursar.on` are left to other processes that run this same code.
    Raises errors.Misconfigured for settings that can't be read.
    """

    def __init__(self, settings: Settings | None = None, *, with_worker: bool = True) -> None:
        self.settings = settings or config.read()
        self.credits = Credits(self._wiring)
        self.checkouts = Checkouts(self._wiring)
        self.subscriptions = Subscriptions(self._wiring)
        self.entitlements = Entitlements(self._wiring)
        self.catalog = Catalog(self._wiring)
        self.sync = Sync(
            self.lifespan,
            self._loop,
            credits=self.credits,
            checkouts=self.checkouts,
            subscriptions=self.subscriptions,
            entitlements=self.entitlements,
            catalog=self.catalog,
        )
        self.app: ASGIApp = self._serve
        """The API and the pages, to be mounted at the path of BURSAR_PUBLIC_URL."""
        self._with_worker = with_worker
        self._reactions = Reactions()
        self._live: _Live | None = None

    def on(self, topic: str, *, name: str | None = None) -> Callable[[H], H]:
        """Register a function for events: an exact name, a family (`payment.*`) or `*`.

        It takes one Event, async or plain (then in a thread). It is called at least once for each
        event; an exception means that it is called again later. `name` is what the outbox knows
        the function by, its module and name by default. Raises errors.Misconfigured.
        """

        def register(handler: H) -> H:
            if self._live is not None:
                raise errors.Misconfigured("Register reactions before Bursar is started.")
            self._reactions.add(topic, handler, name)
            return handler

        return register

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Keep Bursar open: the database, the provider, and the worker unless it runs apart.

        Fits as a FastAPI app's `lifespan` and inside another's. Raises errors.Misconfigured,
        errors.DatabaseUnavailable.
        """
        if self._live is not None and self._live.pid == os.getpid():
            raise errors.Misconfigured("Bursar is started in this process already.")
        self.settings.require_provider()
        async with AsyncExitStack() as stack:
            settings = await self._database(stack)
            wiring = await stack.enter_async_context(opened(settings))
            await self._subscribe(wiring)
            await sending_mail.arrange(wiring)
            loop = asyncio.get_running_loop()
            self._live = _Live(wiring, server.create(wiring), loop, os.getpid())
            try:
                async with self._working(wiring):
                    yield
            finally:
                self._live = None

    async def _database(self, stack: AsyncExitStack) -> Settings:
        """The settings with a database: the one they name, else the embedded one, migrated."""
        if self.settings.database_url:
            return self.settings
        home, binaries = self.settings.home, self.settings.pg_bin
        embedded = await asyncio.to_thread(EmbeddedServer.open, home, binaries=binaries)
        stack.push_async_callback(asyncio.to_thread, embedded.close)
        await migrate(embedded.url)
        return self.settings.model_copy(update={"database_url": embedded.url})

    async def _subscribe(self, wiring: Wiring) -> None:
        async with wiring.db.transaction() as conn:
            for destination, topics in sorted(self._reactions.topics.items()):
                await outbox.subscribe(conn, destination, topics, at=wiring.clock.now())

    @asynccontextmanager
    async def _working(self, wiring: Wiring) -> AsyncIterator[None]:
        """The clock, and the worker with the host's reactions, while the block runs."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(sandbox_clock.follow(wiring, stop=stop))]
        if self._with_worker:
            deliveries = self._reactions.deliveries()
            tasks.append(asyncio.create_task(worker.run(wiring, stop=stop, deliveries=deliveries)))
        try:
            yield
        finally:
            stop.set()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    log.error("a task of Bursar's had ended", reason=repr(ended))

    def _open(self) -> _Live:
        live = self._live
        if live is None or live.pid != os.getpid():
            raise errors.Misconfigured(NOT_STARTED)
        return live

    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._open().loop

    def _wiring(self) -> Wiring:
        live = self._open()
        if asyncio.get_running_loop() is not live.loop:
            raise errors.Misconfigured(
                "Bursar is open on another event loop. From there use `bursar.sync`."
            )
        return live.wiring

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The mounted app: ours while it is open on this loop, 503 otherwise."""
        if scope["type"] == "lifespan":
            raise RuntimeError("mount bursar.app; its lifespan is bursar.lifespan")
        live = self._live
        if live is None or live.loop is not asyncio.get_running_loop():
            await PlainTextResponse(f"{NOT_STARTED}\n", 503)(scope, receive, send)
            return
        mounted, base = scope.get("root_path", "").rstrip("/"), live.wiring.settings.base_path
        if mounted and not base.endswith(mounted):
            told = (
                f"Bursar is mounted at {mounted}, and BURSAR_PUBLIC_URL is "
                f"{live.wiring.settings.own_url}: let it end with {mounted}.\n"
            )
            await PlainTextResponse(told, 500)(scope, receive, send)
            return
        await live.app(scope, receive, send)
