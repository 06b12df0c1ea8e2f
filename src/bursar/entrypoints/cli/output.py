"""How results are printed: a table for people, JSON for programs. Decides nothing else."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]
Before = Annotated[int | None, typer.Option(help="Only those below this id: the next page.")]

# Into a file or a pipe nothing is wrapped: what reads it has no width. What users typed stands in
# tables, so brackets and colons are never read as marks or emoji.
console = Console(
    soft_wrap=True,
    width=None if sys.stdout.isatty() else 250,
    markup=False,
    emoji=False,
    highlight=False,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_styled(*parts: str | tuple[str, str]) -> None:
    """Write a line of texts, each as it is, or with a style such as `bold`."""
    console.print(Text.assemble(*parts))


def print_json(value: object) -> None:
    """Write one JSON document; times as RFC 3339 in UTC."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(value, default=str, option=options).decode())


def print_rows(rows: Iterable[Any], columns: Sequence[str], *, as_json: bool, none: str) -> None:
    """Write dataclasses or mappings as a table of `columns`, or all of them as `{"data": […]}`.

    `none` is the sentence for an empty table.
    """
    records = [as_record(row) for row in rows]
    if as_json:
        print_json({"data": records})
        return
    if not records:
        print(none)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for record in records:
        table.add_row(*(as_text(record[column]) for column in columns))
    console.print(table)


def print_record(row: object, *, as_json: bool) -> None:
    """Write one dataclass or mapping, a line for each field."""
    record = as_record(row)
    if as_json:
        print_json(record)
        return
    width = max(len(name) for name in record) + 2
    for name, value in record.items():
        print(f"{name.replace('_', ' '):<{width}}{as_text(value)}")


def as_record(row: object) -> dict[str, Any]:
    """The fields of a dataclass or a mapping by name."""
    if isinstance(row, Mapping):
        return dict(row)
    assert dataclasses.is_dataclass(row)  # noqa: S101 - rows are ours
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def as_text(value: object) -> str:
    """A field as a person reads it in a cell; no control character gets to the terminal."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, default=str).decode()
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], str(value))
