"""Days and rhythms in words: "5 Dec 2026", "a month", "every 3 months".

Owns their spelling on the sandbox's pages. All pure.
"""

from __future__ import annotations

import time

from bursar_sandbox.stripe.pages.amounts import format_amount


def day_of(moment: int) -> str:
    """Seconds since 1970 as a day, in UTC: `5 Dec 2026`."""
    day = time.gmtime(moment)
    return f"{day.tm_mday} {time.strftime('%b %Y', day)}"


def each(interval: str, count: int) -> str:
    """How often something recurs, behind an amount: `a month`, `every 3 months`."""
    return f"a {interval}" if count == 1 else f"every {count} {interval}s"


def count_of(number: int, word: str) -> str:
    """`1 day`, `14 days`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def price_words(price: dict[str, object], currency: str, quantity: int = 1) -> str:
    """A recurring price in words: `$15.00 a month`, and `3 × $15.00 a month` for several."""
    unit, recurring = price.get("unit_amount"), price.get("recurring")
    if not isinstance(unit, int) or not isinstance(recurring, dict):
        return "a price of its own"
    rhythm = each(recurring["interval"], recurring["interval_count"])
    amount = f"{format_amount(unit, currency)} {rhythm}"
    return amount if quantity == 1 else f"{quantity:,} × {amount}"
