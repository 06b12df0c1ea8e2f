"""What this database is for: the one row of table `deployment`.

Owns that row and alone writes it. It never decides the mode: settings do, and this refuses a
database that served another one, so that a test key can't move money of the live books.
"""

from __future__ import annotations

from bursar import errors
from bursar.db.connections import Connection

MODES = ("sandbox", "test", "live")


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
    recorded = await conn.fetchval("select mode from deployment")
    if recorded != mode:
        raise errors.ModeMismatch(
            f"This database belongs to {recorded} mode, and the settings say {mode}. "
            f"Use a database of its own for {mode} mode, or the keys of {recorded} mode."
        )


async def find_mode(conn: Connection) -> str | None:
    """Return the recorded mode, or None before the first start."""
    mode: str | None = await conn.fetchval("select mode from deployment")
    return mode
