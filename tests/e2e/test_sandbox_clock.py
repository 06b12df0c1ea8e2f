"""Business time in sandbox mode: every process follows the sandbox's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bursar import config
from bursar.billing import catalog_file, catalog_push
from bursar.clock import ShiftedClock, SystemClock
from bursar.db.deployment import clock_ahead, set_clock_ahead
from bursar.entrypoints import sandbox_clock
from bursar.wiring import Wiring, opened
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from library_host import make_library
from worlds import ROOT, World, eventually, free_port, serving, settings_for, stripe_client

DAY_SECONDS = 24 * 3600


@pytest.fixture
async def alone(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """A world whose sandbox is nobody else's: its clock is moved here."""
    with Sandbox(home=tmp_path) as sandbox:
        settings = settings_for(sandbox, database_url, port=free_port())
        async with opened(settings) as wiring:
            wanted = catalog_file.read(ROOT / "catalog.toml")
            stripe = wiring.provider("stripe")
            await catalog_push.push(wiring.db, stripe, wanted, clock=wiring.clock)
            world = World(wiring, sandbox, stripe_client(sandbox))
            yield world
            await world.assert_audit_clean()


async def kept(wiring: Wiring) -> float:
    async with wiring.db.connection() as conn:
        return await clock_ahead(conn)


@pytest.mark.parametrize("with_worker", [True, False])
async def test_a_timer_falls_due_in_a_real_server_when_the_clock_is_moved(
    alone: World, with_worker: bool
) -> None:
    # No webhook comes: that the session ended is found out by the timer alone.
    payment = await alone.open_checkout()

    async def expired() -> bool:
        return (await alone.payment(payment)).status == "expired"

    with serving(alone.settings, with_worker=with_worker):
        control_client.advance_clock(alone.sandbox.base_url, 31 * DAY_SECONDS)

        async def moved() -> bool:
            return await kept(alone.wiring) == 31 * DAY_SECONDS

        await eventually(moved)
        if with_worker:
            await eventually(expired)
        else:
            await asyncio.sleep(0.5)
            assert not await expired()


async def test_a_process_starts_where_the_clock_was_left_and_keeps_it_without_the_sandbox(
    alone: World,
) -> None:
    async with alone.wiring.db.transaction() as conn:
        await set_clock_ahead(conn, 9 * DAY_SECONDS)
    away = alone.settings.model_copy(update={"stripe_api_base": "http://127.0.0.1:9"})
    async with opened(away) as wiring:
        stop = asyncio.Event()
        following = asyncio.create_task(sandbox_clock.follow(wiring, stop=stop))
        await asyncio.sleep(0.3)
        ahead = wiring.clock.now() - datetime.now(UTC)
        assert abs(ahead - timedelta(days=9)) < timedelta(minutes=1)
        stop.set()
        await following
    assert await kept(alone.wiring) == 9 * DAY_SECONDS


async def test_a_fresh_sandbox_turns_the_clock_back(alone: World) -> None:
    control_client.advance_clock(alone.sandbox.base_url, DAY_SECONDS)
    library = make_library(alone)
    async with library.lifespan():

        async def ahead() -> bool:
            return await kept(alone.wiring) == DAY_SECONDS

        await eventually(ahead)
        control_client.reset(alone.sandbox.base_url)

        async def back() -> bool:
            return await kept(alone.wiring) == 0

        await eventually(back)


async def test_the_library_lives_in_the_sandboxs_time(alone: World) -> None:
    payment = await alone.open_checkout()
    library = make_library(alone)
    async with library.lifespan():
        control_client.advance_clock(alone.sandbox.base_url, 31 * DAY_SECONDS)

        async def expired() -> bool:
            return (await alone.payment(payment)).status == "expired"

        await eventually(expired)


async def test_in_test_mode_time_is_the_machines_and_nobody_is_asked(database_url: str) -> None:
    settings = config.read(None, database_url=database_url)
    async with opened(settings) as wiring:
        assert isinstance(wiring.clock, SystemClock)
        async with wiring.db.transaction() as conn:
            await set_clock_ahead(conn, 5.0)
        # It would run until told to stop if it followed anything.
        await sandbox_clock.follow(wiring, stop=asyncio.Event())
    async with opened(settings) as wiring:
        assert isinstance(wiring.clock, SystemClock)
        assert not isinstance(wiring.clock, ShiftedClock)
