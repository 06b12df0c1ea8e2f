"""Business time in sandbox mode: it follows the sandbox's clock, asked for over HTTP.

Every process that knows the time follows: server, worker, library. Signatures and leases stay in
real time, and in test and live mode nothing of this runs. It never moves the sandbox's clock.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx2
import structlog

from bursar import errors
from bursar.clock import ShiftedClock
from bursar.db.deployment import set_clock_ahead
from bursar.entrypoints.loops import pause
from bursar.wiring import Wiring

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
AHEAD_SECONDS_MAX = 200 * 366 * 24 * 3600.0

log = structlog.get_logger("bursar.clock")


async def follow(wiring: Wiring, *, stop: asyncio.Event) -> None:
    """Follow the sandbox's clock until `stop` is set. While it is away its last word stands."""
    clock = wiring.clock
    if wiring.settings.mode != "sandbox" or not isinstance(clock, ShiftedClock):
        return
    base = wiring.settings.stripe_base
    async with httpx2.AsyncClient(base_url=base, timeout=ANSWER_SECONDS) as http:
        told: float | None = None
        while not stop.is_set():
            ahead = await _ask(http)
            if ahead is not None and ahead != told:
                clock.offset = timedelta(seconds=ahead)
                told = await _keep(wiring, ahead)
            await pause(stop, LOOK_SECONDS)


async def _ask(http: httpx2.AsyncClient) -> float | None:
    """How many seconds the sandbox is ahead; None when it does not say."""
    try:
        answer = await http.get("/_sandbox/clock")
        ahead = float(answer.json()["offset"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return None
    return ahead if answer.status_code == 200 and abs(ahead) <= AHEAD_SECONDS_MAX else None


async def _keep(wiring: Wiring, ahead: float) -> float | None:
    """Write the offset down; None when the database did not take it, so that it is tried again."""
    try:
        async with wiring.db.transaction() as conn:
            await set_clock_ahead(conn, ahead)
    except errors.Unavailable as error:
        log.warning("clock not kept", reason=error.detail)
        return None
    return ahead
