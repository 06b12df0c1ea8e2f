"""A year of one seed, from an empty sandbox and an empty database to a clean audit."""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from selling_world import selling
from simulation.subscription_year.catalogue import CATALOG
from simulation.subscription_year.script import Script
from simulation.subscription_year.shop import Shop
from simulation.subscription_year.weather import Peace, Storm

SEEDS = int(os.environ.get("BURSAR_SIMULATION_SEEDS", "20"))
EARLY = timedelta(hours=5, minutes=30)
"""So long before a stop after renewals their invoices are drafts."""


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
    """Let a seed's year pass; raises AssertionError where something is not as it should be."""
    control_client.reset(sandbox.base_url)
    # The library below the provider looks for the module sniffio at each request; to find that
    # there is none takes a tenth of the year.
    script, chance = Script(seed, datetime.now(UTC)), random.Random(-seed)  # noqa: S311
    async with selling(sandbox, url, folder, CATALOG, duplicate_subscriptions="cancel") as world:
        subscribers = Peace(world) if peaceful else Storm(world, chance=chance)
        shop = Shop(subscribers, folder)
        try:
            with mock.patch.dict(sys.modules, sniffio=None):
                await shop.begin()
                if peaceful:
                    await in_peace(shop, script)
                else:
                    await in_a_storm(shop, script, chance)
        finally:
            await subscribers.close()
