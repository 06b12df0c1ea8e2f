"""What this database is for, and how far its clock of business runs ahead: one row of table
`deployment`, one of `business_clock`.

Owns both rows and alone writes them. It never decides the mode: settings do, and this refuses a
database that served another one, so that a test key can't move money of the live books.
"""

from __future__ import annotations

from bursar import errors
from bursar.db.connections import Connection

MODES = ("sandbox", "test", "live")
SETTINGS_OF = {
    "sandbox": "BURSAR_SANDBOX=1 with a test key",
    "test": "a test key (sk_test_…) without BURSAR_SANDBOX",
    "live": "the live key (sk_live_…)",
}
"""What to set to work in each mode."""


async def claim_mode(conn: Connection, mode: str) -> None:
    """Record `mode` (sandbox, test or live) at the first start; hold later starts to it.

    Raises errors.ModeMismatch when the database belongs to another mode.
    """
    if mode not in MODES:
        raise errors.Misconfigured(f"The mode {mode!r} is none of {', '.join(MODES)}.")
    await conn.execute(
        "insert into deployment (mode) values ($1) on conflict (one) do nothing", mode
    )
    # A rival's insert is committed by now: the conflict above waited for it.
    await check_mode(conn, mode)


async def check_mode(conn: Connection, mode: str) -> None:
    """Raise errors.ModeMismatch when the database belongs to another mode; record nothing."""
    recorded = await find_mode(conn)
    if recorded not in (None, mode):
        raise errors.ModeMismatch(
            f"This database belongs to {recorded} mode, and the settings say {mode}. "
            f"Use a database of its own for {mode} mode, or {SETTINGS_OF[recorded]}. If nothing "
            "in it is worth keeping, drop the database and make it anew."
        )


async def find_mode(conn: Connection) -> str | None:
    """Return the recorded mode, or None before the first start."""
    mode: str | None = await conn.fetchval("select mode from deployment")
    return mode


async def clock_ahead(conn: Connection) -> float:
    """How many seconds business time is ahead of the machine's: 0 but in a sandbox."""
    seconds: float = await conn.fetchval("select ahead_seconds from business_clock")
    return seconds


async def set_clock_ahead(conn: Connection, seconds: float) -> None:
    """Keep how far the sandbox's clock is ahead, for SQL functions and for the next start."""
    await conn.execute(
        "update business_clock set ahead_seconds = $1 where ahead_seconds <> $1", seconds
    )
