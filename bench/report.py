"""What a run says: a table for people, a file of JSON for programs.

Owns the two forms. It computes nothing that `samples` has not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.samples import NOISE_CORES, Measure, Plan, lines

PROCESSES = ("server", "database", "generator")
LEGEND = (
    "goal: first; then. server, database, generator: µs of processor time for each transaction. "
    "others: the most cores that strangers kept busy; "
    f"past {NOISE_CORES} (!) the figure is doubtful."
)
RESULTS = Path(__file__).parent / "results"


def show(console: Console, facts: Mapping[str, object], measures: Sequence[Measure]) -> None:
    """Print the machine's facts and a table for each measure."""
    head = Table(show_header=False, box=None)
    for name, value in facts.items():
        head.add_row(name.replace("_", " "), _plain(value))
    console.print(head)
    for measure in measures:
        console.print(_table(measure))
        for note in measure.notes:
            console.print(note)
    console.print(LEGEND)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return str(value)


def _table(measure: Measure) -> Table:
    table = Table(title=measure.title, title_justify="left")
    table.add_column("arm", no_wrap=True)
    for name in ("clients", "per second", "ratio", "goal", *PROCESSES, "others"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines(measure):
        used = line.microseconds
        table.add_row(
            line.arm,
            str(line.clients),
            line.per_second.text(0),
            line.ratio.text() if line.ratio else "1",
            line.goal,
            *(f"{used[name]:.0f}" if name in used else "" for name in PROCESSES),
            f"{line.others:.2f}{'!' if line.others > NOISE_CORES else ''}",
        )
    return table


def write(
    facts: Mapping[str, object], plan: Plan, measures: Sequence[Measure], *, at: datetime
) -> Path:
    """Write facts, plan, samples and sums to a file under results/; return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}.json"
    content = {
        "at": at.isoformat(),
        **facts,
        "plan": asdict(plan),
        "measures": [
            {**asdict(measure), "goals": _goals(measure), "lines": _lines(measure)}
            for measure in measures
        ],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def _goals(measure: Measure) -> list[dict[str, object]]:
    return [
        {"arm": arm, "clients": clients, "goal": goal}
        for (arm, clients), goal in measure.goals.items()
    ]


def _lines(measure: Measure) -> list[dict[str, object]]:
    return [asdict(line) for line in lines(measure)]
