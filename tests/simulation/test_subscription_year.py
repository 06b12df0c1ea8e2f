"""A simulated year of subscriptions: customers of twelve kinds under the sandbox's clock.

Each seed is one script of acts, and a model in plain Python says what is right. In peace all is so
after each act and each renewal. In a storm, where messages are lost, late, doubled and out of
order, all is so in the end. So all storms of a script end as its peace does.
"""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from selling_world import selling
from simulation.subscription_year.catalogue import CATALOG
from simulation.subscription_year.script import Script
from simulation.subscription_year.shop import Shop
from simulation.subscription_year.weather import Peace, Storm

SEEDS = int(os.environ.get("BURSAR_SIMULATION_SEEDS", "12"))
PEACEFUL = range(1, 1 + SEEDS, 4)
EARLY = timedelta(hours=5, minutes=30)
"""So long before a stop after renewals their invoices are drafts."""


@pytest.fixture(autouse=True)
def quick_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library below the provider's looks for this module at each request; to find that there
    is none takes a tenth of the year."""
    monkeypatch.setitem(sys.modules, "sniffio", None)


async def in_peace(shop: Shop, script: Script) -> None:
    """Everything is told once and in order, and is right after each step."""
    for stop in script.stops:
        await shop.wait(stop.at)
        await shop.expect(stop)
        for act in stop.acts:
            await shop.act(act)
            if act.kind != "use":
                await shop.subscribers.hear()
                await shop.expect(stop)


async def in_a_storm(shop: Shop, script: Script, chance: random.Random) -> None:
    """What is told comes as it may; here and there somebody looks while invoices are drafts."""
    for stop in script.stops:
        if chance.random() < 0.2:
            await shop.wait(stop.at - EARLY)
        await shop.wait(stop.at)
        for act in stop.acts:
            await shop.act(act)
        await shop.subscribers.hear()
    await shop.expect()


async def live(sandbox: Sandbox, url: str, folder: Path, seed: int, *, peaceful: bool) -> None:
    """One year of a seed, from an empty sandbox and an empty database to a clean audit."""
    control_client.reset(sandbox.base_url)
    script, chance = Script(seed, datetime.now(UTC)), random.Random(-seed)  # noqa: S311
    async with selling(sandbox, url, folder, CATALOG, duplicate_subscriptions="cancel") as world:
        subscribers = Peace(world) if peaceful else Storm(world, chance=chance)
        shop = Shop(subscribers, folder)
        try:
            await shop.begin()
            if peaceful:
                await in_peace(shop, script)
            else:
                await in_a_storm(shop, script, chance)
        finally:
            await subscribers.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", PEACEFUL)
async def test_year_in_peace_is_right_at_each_step(
    sandbox: Sandbox, database_url: str, tmp_path: Path, seed: int
) -> None:
    await live(sandbox, database_url, tmp_path, seed, peaceful=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 1 + SEEDS))
async def test_year_of_lost_and_late_messages_ends_as_in_peace(
    sandbox: Sandbox, database_url: str, tmp_path: Path, seed: int
) -> None:
    await live(sandbox, database_url, tmp_path, seed, peaceful=False)
