"""Runs commands in the test's own process, with an environment of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bursar.entrypoints.cli import main
from stripe_receiver import Receiver

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs `bursar` with an environment of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BURSAR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STRIPE_SECRET_KEY", raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return run


@pytest.fixture
def bursar(bare: Command, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Command:
    """The same, on a database with the whole schema."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return bare


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver that takes everything until told otherwise."""
    with Receiver() as one:
        yield one
