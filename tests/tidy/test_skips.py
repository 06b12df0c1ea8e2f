"""A missing browser or npm is an excuse on a person's machine, and none in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidy.sources import ROOT

SAMPLE = """
import pytest

@pytest.mark.{mark}
def test_that_needs_a_program():
    {body}
"""


def outcome(folder: Path, mark: str, body: str, *, ci: str, path: str) -> str:
    """The summary of pytest on one marked test, with the project's rule on skipping."""
    (folder / "test_sample.py").write_text(SAMPLE.format(mark=mark, body=body))
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers = {mark}: needs something\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "conftest", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(("mark", "lacking"), [("browser", "chromium"), ("npm", "node and npm")])
def test_missing_program_skips_with_its_name_but_fails_in_ci(
    tmp_path: Path, mark: str, lacking: str
) -> None:
    nowhere = str(tmp_path / "nothing")
    person = outcome(tmp_path, mark, "pass", ci="", path=nowhere)
    assert "1 skipped" in person
    assert f"needs {lacking}, which this machine lacks" in person
    assert "1 error" in outcome(tmp_path, mark, "pass", ci="true", path=nowhere)


@pytest.mark.parametrize("mark", ["browser", "npm"])
def test_test_that_skips_itself_fails_in_ci(tmp_path: Path, mark: str) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("chromium", "node", "npm"):
        (tmp_path / "bin" / program).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / program).chmod(0o755)
    there = str(tmp_path / "bin")
    skips = "pytest.skip('no wish to')"
    assert "1 skipped" in outcome(tmp_path, mark, skips, ci="", path=there)
    assert "1 failed" in outcome(tmp_path, mark, skips, ci="true", path=there)
    assert "1 passed" in outcome(tmp_path, mark, "pass", ci="true", path=there)
