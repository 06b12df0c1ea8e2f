"""`python3 run.py bench`, or `python -m bench` in the repository's root: measure and report.

Owns the options and the order of things. The exit code is 1 when counts do not agree.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import credits, database, machine, pgbench, product, report, webhooks
from bench.database import CUSTOMERS, MESSAGES, Bench
from bench.samples import Measure, Plan, Wrong
from bursar import errors

MEASURES: dict[str, Callable[[Bench, Plan], Measure]] = {
    "p1": webhooks.measure,
    "p3": credits.measure,
    "p4": credits.measure_hot,
}
WARM_SECONDS = 1
WIDTH = 150


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options; ends the process with 2 for what it can't read."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure Bursar beside pgbench on a throw-away PostgreSQL."
    )
    parser.add_argument("--rounds", type=_count, default=3, help="rounds of every arm (3)")
    parser.add_argument("--seconds", type=_count, default=5, help="seconds of each arm (5)")
    parser.add_argument(
        "--tries", type=_count, default=2, help="how often to measure an arm that was disturbed (2)"
    )
    parser.add_argument(
        "--patience", type=int, default=10, help="seconds to wait for a quiet machine (10)"
    )
    parser.add_argument("--seed", type=int, default=1, help="where all random numbers start (1)")
    parser.add_argument("--clients", type=_counts, default=(), help="connections, like 32,64,1")
    parser.add_argument(
        "--only", type=_names, default=tuple(MEASURES), help=f"some of {','.join(MEASURES)}"
    )
    parser.add_argument("--folder", type=Path, help="where the database's files go for the run")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 1000")
    return number


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(_count(part) for part in text.split(","))
    # The embedded server takes 200 connections, and some are ours.
    if max(counts) > 150:
        raise argparse.ArgumentTypeError("150 clients are the most that the database takes")
    return counts


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().split(","))
    if unknown := [name for name in names if name not in MEASURES]:
        raise argparse.ArgumentTypeError(f"no measure is called {', '.join(unknown)}")
    return names


def main(arguments: Sequence[str]) -> int:
    """Run what the options ask for; 0 when all counts agreed."""
    options = parse(arguments)
    # As after Ctrl-C, server and database are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    plan = Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        warm=WARM_SECONDS,
        seed=options.seed,
        tries=options.tries,
        patience=options.patience,
        clients=options.clients,
    )
    # In a file or a log a table must not be folded to the width of no terminal.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    began = datetime.now(UTC)
    facts: dict[str, object] = {"commit": machine.commit(), "seed": plan.seed}
    measures: list[Measure] = []
    failure: Exception | None = None
    try:
        with database.opened(options.folder) as bench:
            facts["machine"] = machine.facts(bench.home)
            facts["postgresql"] = bench.settings()
            facts["prefilled"] = {"inbox rows": MESSAGES, "customers": CUSTOMERS}
            for name in options.only:
                console.print(f"measuring {name} …")
                measures.append(MEASURES[name](bench, plan))
    except (Wrong, pgbench.Failed, product.NotServing, errors.Error) as error:
        # What was measured before is worth its time all the same.
        failure = error
    if measures:
        report.show(console, facts, measures)
        console.print(f"written to {report.write(facts, plan, measures, at=began)}")
    if failure is not None:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
