"""`bursar sandbox`: becomes the process that plays the providers. It needs no PostgreSQL."""

from __future__ import annotations

import os
import sys

from bursar import config


def program(settings: config.Settings) -> list[str]:
    """The command line that runs the sandbox on the ports and in the folder of `settings`."""
    return [
        *(sys.executable, "-m", "bursar_sandbox"),
        *("--port", str(settings.sandbox_stripe_port)),
        *("--home", str(settings.home / "sandbox")),
    ]


def run() -> None:
    """Play the payment providers, alone."""
    settings = config.read()
    (settings.home / "sandbox").mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    os.execv(sys.executable, program(settings))  # noqa: S606 - no shell is wanted
