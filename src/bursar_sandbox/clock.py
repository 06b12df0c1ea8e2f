"""The sandbox's clock: real time plus an offset that can only grow.

Owns the offset. Never used for signatures or delivery times, which follow real time.
"""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970, in the sandbox's own time."""

    __slots__ = ("offset",)

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset

    def now(self) -> int:
        """The sandbox's time in whole seconds."""
        return int(time.time()) + self.offset

    def advance(self, seconds: int) -> int:
        """Move forward by `seconds` and return the new time; raises ValueError when negative."""
        if seconds < 0:
            raise ValueError("the sandbox's clock only moves forward")
        self.offset += seconds
        return self.now()
