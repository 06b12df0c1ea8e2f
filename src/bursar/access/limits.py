"""Limits: how many requests in how long. One kind shared by all processes, one within a process.

Owns table rate_limits. Windows are fixed and begin with the first request in them, in real time;
so the pause that a refusal names is exact: after it the next request passes. A refused request
is not counted and never lengthens the window.
"""

from __future__ import annotations

import math
import time
from typing import Protocol

from bursar import errors
from bursar.db import Connection

# One statement: the row's lock lets parallel requests in one by one. The count stops one above
# the limit, which is how a refusal is told from the last request that was let in. The statement's
# own time comes in as excluded.window_start, so both columns judge by the same instant.
TAKE = """
insert into rate_limits as r (scope, subject, window_start, count)
values ($1, $2, statement_timestamp(), 1)
on conflict (scope, subject) do update set
    window_start = case when r.window_start + make_interval(secs => $4) <= excluded.window_start
        then excluded.window_start else r.window_start end,
    count = case when r.window_start + make_interval(secs => $4) <= excluded.window_start
        then 1 else least(r.count, $3) + 1 end
returning count, extract(epoch from
    window_start + make_interval(secs => $4) - clock_timestamp())::float8 as left_seconds
"""

FORGET = "delete from rate_limits where window_start < now() - make_interval(secs => $1)"
FORGET_SECONDS = 2 * 24 * 3600.0

SUBJECTS_MAX = 20_000


class Rate(Protocol):
    """So many requests (`count`) in so many `seconds`."""

    @property
    def count(self) -> int: ...

    @property
    def seconds(self) -> float: ...


def _refuse(left_seconds: float) -> errors.Throttled:
    pause = max(1, math.ceil(left_seconds))
    return errors.Throttled(
        f"Too many requests. Try again in {pause} second{'' if pause == 1 else 's'}.",
        retry_after_seconds=pause,
    )


async def take(conn: Connection, scope: str, subject: str, limit: Rate | None) -> None:
    """Count a request of `subject`; None means that the limit is off.

    Call it outside of a transaction that may be undone, or the count is undone with it.
    Raises errors.Throttled with the whole seconds until the window ends.
    """
    if limit is None:
        return
    row = await conn.fetchrow(TAKE, scope, subject, limit.count, float(limit.seconds))
    if row is not None and row["count"] > limit.count:
        raise _refuse(row["left_seconds"])


async def forget_ended(conn: Connection, *, seconds: float = FORGET_SECONDS) -> None:
    """Delete counts whose window began so long ago; for windows shorter than that."""
    await conn.execute(FORGET, seconds)


class ProcessLimit:
    """The same kind of window, counted in this process alone, with bounded memory.

    It guards the machine, not money: with several processes each has its own count, and when
    more than `capacity` subjects come in one window the oldest is forgotten.
    """

    def __init__(self, limit: Rate | None, *, capacity: int = SUBJECTS_MAX) -> None:
        self._limit = limit
        self._capacity = capacity
        self._windows: dict[object, list[float]] = {}

    def take(self, subject: object) -> None:
        """Count a request of `subject`. Raises errors.Throttled."""
        if self._limit is None:
            return
        now = time.monotonic()
        window = self._windows.get(subject)
        if window is None or window[0] <= now:
            # Taken out first, so that the dict stays in the order in which windows end.
            self._windows.pop(subject, None)
            self._drop(now)
            self._windows[subject] = [now + self._limit.seconds, 1]
        elif window[1] >= self._limit.count:
            raise _refuse(window[0] - now)
        else:
            window[1] += 1

    def _drop(self, now: float) -> None:
        """Drop the windows that ended, and one that did not when there is no room."""
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest][0] > now and len(self._windows) < self._capacity:
                return
            del self._windows[oldest]

    def __len__(self) -> int:
        return len(self._windows)
