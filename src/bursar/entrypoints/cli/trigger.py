"""`bursar trigger`: makes an event happen at the sandbox, by calls that any shop could make."""

from __future__ import annotations

from typing import Annotated

import typer

from bursar import errors
from bursar.entrypoints.cli.calling import Url, sandbox_at
from bursar.entrypoints.cli.output import AsJson, print_json
from bursar_sandbox import control_client


def run(
    event: Annotated[
        str | None, typer.Argument(metavar="EVENT", help="Such as payment_intent.succeeded.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List what can be made.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an event happen at the sandbox."""
    if (event is None) != list_them:
        raise typer.BadParameter("Name one event, or say --list to see which there are.")
    if event is None:
        _list(as_json=as_json)
        return
    if event not in control_client.EVENTS:
        raise errors.NotFound(
            f"No scenario makes {event} happen. `bursar trigger --list` names those that there are."
        )
    with sandbox_at(url) as base:
        made = control_client.trigger(base, event)
    if as_json:
        print_json(made)
    else:
        print(f"{made['type']}  {made['id']}  {made['data']['object']['id']}")


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json({"data": control_client.EVENTS})
    else:
        print(*control_client.EVENTS, sep="\n")
