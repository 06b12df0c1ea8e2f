"""When billing periods begin and end: Stripe's arithmetic of anchors, months and years. All pure.

Times are seconds since 1970, in UTC. A month that lacks the anchor's day ends the period on its
last day, and the next month goes back to the anchor's day: 31 January, 28 February, 31 March.
"""

from __future__ import annotations

import calendar
import datetime
from typing import Any

DAY = 24 * 3600
_FIXED = {"day": DAY, "week": 7 * DAY}
_MONTHS = {"month": 1, "year": 12}
_SHORTEST = {"day": DAY, "week": 7 * DAY, "month": 28 * DAY, "year": 365 * DAY}


def later(at: int, interval: str, count: int) -> int:
    """The time that many intervals after `at`; before it for a negative `count`."""
    if interval in _FIXED:
        return at + _FIXED[interval] * count
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    months = moment.year * 12 + moment.month - 1 + _MONTHS[interval] * count
    year, month = divmod(months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def end_after(anchor: int, interval: str, count: int, at: int) -> int:
    """The first end of a period after `at`, where one ends at `anchor`, before or after `at`."""
    step = _SHORTEST[interval] * count
    # No interval is shorter than its step, so this many whole ones are at least enough to pass it.
    times = (at - anchor) // step + 1
    while later(anchor, interval, (times - 1) * count) > at:
        times -= 1
    return later(anchor, interval, times * count)


def end_of(price: dict[str, Any], anchor: int, at: int) -> int:
    """When the period of a recurring price that runs at `at` ends."""
    recurring = price["recurring"]
    return end_after(anchor, recurring["interval"], recurring["interval_count"], at)
