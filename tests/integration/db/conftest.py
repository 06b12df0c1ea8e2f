"""Fixtures of the tests of the embedded server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import home_folder


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that does not exist yet, in a folder that the server's user can enter."""
    with home_folder() as folder:
        yield folder / "home"
