"""The table of commands, and how an error ends one.

A command's module is imported when that command is called and not before, so that `bursar --help`
is quick and a command pays only for what it uses. Owns the exit codes; no command is here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Literal, NoReturn

import typer

from bursar import errors

EXIT_REFUSED = 1
"""Every family of errors ends a command with this; wrong usage with 2, by the parser."""

RUN, TRY, SELL, LOOK = "Run", "Try without money", "Sell and let in", "Look and repair"


@dataclass(frozen=True, slots=True)
class Command:
    """A line of `bursar --help`: the module beside this one, and its function or its group."""

    name: str
    panel: str
    help: str
    module: str
    kind: Literal["function", "group"] = "function"


COMMANDS = (
    Command("demo", RUN, "Run everything on this machine, with play money.", "demo.command"),
    Command("serve", RUN, "Run the API, the pages and the worker.", "serving"),
    Command("worker", RUN, "Run a worker alone.", "working"),
    Command("migrate", RUN, "Bring the database's schema up to date.", "schema"),
    Command("sandbox", TRY, "Play the payment providers; clock, faults.", "sandbox", "group"),
    Command("trigger", TRY, "Make an event happen at the sandbox.", "trigger"),
    Command("listen", TRY, "Forward the sandbox's signed webhooks to a URL.", "listening"),
    Command("catalog", SELL, "What is sold: push catalog.toml, show it.", "catalog", "group"),
    Command("sync", SELL, "Read products, prices and coupons from the provider.", "syncing"),
    Command("keys", SELL, "API keys: create, revoke, list.", "keys", "group"),
    Command(
        "import-balances",
        SELL,
        "Bring opening balances over from a CSV file; safe to repeat.",
        "opening_balances",
    ),
    Command("admin", SELL, "Let a first admin sign in.", "admin", "group"),
    Command("events", LOOK, "Received events: list, show, replay.", "events", "group"),
    Command("outbox", LOOK, "What is owed to the world: list, retry.", "outbox", "group"),
    Command("cases", LOOK, "What a person must look at: list, show, resolve.", "cases", "group"),
    Command("audit", LOOK, "Check every invariant on this database.", "audit"),
)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The parser: whole for the command that `arguments` call, a line of help for the others."""
    app = typer.Typer(
        name="bursar",
        help="Payments and billing: verified events become payments and credits exactly once.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for command in COMMANDS:
        act = importlib.import_module(f"{__package__}.{command.module}") if (
            command.name == called
        ) else None  # fmt: skip
        if act is None:
            app.command(command.name, help=command.help, rich_help_panel=command.panel)(_absent)
        elif command.kind == "group":
            app.add_typer(act.group, name=command.name, help=command.help)
        else:
            app.command(command.name)(act.run)
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        build(words)(words, prog_name="bursar")
    except errors.Error as error:
        print(f"error: {error.detail} ({error.code})", file=sys.stderr)
        sys.exit(EXIT_REFUSED)
    sys.exit(0)


def _absent() -> None:
    """Stand for a command that was not called."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("bursar"))
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version)
    ] = False,
) -> None:
    """Take what stands before the command."""
