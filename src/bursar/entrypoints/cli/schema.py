"""`bursar migrate`: brings the schema, and on request the database roles, up to date."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from bursar import config
from bursar.db.migrate import migrate
from bursar.entrypoints.cli.opening import running_database
from bursar.entrypoints.cli.output import AsJson, print_json


def run(
    roles: Annotated[
        bool, typer.Option("--roles", help="Make the database roles and give them their rights.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema up to date."""
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if not as_json:
            print(line)

    with running_database(config.read()) as settings:
        applied = asyncio.run(migrate(settings.database_url or "", report, with_roles=roles))
    if as_json:
        print_json(applied)
    elif not lines:
        print("The schema is up to date.")
