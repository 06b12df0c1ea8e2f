"""`bursar outbox`: what is owed to the world, and sending it again by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from bursar import config, errors
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import AsJson, Before, Limit, print_rows
from bursar.messages import outbox
from bursar.messages.outbox import State

group = typer.Typer(no_args_is_help=True)

COLUMNS = ("id", "topic", "destination", "state", "attempts", "due_at", "created_at", "last_error")


@group.command("list")
def list_them(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    destination: Annotated[str | None, typer.Option(help="Only those for it.")] = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first."""

    async def act(db: Database) -> list[outbox.Message]:
        async with db.connection() as conn:
            return await outbox.list_messages(
                conn, state=state, destination=destination, before=before, limit=limit
            )

    rows = with_database(config.read(), act)
    print_rows(rows, COLUMNS, as_json=as_json, none="There is no such message.")


@group.command()
def retry(message_ids: Annotated[list[int], typer.Argument(metavar="ID...")]) -> None:
    """Queue messages again, whatever became of them."""

    async def act(db: Database) -> int:
        async with db.transaction() as conn:
            queued = await outbox.retry(conn, message_ids)
            if queued < len(set(message_ids)):
                raise errors.Conflict(
                    "Some of these messages do not exist or are being sent just now; none was "
                    "queued."
                )
        return queued

    queued = with_database(config.read(), act)
    print(f"{queued} queued; the next process that can send them takes them.")
