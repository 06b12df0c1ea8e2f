"""Runs a sandbox as a process of its own, for tests and demos.

Owns that process from start to stop. Never reaches into its state: everything goes by HTTP.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_STOP_SECONDS = 10


class Sandbox:
    """A running Stripe sandbox::

    with Sandbox(home=path) as sandbox:
        client = stripe.StripeClient("sk_test_bursar", base_addresses={"api": sandbox.base_url})
    """

    def __init__(
        self,
        port: int = 0,
        *,
        home: Path | None = None,
        record: Path | None = None,
        webhook: tuple[str, str] | None = None,
        retry_seconds: Sequence[float] = (),
    ) -> None:
        command = [sys.executable, "-m", "bursar_sandbox", "--port", str(port)]
        if home is not None:
            command += ["--home", str(home)]
        if record is not None:
            command += ["--record", str(record)]
        if webhook is not None:
            command += ["--stripe-webhook", ",".join(webhook)]
        if retry_seconds:
            command += ["--retry", ",".join(str(wait) for wait in retry_seconds)]
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""

    def start(self) -> Sandbox:
        """Start it and wait until it answers. Raises RuntimeError when it ends instead."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command, stdout=subprocess.PIPE, text=True, env=environment
        )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if " ready on " not in line:
            self.stop()
            raise RuntimeError("the sandbox ended before it was ready")
        self.base_url = line.rsplit(maxsplit=1)[-1]
        return self

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop it, gently first. Stopping one that doesn't run is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
