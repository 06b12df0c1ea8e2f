"""`bursar migrate`: brings the schema up to date."""

from __future__ import annotations

import asyncio

from bursar import config
from bursar.db.migrate import migrate
from bursar.entrypoints.cli.opening import running_database
from bursar.entrypoints.cli.output import AsJson, print_json


def run(as_json: AsJson = False) -> None:
    """Bring the database's schema up to date."""
    with running_database(config.read()) as settings:
        report = None if as_json else print
        applied = asyncio.run(migrate(settings.database_url or "", report))
    if as_json:
        print_json(applied)
    elif not applied.migrations and not applied.functions:
        print("The schema is up to date.")
