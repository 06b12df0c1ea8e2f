"""`bursar import-balances`: what users had in the system before, from a CSV file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from bursar import config
from bursar.billing import catalog, opening_balances
from bursar.billing.catalog import Unit
from bursar.billing.opening_balances import Balance, Fault, Summary
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import AsJson, print_json
from bursar.money import format_credits

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="CSV: user_id,unit,amount,reference and, if you like, email.",
    ),
]


def run(
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try everything and keep nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring opening balances over from a CSV file; safe to repeat."""

    async def act(db: Database) -> tuple[Summary, list[Fault], dict[str, Unit]]:
        async with db.connection() as conn:
            units = {unit.name: unit for unit in await catalog.list_units(conn)}
        with file.open("rb") as lines:
            balances, faults = opening_balances.read(lines, units)
        if faults:
            return Summary(), faults, units
        return await _bring(db, file, balances, dry_run=dry_run, quiet=as_json), [], units

    summary, faults, units = with_database(config.read(), act)
    bad = [*faults, *summary.refused]
    if as_json:
        told = {"posted": summary.posted, "already_there": summary.already_there}
        amounts = summary.posted_amounts
        print_json({**told, "amounts": amounts, "bad_lines": bad, "dry_run": dry_run})
    else:
        _tell(summary, bad, units, read_only=bool(faults), dry_run=dry_run)
    if bad:
        raise typer.Exit(1)


async def _bring(
    db: Database, file: Path, balances: Sequence[Balance], *, dry_run: bool, quiet: bool
) -> Summary:
    # On standard error, so that what is printed can go into a file; nobody watches a pipe.
    screen = Console(stderr=True)
    hidden = quiet or not sys.stderr.isatty()
    with Progress(console=screen, disable=hidden, transient=True) as progress:
        task = progress.add_task("Opening balances", total=len(balances))
        return await opening_balances.bring(
            db,
            balances,
            source=file.name,
            at=SystemClock().now(),
            dry_run=dry_run,
            done=lambda count: progress.advance(task, count),
        )


def _tell(
    summary: Summary,
    bad: Sequence[Fault],
    units: dict[str, Unit],
    *,
    read_only: bool,
    dry_run: bool,
) -> None:
    for fault in bad:
        print(f"line {fault.line}: {fault.message}", file=sys.stderr)
    if read_only:
        print(f"Nothing was posted: {_bad_lines(len(bad))} and run it again.")
        return
    if dry_run:
        print("Tried, and nothing was kept. It would be:")
    balances = "balance" if summary.posted == 1 else "balances"
    print(f"{summary.posted} {balances} posted, {summary.already_there} were there already.")
    for name, amount in sorted(summary.posted_amounts.items()):
        print(f"{format_credits(amount, units[name].decimals)} {units[name].label}")
    if bad:
        print(f"{len(bad)} refused: their references stand for other figures.")


def _bad_lines(count: int) -> str:
    return "1 bad line. Mend it" if count == 1 else f"{count} bad lines. Mend them"
