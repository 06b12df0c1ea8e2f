"""What a machine lacks: tests marked `browser` or `npm` are skipped there, visibly.

With CI set nothing may be missing: the same tests fail instead, also when they skip themselves.
It never decides what is tested; fixtures live in tests/conftest.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

PROGRAMS = {"browser": ("chromium",), "npm": ("node", "npm")}


def may_skip() -> bool:
    """Whether a missing program is an excuse."""
    return os.environ.get("CI", "").lower() in ("", "0", "false")


def missing(item: pytest.Item) -> list[str]:
    """Return the programs that this test needs and the machine lacks."""
    needed = [name for mark, names in PROGRAMS.items() if item.get_closest_marker(mark)
              for name in names]  # fmt: skip
    return [name for name in needed if shutil.which(name) is None]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if programs := missing(item):
        text = f"needs {' and '.join(programs)}, which this machine lacks"
        (pytest.skip if may_skip() else pytest.fail)(text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    marked = any(item.get_closest_marker(mark) for mark in PROGRAMS)
    if report.skipped and marked and not may_skip() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI nothing may be: {report.longrepr}"
    return report
