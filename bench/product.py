"""The product as it is served: `bursar serve` without its worker, in a process of its own.

Owns that process. It runs with the sandbox's settings and keys that open nothing; no call to a
provider is made on the paths that are measured.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.database import Bench

WEBHOOK_SECRET = "whsec_bench_0123456789abcdef"  # noqa: S105 - opens nothing
SECRET_KEY = "sk_test_bench0123456789abcdef"  # noqa: S105 - opens nothing

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class NotServing(Exception):
    """The server did not come up, or ended."""


@dataclass(frozen=True, slots=True)
class Product:
    """A server that takes connections on 127.0.0.1."""

    port: int
    pid: int


@contextmanager
def serving(bench: Bench) -> Iterator[Product]:
    """Serve on `bench` until the block ends. Raises NotServing with the end of the server's log."""
    port = _free_port()
    # What the caller's shell has set must not steer what is measured.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    log_path = bench.home.parent / "serve.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bursar.entrypoints.cli", "serve", "--no-worker"],
            # No .env of the working directory is read there.
            cwd=bench.home.parent,
            env={
                **kept,
                "DATABASE_URL": bench.url,
                "BURSAR_HOME": str(bench.home.parent / "unused"),
                "BURSAR_SANDBOX": "1",
                "BURSAR_PORT": str(port),
                # Counted as ever, and never reached.
                "BURSAR_LIMIT_API": "9999999/1m",
                "STRIPE_SECRET_KEY": SECRET_KEY,
                "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            if not _takes_connections(process, port):
                raise NotServing(log_path.read_text(errors="replace")[-2000:])
            yield Product(port, process.pid)
        finally:
            _stop(process)


def _takes_connections(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
