"""`run.py` in a copy of the tree, from nothing: what the README's first command does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from worlds import free_port

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("run.py", "pyproject.toml", "README.md", "LICENSE", "catalog.toml", "src")
LISTS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture
def tree() -> Iterator[Path]:
    """A copy of what is needed to run, without an environment."""
    with tempfile.TemporaryDirectory(prefix="bursar-tree-") as folder:
        Path(folder).chmod(0o711)
        tree = Path(folder) / "bursar"
        tree.mkdir()
        for part in (*PARTS, *LISTS):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, tree / part)
        yield tree


def run(tree: Path, *words: str, program: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BURSAR_", "STRIPE_", "DATABASE_", "VIRTUAL_ENV"))
    }
    return subprocess.run(
        [program, str(tree / "run.py"), *words],
        env={
            **environment,
            "BURSAR_HOME": str(tree.parent / "home"),
            "BURSAR_PORT": str(free_port()),
            "BURSAR_SANDBOX_STRIPE_PORT": str(free_port()),
        },
        cwd=tree.parent,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def test_without_a_command_it_shows_how_and_exits_2(tree: Path) -> None:
    for words in ((), ("explode",)):
        done = run(tree, *words)
        assert done.returncode == 2
        assert "run.py demo" in done.stderr
    assert run(tree, "--help").returncode == 0
    assert not (tree / ".venv").exists()


@pytest.mark.parametrize("lacking", ["venv", "ensurepip"])
def test_python_without_venv_is_told_the_line_that_installs_it(tree: Path, lacking: str) -> None:
    # What Debian's python3 is without python3-venv: the module is not there to be found.
    start = tree / "without.py"
    start.write_text(
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name: None if name == {lacking!r} else find(name)\n"
        "sys.argv = ['run.py', 'demo']\n"
        f"runpy.run_path({str(tree / 'run.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, str(start)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    if shutil.which("apt-get"):
        assert "apt-get install python3-venv" in done.stderr
    assert not (tree / ".venv").exists()


def test_shorter_list_is_part_of_the_longer_one() -> None:
    # So that an environment made for the tests runs the demo without another installation.
    short, long = (
        {line for line in (ROOT / name).read_text().splitlines() if "==" in line} for name in LISTS
    )
    assert short < long


def test_lists_carry_hashes_and_no_address() -> None:
    for name in LISTS:
        text = (ROOT / name).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index-url" not in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_from_nothing_then_again_without_installing_then_repaired(tree: Path) -> None:
    first = run(tree, "demo", "--once")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "installing" in first.stdout
    assert "0 → 5 pages" in first.stdout
    second = run(tree, "demo", "--once")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "installing" not in second.stdout
    assert "5 → 10 pages" in second.stdout
    # What a start leaves that is killed while it makes the environment.
    (tree / ".venv" / "installed").unlink()
    shutil.rmtree(next((tree / ".venv" / "lib").glob("python3*")) / "site-packages" / "pip")
    third = run(tree, "demo", "--once")
    assert third.returncode == 0, third.stdout + third.stderr
    assert "making the virtual environment" in third.stdout
    assert "10 → 15 pages" in third.stdout
