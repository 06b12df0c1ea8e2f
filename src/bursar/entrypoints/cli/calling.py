"""How commands reach a sandbox that runs: where it is, and how its refusals end a command.

It starts no sandbox, and knows nothing of what is asked of one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from bursar import config
from bursar.config import Settings
from bursar.entrypoints.cli.demo.kept import Place
from bursar_sandbox.control_client import SandboxError

START_ONE = " `bursar sandbox` and `bursar demo` start one; --url names another."


def absolute(text: str) -> str:
    """An http(s) address as people write it, with or without a scheme. Raises BadParameter."""
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        config.origin_of(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return url.rstrip("/")


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        parser=absolute,
        metavar="URL",
        help="Where the sandbox is. Default: BURSAR_SANDBOX_STRIPE_PORT, or the demo that is up.",
    ),
]


@contextmanager
def sandbox_at(url: str | None) -> Iterator[str]:
    """The sandbox's address for a block; what it refuses in there ends the command with 1."""
    try:
        yield url or _found(config.read())
    except SandboxError as error:
        away = isinstance(error.__cause__, httpx2.HTTPError)
        print(f"error: {error}{START_ONE if away else ''}", file=sys.stderr)
        raise typer.Exit(1) from error


def _found(settings: Settings) -> str:
    """Where a sandbox is by the port that was chosen, by a demo's file, or by the usual port."""
    port = f"http://127.0.0.1:{settings.sandbox_stripe_port}"
    if "sandbox_stripe_port" in settings.model_fields_set:
        return port
    return demo_sandbox(settings.home) or port


def demo_sandbox(home: Path) -> str | None:
    """The address of the sandbox of the demo that is up in this home, if one is."""
    try:
        facts = json.loads(Place(home).demo_file.read_text(encoding="utf-8"))
        # A demo that was killed could not take its file away.
        os.kill(facts["pid"], 0)
    except (OSError, ValueError):
        return None
    return str(facts["stripe"])
