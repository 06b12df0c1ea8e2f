"""The log of long-running commands: one line an event on stderr, JSON unless a person watches."""

from __future__ import annotations

import io
import sys
from typing import TextIO, cast

import structlog


class Stderr(io.TextIOBase):
    """Whatever is stderr at the moment of writing: a logger outlives a redirection."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure() -> None:
    """Set the log up for this process."""
    watched = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Stderr())),
        cache_logger_on_first_use=True,
    )
