"""What the tests of the embedded server share: other processes, questions, looks at /proc."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bursar.db.connections import connect

SCRIPT = Path(__file__).parent / "integration" / "db" / "owner.py"
PATIENCE_SECONDS = 60


@dataclass
class Owner:
    """A process that opened the server of a home."""

    process: subprocess.Popen[str]
    url: str
    owned: bool

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> int:
        self.process.communicate("")
        return self.process.returncode


@contextmanager
def owner_process(
    home: Path,
    *,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    user: int | None = None,
) -> Iterator[Owner]:
    """Open the server of `home` in another process (as `user`), which ends with the block."""
    process = start_owner(home, python=python, environment=environment, user=user)
    try:
        yield read_owner(process)
    finally:
        if process.poll() is None:
            process.communicate("")
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def start_owner(
    home: Path,
    *,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    user: int | None = None,
) -> subprocess.Popen[str]:
    demotion = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return subprocess.Popen(
        [python, str(SCRIPT), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, **(environment or {})},
        **demotion,
    )


def read_owner(process: subprocess.Popen[str]) -> Owner:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended before its server was up"
    return Owner(process, **json.loads(line))


def ask(url: str, query: str) -> object:
    """Return the one value of `query`, on a connection of its own."""

    async def fetch() -> object:
        conn = await connect(url)
        try:
            return await conn.fetchval(query)
        finally:
            await conn.close()

    return asyncio.run(fetch())


def server_pids(home: Path) -> list[int]:
    """Return the processes whose command names a data directory of `home`."""
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(f"{home}/pg".encode()) for word in words):
                pids.append(int(folder.name))
    return pids


def await_no_server(home: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while pids := server_pids(home):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.02)
