"""Named places where a test lets the process die. Off unless BURSAR_CRASH_AT names one.

The crash is SIGKILL to ourselves: no handler runs, no buffer is flushed, as in a power cut of the
process. The value is `name` or `name:n`, which dies the n-th time that the place is reached.
"""

from __future__ import annotations

import os
import signal

_name, _, _count = os.environ.get("BURSAR_CRASH_AT", "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Die here if a test asked for it."""
    global _left  # noqa: PLW0603 - a count for the whole process is what is wanted
    if not _name or name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
