"""A simulated year of subscriptions: fourteen customers, of twelve kinds, under the sandbox's clock.

Each seed is one script of acts. In peace all is as the model says after each act and each renewal.
In a storm, where messages are lost, late, doubled and out of order, all is so in the end.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from postgres import Postgres
from selling_world import selling
from simulation.subscription_year.catalogue import CATALOG
from simulation.subscription_year.script import Script, Stop
from simulation.subscription_year.shop import Shop
from simulation.subscription_year.weather import Peace, Storm

SEEDS = int(os.environ.get("BURSAR_YEAR_SEEDS", "10"))
PARTS = 5
DRAFTED = timedelta(minutes=30)


async def in_peace(shop: Shop, script: Script) -> None:
    """Everything is told once and in order, and is right after each step."""
    for stop in script.stops:
        await shop.wait(stop.at)
        await shop.expect(stop)
        for act in stop.acts:
            await shop.act(act)
            if act.kind == "use":
                continue
            await shop.subscribers.hear()
            await shop.expect(stop)


async def in_a_storm(shop: Shop, script: Script, chance: random.Random) -> None:
    """What is told comes as it may; here and there somebody looks while invoices are drafts."""
    for stop in script.stops:
        if chance.random() < 0.2:
            await shop.wait(stop.at - timedelta(hours=5, minutes=30))
        await shop.wait(stop.at)
        for act in stop.acts:
            await shop.act(act)
        await shop.subscribers.hear()
    await shop.expect()


async def live(sandbox: Sandbox, url: str, folder: Path, seed: int, *, peaceful: bool) -> None:
    """One year of a seed, from an empty sandbox and an empty database."""
    control_client.reset(sandbox.base_url)
    script = Script(seed, datetime.now(UTC))
    wanted = {"duplicate_subscriptions": "cancel"}
    async with selling(sandbox, url, folder, CATALOG, **wanted) as world:
        chance = random.Random(-seed)  # noqa: S311
        subscribers = Peace(world) if peaceful else Storm(world, chance=chance)
        shop = Shop(subscribers, folder)
        await shop.begin()
        if peaceful:
            await in_peace(shop, script)
        else:
            await in_a_storm(shop, script, chance)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, 1 + SEEDS))
@pytest.mark.parametrize("peaceful", [True, False], ids=["peace", "storm"])
async def test_year(sandbox: Sandbox, database_url: str, tmp_path: Path, seed: int, peaceful: bool) -> None:
    await live(sandbox, database_url, tmp_path, seed, peaceful=peaceful)
