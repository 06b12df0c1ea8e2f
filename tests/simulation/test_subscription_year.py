"""A simulated year of subscriptions in peace: customers of twelve kinds under the sandbox's clock.

Each seed is one script of acts, and a model in plain Python says what is right after each act and
each renewal: subscriptions, invoices, payments, credits, debts, features, open cases.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bursar_sandbox.running import Sandbox
from simulation.subscription_year.lives import SEEDS, live


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 1 + SEEDS, 4))
async def test_year_is_right_at_each_step(
    sandbox: Sandbox, database_url: str, tmp_path: Path, seed: int
) -> None:
    await live(sandbox, database_url, tmp_path, seed, peaceful=True)
