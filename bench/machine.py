"""What the machine is and what it was busy with, so that figures can be judged.

Owns the look into the system's books of processor time. Where there is no /proc it says nothing
rather than something wrong.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SYNC_BYTES = 8192
SYNC_COUNT = 100


def facts(folder: Path) -> dict[str, object]:
    """Describe processors, memory, and how long a write to the disk of `folder` takes."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "processor": _processor(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "fdatasync_microseconds": _sync_microseconds(folder),
    }


def commit() -> str:
    """Name the commit that is measured, with `+` for changes on top; `unknown` without git."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    for line in _lines(PROC / "cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory_gb() -> float | None:
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 1024**2, 1)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _sync_microseconds(folder: Path) -> int:
    """Time a small durable write: a disk that answers at once may not keep what it promised."""
    sync = getattr(os, "fdatasync", os.fsync)
    block, took = os.urandom(SYNC_BYTES), []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNC_COUNT):
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            began = time.perf_counter()
            os.write(file.fileno(), block)
            sync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1e6)


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of processor time up to now: of all processes, and of the trees named."""

    at: float
    all: float
    trees: dict[str, float]


def read(trees: dict[str, int]) -> Reading | None:
    """Read the books for the process trees under the ids in `trees`; None without /proc."""
    first = next(iter(_lines(PROC / "stat")), "")
    if not first.startswith("cpu "):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    # user, nice, system, idle, iowait, irq, softirq; the rest is counted in these or stolen.
    user, nice, system, _, _, irq, softirq = (int(word) for word in first.split()[1:8])
    processes = _processes()
    seconds = {name: _tree_ticks(processes, pid) / tick for name, pid in trees.items()}
    return Reading(time.monotonic(), (user + nice + system + irq + softirq) / tick, seconds)


def _processes() -> dict[int, tuple[int, int]]:
    """Map each process to its parent and its ticks, those of children it waited for included."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name stands in parentheses and may hold anything, spaces as well.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(folder.name)] = int(fields[1]), sum(int(word) for word in fields[11:15])
    return found


def _tree_ticks(processes: dict[int, tuple[int, int]], root: int) -> int:
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        total += processes.get(pid, (0, 0))[1]
        waiting += children.get(pid, [])
    return total
