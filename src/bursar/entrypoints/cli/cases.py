"""`bursar cases`: what a person must look at."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bursar import config
from bursar.billing import cases
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import AsJson, Before, Limit, print_record, print_rows

group = typer.Typer(no_args_is_help=True)

COLUMNS = ("id", "kind", "state", "payment_id", "amount_minor", "currency", "opened_at", "summary")


@group.command("list")
def list_them(
    state: Annotated[
        Literal["open", "resolved", "all"], typer.Option(help="Which of them.")
    ] = "open",
    before: Before = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List cases, newest first."""

    async def act(db: Database) -> list[cases.Case]:
        wanted = None if state == "all" else state
        async with db.connection() as conn:
            return await cases.list_cases(conn, state=wanted, before=before, limit=limit)

    rows = with_database(config.read(), act)
    none = "No case is open." if state == "open" else "There is no such case."
    print_rows(rows, COLUMNS, as_json=as_json, none=none)


@group.command()
def show(case_id: Annotated[int, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show a case with everything that is known."""

    async def act(db: Database) -> cases.Case:
        async with db.connection() as conn:
            return await cases.get_case(conn, case_id)

    print_record(with_database(config.read(), act), as_json=as_json)
