"""The audit: every invariant as a query that must return no rows. Reads only; decides nothing.

`bursar audit` runs it on your data; the tests run it after everything that moves money, and show
for each query that it finds the fault that it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar.checks.invariants import INVARIANTS
from bursar.db.connections import Connection

ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold, with the first offending rows."""

    check: str
    title: str
    rows: list[dict[str, Any]]


async def audit(conn: Connection) -> list[Finding]:
    """Run every invariant; an empty list means that all of them hold."""
    findings: list[Finding] = []
    for invariant in INVARIANTS:
        query = f"select * from ({invariant.sql}) q limit {ROWS_SHOWN}"  # noqa: S608
        rows = await conn.fetch(query)
        if rows:
            findings.append(
                Finding(invariant.name, invariant.claim, [dict(row.items()) for row in rows])
            )
    return findings


__all__ = ["INVARIANTS", "Finding", "audit"]
