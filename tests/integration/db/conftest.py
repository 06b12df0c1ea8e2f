"""Fixtures of the tests of the embedded server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bursar.db.embedded import EmbeddedServer
from postgres import home_folder


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    """A home that does not exist yet, in a folder that the server's user can enter."""
    with home_folder() as folder:
        yield folder / "home"


@pytest.fixture(scope="session")
def made_home() -> Iterator[Path]:
    """A home with a stopped server in it, to be copied."""
    with home_folder() as folder:
        EmbeddedServer.open(folder / "home", durable=False).close()
        (folder / "home" / "port").unlink()
        yield folder / "home"


@pytest.fixture
def home(fresh_home: Path, made_home: Path) -> Path:
    """A home of its own with a stopped server in it: cheaper than to make one."""
    subprocess.run(["cp", "-a", made_home, fresh_home], check=True)
    return fresh_home
