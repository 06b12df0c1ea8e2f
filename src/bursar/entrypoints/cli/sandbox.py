"""`bursar sandbox`: becomes the process that plays the providers, or steers the one that runs.

It needs no PostgreSQL. What the sandbox does when it is steered is the sandbox's own affair.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from bursar import config
from bursar.entrypoints.cli import faults
from bursar.entrypoints.cli.calling import Url, demo_sandbox, sandbox_at
from bursar.entrypoints.cli.durations import METAVAR, in_words, parse_seconds
from bursar.entrypoints.cli.output import AsJson, print_json
from bursar_sandbox import control_client

group = typer.Typer(
    invoke_without_command=True,
    epilog="Alone it plays them until Ctrl-C; the commands steer the sandbox that runs.",
)
group.command("faults")(faults.run)

SAME_TIME_SECONDS = 5
"""A clock that is this near to the real one has not been moved."""


def program(settings: config.Settings) -> list[str]:
    """The command line that runs the sandbox on the ports and in the folder of `settings`."""
    return [
        *(sys.executable, "-m", "bursar_sandbox"),
        *("--port", str(settings.sandbox_stripe_port)),
        *("--smtp-port", str(settings.sandbox_smtp_port)),
        *("--home", str(settings.home / "sandbox")),
    ]


@group.callback()
def run(context: typer.Context) -> None:
    """Play the payment providers, alone."""
    if context.invoked_subcommand is not None:
        return
    settings = config.read()
    (settings.home / "sandbox").mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    os.execv(sys.executable, program(settings))  # noqa: S606 - no shell is wanted


# So that a time below zero is told what it is, and not taken for an option.
@group.command(context_settings={"ignore_unknown_options": True})
def clock(
    act: Annotated[Literal["show", "advance"], typer.Argument(help="What to do.")] = "show",
    span: Annotated[
        float | None,
        typer.Argument(parser=parse_seconds, metavar=METAVAR, help="How far: 10s, 5m, 2h, 31d."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the sandbox's clock, or move it forward: what is due by then happens at once."""
    if (act == "advance") != (span is not None):
        raise typer.BadParameter("Write `clock show`, or `clock advance` with a time such as 31d.")
    with sandbox_at(url) as base:
        if span is None:
            now = control_client.now(base)
        else:
            now = control_client.advance_clock(base, round(span))
    ahead = now - int(time.time())
    at = datetime.fromtimestamp(now, UTC)
    if as_json:
        print_json({"now": now, "time": at, "ahead_seconds": ahead})
        return
    place = "" if abs(ahead) < SAME_TIME_SECONDS else f", {_rounded(ahead)} ahead of real time"
    print(f"{at:%Y-%m-%d %H:%M:%S} UTC{place}")


def _rounded(seconds: int) -> str:
    # The two clocks are read one after the other, so a second of difference means nothing.
    return in_words(round(seconds / 60) * 60 if seconds > 60 else seconds)


@group.command()
def reset(url: Url = None, as_json: AsJson = False) -> None:
    """Forget all objects, events and faults, and set the clock back to real time."""
    with sandbox_at(url) as base:
        control_client.reset(base)
    of_demo = demo_sandbox(config.read().home) == base
    if as_json:
        print_json({"reset": base, "demo": of_demo})
        return
    print(f"The sandbox at {base} is empty, and its clock shows real time.")
    if of_demo:
        print(
            "It is a demo's: Bursar's database keeps what it knows of payments that the sandbox "
            "has forgotten,\nand the webhook endpoint and the prices are gone. Stop the demo, and "
            "start it with\n`bursar demo --fresh`, which drops both sides."
        )
