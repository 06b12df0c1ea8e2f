"""The demo's child processes: started, watched, stopped, and never left behind.

On Linux a child is tied to the thread that started it: when that ends, also by kill -9, the kernel
sends the child SIGINT, which is an orderly stop for all of ours. The demo starts them from its
main thread, so that the tie is to the process. Elsewhere only an orderly end stops them.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bursar import errors
from bursar.db import launch

LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Child:
    """A running child, called `name` in what people read."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise Unavailable, with the last lines of the log, when the child has ended."""
        code = self.process.poll()
        if code is None:
            return
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise errors.Unavailable(
            "\n  ".join([f"The {self.name} ended ({how}). The end of {self.log}:", *lines])
        )

    def stop(self, seconds: float) -> None:
        """Ask the child to end, and after `seconds` make it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running(
    name: str, program: list[str], environment: Mapping[str, str], log: Path, *, seconds: float
) -> Iterator[Child]:
    """Run `program` until the block ends; it then has `seconds` to stop by itself."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a list, no shell
            launch.tied(program),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A session of its own: Ctrl-C reaches the demo alone, which stops all in order.
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop(seconds)
