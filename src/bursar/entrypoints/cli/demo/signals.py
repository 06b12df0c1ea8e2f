"""SIGINT and SIGTERM for the demo: the first stops it wherever it is, later ones change nothing."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal came: everything is to be stopped."""


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Raise Stopped in the block at the first signal, and end the block with it."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        yield
    except Stopped:
        return
    finally:
        disarm()


def disarm() -> None:
    """From now on signals change nothing: what is being stopped must be stopped whole."""
    for number in SIGNALS:
        # A handler, not SIG_IGN, which a child that is started now would inherit.
        signal.signal(number, _nothing)


def _stop(number: int, frame: FrameType | None) -> None:
    disarm()
    raise Stopped


def _nothing(number: int, frame: FrameType | None) -> None:
    """Take no notice."""
