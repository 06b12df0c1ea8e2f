"""`bursar audit`: every invariant as SQL on this database."""

from __future__ import annotations

import typer

from bursar import config
from bursar.checks.audit import INVARIANTS, Finding, audit
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import AsJson, print_json, print_rows


def run(as_json: AsJson = False) -> None:
    """Check every invariant on this database."""

    async def act(db: Database) -> list[Finding]:
        async with db.transaction() as conn:
            # One picture of the data: a payment between two queries would look like a fault.
            await conn.execute("set transaction isolation level repeatable read, read only")
            return await audit(conn)

    findings = with_database(config.read(), act)
    if as_json:
        print_json({"ok": not findings, "checked": len(INVARIANTS), "findings": findings})
    else:
        _tell(findings)
    if findings:
        raise typer.Exit(1)


def _tell(findings: list[Finding]) -> None:
    for finding in findings:
        print(f"{finding.check} does not hold: {finding.title}")
        print_rows(finding.rows, tuple(finding.rows[0]), as_json=False, none="")
        print()
    print(f"{len(INVARIANTS) - len(findings)} of {len(INVARIANTS)} invariants hold.")
