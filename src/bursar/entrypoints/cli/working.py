"""`bursar worker`: works received events and timers off; any number of them may run."""

from __future__ import annotations

import asyncio
import signal

from bursar import config
from bursar.entrypoints import sandbox_clock, worker
from bursar.entrypoints.cli import logs
from bursar.entrypoints.cli.opening import with_wiring
from bursar.wiring import Wiring


def run() -> None:
    """Run a worker alone."""
    logs.configure()
    with_wiring(config.read(), _work)


async def _work(wiring: Wiring) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await asyncio.gather(worker.run(wiring, stop=stop), sandbox_clock.follow(wiring, stop=stop))
