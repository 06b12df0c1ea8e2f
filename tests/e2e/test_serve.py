"""`bursar serve`: several processes on one port, which end together, however they end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx2
import pytest

from worlds import World, free_port, serving


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def gone(pids: list[int]) -> bool:
    """Whether none of the processes runs any more (one that nobody waited for yet counts)."""
    for _ in range(200):
        states = [Path(f"/proc/{pid}/stat") for pid in pids if Path(f"/proc/{pid}").exists()]
        if all(state.read_text().rsplit(")", 1)[1].split()[0] == "Z" for state in states):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_three_processes_share_a_port_and_end_together(
    world: World, number: signal.Signals
) -> None:
    settings = world.settings.model_copy(update={"port": free_port()})
    with serving(settings, workers=3) as parent:
        for _ in range(200):
            family = children_of(parent.pid)
            if len(family) == 2:
                break
            time.sleep(0.05)
        assert len(family) == 2
        async with httpx2.AsyncClient(base_url=settings.own_url) as http:
            for _ in range(20):
                assert (await http.get("/readyz")).status_code == 200
        os.kill(parent.pid, number)
        parent.wait(20)
        assert gone(family)
