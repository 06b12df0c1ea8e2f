"""Spans of time as people write them in a command: `10s`, `5m`, `2h`, `31d`."""

from __future__ import annotations

import re

import typer

from bursar.config import UNIT_SECONDS

METAVAR = "DURATION"


def parse_seconds(text: str) -> float:
    """Seconds from a number and a unit, such as `0.5s` or `31d`. Raises BadParameter."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhd])", text.strip().lower())
    if match is None and re.match(r"-[0-9.]", text.strip()):
        raise typer.BadParameter(f"{text!r} goes back, and time only goes forward.")
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; write it like 10s, 5m, 2h or 31d.")
    return float(match[1]) * UNIT_SECONDS[match[2]]


def in_words(seconds: float) -> str:
    """A span as a person reads it, in its largest whole unit: `31d`, `90s`."""
    whole = round(seconds)
    for unit in ("d", "h", "m"):
        if whole and whole % UNIT_SECONDS[unit] == 0:
            return f"{whole // UNIT_SECONDS[unit]}{unit}"
    return f"{whole}s"
