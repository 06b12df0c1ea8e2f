"""The server: API and pages as one app, with the worker inside unless it runs apart.

Composes what the entrypoints offer and owns the process's life; no route and no rule is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable

import structlog
import uvicorn
from fastapi import FastAPI

from bursar import errors
from bursar.config import Settings
from bursar.entrypoints import api, sandbox_clock, sending_mail, web, worker
from bursar.entrypoints.mounted import Mounted
from bursar.wiring import Wiring, opened

STOP_SECONDS = 5

log = structlog.get_logger("bursar.server")


def create(wiring: Wiring) -> FastAPI:
    """The app: the API's routes and the pages, under the path of our own address if it has one."""
    app = api.create_app(wiring)
    app.router.routes.extend(web.routes(wiring))
    if wiring.settings.base_path:
        app.add_middleware(Mounted, base=wiring.settings.base_path)
    return app


async def serve(
    settings: Settings,
    *,
    listening: socket.socket,
    with_worker: bool = True,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve on a listening socket until SIGINT or SIGTERM; `ready` is called once it answers.

    Any number of processes may serve one socket. Raises Misconfigured before anything starts.
    """
    settings.require_provider()
    async with opened(settings) as wiring:
        await sending_mail.arrange(wiring)
        config = uvicorn.Config(
            create(wiring),
            loop="none",
            http="httptools",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            lifespan="off",
        )
        server = _Server(config)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listening]))
            tasks.create_task(sandbox_clock.follow(wiring, stop=stop))
            if with_worker:
                tasks.create_task(worker.run(wiring, stop=stop))
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.01)
            log.info("server ready", url=settings.own_url, mode=settings.mode)
            ready()
            await stop.wait()
            server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves the signals to us: one handler stops server and worker together."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def listen(settings: Settings) -> socket.socket:
    """The socket at the settings' host and port. Raises Misconfigured when it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol named, what it accepts waits for no more to send (TCP_NODELAY).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise errors.Misconfigured(
            f"{settings.host}:{settings.port} can't be used: {error.strerror}. "
            "Stop what listens there, or set BURSAR_PORT."
        ) from error
    listening.listen(2048)
    return listening
