"""`bursar serve`: the API, the pages and the worker, in one process or in several on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
import uvloop

from bursar import config
from bursar.config import Settings
from bursar.db import launch
from bursar.db.migrate import migrate
from bursar.entrypoints import server
from bursar.entrypoints.cli import logs
from bursar.entrypoints.cli.opening import running_database

PROCESSES_MAX = 64
STOP_SECONDS = 10


def run(
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Work received events off here.")
    ] = True,
    workers: Annotated[
        int, typer.Option(min=1, max=PROCESSES_MAX, help="Processes that share the port.")
    ] = 1,
    socket_number: Annotated[int | None, typer.Option("--socket", hidden=True)] = None,
) -> None:
    """Run the API, the pages and the worker."""
    logs.configure()
    settings = config.read()
    settings.require_provider()
    if socket_number is not None:
        _serve(settings, socket.socket(fileno=socket_number), worker, announce=False)
        return
    with running_database(settings) as opened:
        if settings.database_url is None:
            # The embedded database is ours alone; a served one is migrated by its owner.
            asyncio.run(migrate(opened.database_url or ""))
        listening = server.listen(opened)
        with _others(opened, listening, worker, workers - 1):
            _serve(opened, listening, worker, announce=True)


def _serve(settings: Settings, listening: socket.socket, worker: bool, *, announce: bool) -> None:
    def ready() -> None:
        if announce:
            print(f"Bursar answers at {settings.own_url}", flush=True)

    uvloop.run(server.serve(settings, listening=listening, with_worker=worker, ready=ready))


@contextmanager
def _others(
    settings: Settings, listening: socket.socket, worker: bool, count: int
) -> Iterator[None]:
    """Run `count` more processes on the same socket; they end with this one, however it ends."""
    number = listening.fileno()
    command = [sys.executable, "-m", "bursar.entrypoints.cli", "serve", "--socket", str(number)]
    environment = {**os.environ, "DATABASE_URL": settings.database_url or ""}
    children = [
        subprocess.Popen(  # noqa: S603 - our own command
            launch.tied(command if worker else [*command, "--no-worker"]),
            env=environment,
            pass_fds=[number],
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
