"""`bursar serve`: the API, the pages and the worker in one process."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
import uvloop

from bursar import config
from bursar.db.migrate import migrate
from bursar.entrypoints import server
from bursar.entrypoints.cli import logs
from bursar.entrypoints.cli.opening import running_database


def run(
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Work received events off here.")
    ] = True,
) -> None:
    """Run the API, the pages and the worker."""
    logs.configure()
    settings = config.read()
    settings.require_provider()
    with running_database(settings) as opened:
        if settings.database_url is None:
            # The embedded database is ours alone; a served one is migrated by its owner.
            asyncio.run(migrate(opened.database_url or ""))
        uvloop.run(
            server.serve(
                opened,
                with_worker=worker,
                ready=lambda: print(f"Bursar answers at {opened.own_url}", flush=True),
            )
        )
