"""The sandbox's state in one SQLite file: one writer, one transaction per request.

Owns the connection, the tables and the meaning of a transaction. It knows objects only as JSON with
an id and never what a provider means by them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

from bursar_sandbox.clock import Clock
from bursar_sandbox.faults import Plan

TABLES = (
    "objects",
    "idempotency",
    "deliveries",
    "forgeries",
    "timers",
    "clock_timers",
    "meta",
    "letters",
)


class Transaction:
    """One transaction. Everything read and written in a request goes through it.

    `now` is the time it lives in: the sandbox's, or that of the test clock `clock`.
    """

    __slots__ = (
        "base_url",
        "clock",
        "connection",
        "idempotency_key",
        "now",
        "owed",
        "request_id",
        "store",
    )

    def __init__(
        self, store: Store, request_id: str | None, idempotency_key: str | None, base_url: str
    ) -> None:
        self.store = store
        self.connection = store.connection
        self.now = store.clock.now()
        self.clock: str | None = None
        self.request_id = request_id
        self.idempotency_key = idempotency_key
        self.base_url = base_url
        self.owed = False

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, values)

    def find(self, object_id: str) -> dict[str, Any] | None:
        """The object with this id, deleted ones as their tombstone; None if there never was one."""
        row = self.connection.execute(
            "SELECT body FROM objects WHERE id = ?", (object_id,)
        ).fetchone()
        return orjson.loads(row[0]) if row else None

    def private(self, object_id: str) -> dict[str, Any]:
        """What is known of the object and never shown; empty if nothing is."""
        row = self.connection.execute(
            "SELECT private FROM objects WHERE id = ?", (object_id,)
        ).fetchone()
        return orjson.loads(row[0]) if row and row[0] else {}

    def meta(self, name: str) -> str | None:
        """A remembered setting."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def remember(self, name: str, value: str) -> None:
        """Keep a setting."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


class Store:
    """One SQLite file. Safe to use from several threads: transactions take turns."""

    def __init__(self, path: Path | str, base_url: str = "http://127.0.0.1") -> None:
        self.base_url = base_url
        self.connection = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False)
        self.faults = Plan()
        self.on_owed: Callable[[], None] = lambda: None
        self._turn = threading.Lock()
        # A lost sandbox can be made again: speed is worth more here than surviving a power cut.
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "temp_store = MEMORY"):
            self.connection.execute(f"PRAGMA {pragma}")
        schema = resources.files("bursar_sandbox").joinpath("schema.sql").read_text("utf-8")
        self.connection.executescript(schema)
        row = self.connection.execute("SELECT value FROM meta WHERE name = 'offset'").fetchone()
        self.clock = Clock(int(row[0]) if row else 0)
        self.next_due = self._earliest_timer()

    @contextmanager
    def transaction(
        self,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        base_url: str | None = None,
    ) -> Iterator[Transaction]:
        """A transaction that is kept when the block ends and undone when it raises.

        `base_url` is the address under which the caller reached the sandbox, without a slash.
        """
        with self._turn:
            tx = Transaction(self, request_id, idempotency_key, base_url or self.base_url)
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield tx
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        if tx.owed:
            self.on_owed()

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """One query outside any transaction, for the tasks that run in the server's own thread."""
        with self._turn:
            return self.connection.execute(sql, values)

    def advance(self, seconds: int) -> int:
        """Move the sandbox's clock forward, for good; returns the new time."""
        now = self.clock.advance(seconds)
        with self.transaction() as tx:
            tx.remember("offset", str(self.clock.offset))
        return now

    def reset(self) -> None:
        """Forget everything, the clock's offset and the faults too."""
        with self.transaction() as tx:
            for table in TABLES:
                tx.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own tables
        self.clock.offset = 0
        self.faults.set(None)
        self.next_due = None

    def schedule(self, tx: Transaction, due: int, kind: str, ref: str) -> None:
        """Let `kind` happen to `ref` at `due`, in the time that the transaction lives in."""
        if tx.clock is not None:
            tx.execute(
                "INSERT INTO clock_timers (clock, due, kind, ref) VALUES (?, ?, ?, ?)",
                (tx.clock, due, kind, ref),
            )
            return
        tx.execute("INSERT INTO timers (due, kind, ref) VALUES (?, ?, ?)", (due, kind, ref))
        if self.next_due is None or due < self.next_due:
            self.next_due = due

    def claim_timer(self, tx: Transaction) -> tuple[str, str] | None:
        """Take the earliest timer that is due, as (kind, ref); None when none is.

        The transaction goes back to the moment at which it fell due, so that what happens then
        bears that time, however far the clock went on in one step.
        """
        row = tx.execute(
            "SELECT id, kind, ref, due FROM timers WHERE due <= ? ORDER BY due, id LIMIT 1",
            (tx.now,),
        ).fetchone()
        if row:
            tx.execute("DELETE FROM timers WHERE id = ?", (row[0],))
            tx.now = row[3]
        self.next_due = self._earliest_timer()
        return (row[1], row[2]) if row else None

    def claim_clock_timer(self, tx: Transaction, clock: str, until: int) -> tuple[str, str] | None:
        """Take the earliest timer of a test clock that is due at `until`, as `claim_timer` does.

        The transaction lives in the test clock's time from here on.
        """
        row = tx.execute(
            "SELECT id, kind, ref, due FROM clock_timers WHERE clock = ? AND due <= ?"
            " ORDER BY due, id LIMIT 1",
            (clock, until),
        ).fetchone()
        if row is None:
            return None
        tx.execute("DELETE FROM clock_timers WHERE id = ?", (row[0],))
        tx.now, tx.clock = row[3], clock
        return row[1], row[2]

    def _earliest_timer(self) -> int | None:
        row = self.connection.execute("SELECT min(due) FROM timers").fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self.connection.close()
