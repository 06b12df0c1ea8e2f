"""`bursar events`: what the providers sent, and working one off again."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from bursar import config, errors
from bursar.access import audit_log
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import (
    AsJson,
    Before,
    Limit,
    as_record,
    print_json,
    print_record,
    print_rows,
)
from bursar.messages import inbox

group = typer.Typer(no_args_is_help=True)

State = Literal["received", "processing", "done", "ignored", "failed", "dead", "quarantined"]
EventId = Annotated[int, typer.Argument(metavar="ID")]
COLUMNS = ("id", "provider", "type", "state", "attempts", "payment_id", "received_at", "reason")


@group.command("list")
def list_them(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List events, newest first."""

    async def act(db: Database) -> list[inbox.Message]:
        async with db.connection() as conn:
            return await inbox.list_messages(conn, state=state, before=before, limit=limit)

    rows = with_database(config.read(), act)
    print_rows(rows, COLUMNS, as_json=as_json, none="No event was received yet.")


@group.command()
def show(event_id: EventId, as_json: AsJson = False) -> None:
    """Show an event as it came, and what became of it."""

    async def act(db: Database) -> tuple[inbox.Message, bytes, dict[str, str]]:
        async with db.connection() as conn:
            found = await inbox.find_message(conn, event_id)
        if found is None:
            raise errors.NotFound(f"There is no event {event_id}.")
        return found

    message, body, headers = with_database(config.read(), act)
    text = body.decode(errors="replace")
    if as_json:
        print_json(as_record(message) | {"headers": headers, "payload": text})
        return
    print_record(message, as_json=False)
    for name, value in headers.items():
        print(f"{name}: {value}")
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        print("(not JSON)")
    print(text)


@group.command()
def replay(event_ids: Annotated[list[int], typer.Argument(metavar="ID...")]) -> None:
    """Queue events again, whatever became of them: effects happen once."""

    async def act(db: Database) -> int:
        async with db.transaction() as conn:
            queued = await inbox.replay(conn, event_ids)
            if queued < len(set(event_ids)):
                raise errors.NotFound("Some of these events do not exist; none was queued.")
            for event_id in dict.fromkeys(event_ids):
                subject = f"event:{event_id}"
                await audit_log.record(conn, "command", "event.replayed", subject=subject)
        return queued

    queued = with_database(config.read(), act)
    print(f"{queued} queued; the next worker takes them.")
