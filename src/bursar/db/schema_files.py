"""The SQL files that make up the schema: which there are, in which order, with which checksum.

Owns the naming rule of migrations and functions. It reads files and never a database.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from bursar import errors

MIGRATIONS = Path(__file__).parent / "migrations"
PACKAGE = Path(__file__).parent.parent

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
NO_TRANSACTION = "-- no transaction"


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One SQL file: its name in the books, its text and the sha256 of that text."""

    name: str
    text: str
    checksum: str

    @property
    def in_transaction(self) -> bool:
        """Whether the whole file is one transaction: the rule, unless its first line objects."""
        return self.text.split("\n", 1)[0].strip() != NO_TRANSACTION

    def statements(self) -> list[str]:
        """Return the parts to send one by one: the whole, or each statement of a marked file.

        A marked file ends every statement with a semicolon at the end of a line, and defines no
        function bodies: sent together, its statements would share one implicit transaction.
        """
        if self.in_transaction:
            return [self.text]
        parts = re.split(r";[ \t]*(?:\n|$)", self.text)
        return [part for part in parts if _has_code(part)]


def _has_code(part: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("--") for line in part.split("\n"))


def _read(path: Path, name: str) -> SchemaFile:
    # Line ends are evened out, so that a checkout on Windows has the same checksums.
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    return SchemaFile(name, text, hashlib.sha256(text.encode()).hexdigest())


def list_migrations(folder: Path = MIGRATIONS) -> list[SchemaFile]:
    """Return the numbered files of `folder` in order.

    Raises errors.MigrationFailed for a name outside of the rule or a number used twice.
    """
    numbers: dict[str, str] = {}
    for path in sorted(folder.glob("*.sql")):
        match = NAME.fullmatch(path.name)
        if match is None:
            raise errors.MigrationFailed(
                f"{path.name} is not named like 0001_what_it_does.sql; rename it."
            )
        if match[1] in numbers:
            raise errors.MigrationFailed(
                f"{path.name} and {numbers[match[1]]} have the same number; "
                "give the newer one the next free number."
            )
        numbers[match[1]] = path.name
    return [_read(folder / name, name) for name in numbers.values()]


def list_functions(package: Path = PACKAGE) -> list[SchemaFile]:
    """Return the function files beside their owners, as `ledger/post_entries.sql`, in order."""
    paths = sorted(package.glob("*/functions/*.sql"))
    return [_read(path, f"{path.parent.parent.name}/{path.name}") for path in paths]
