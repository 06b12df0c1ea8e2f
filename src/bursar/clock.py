"""The one clock. It is injected, so that tests and the sandbox decide what time business has.

Signatures and leases never use it: they live in real time, whatever the sandbox's clock says.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The business time, aware, in UTC."""


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ShiftedClock:
    """The machine's time and an offset that a sandbox sets (`advance`).

    Whoever follows the sandbox sets `offset`; everybody else only asks for the time.
    """

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset
