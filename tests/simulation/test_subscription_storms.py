"""A simulated year of subscriptions in a storm: messages are lost, late, doubled, out of order.

The scripts are those of the year in peace, and so is the model. All that it says of the end is so
in the end, whatever the weather was: every storm of a script ends as its peace does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bursar_sandbox.running import Sandbox
from simulation.subscription_year.lives import SEEDS, live


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 1 + SEEDS))
async def test_year_of_lost_and_late_messages_ends_as_in_peace(
    sandbox: Sandbox, database_url: str, tmp_path: Path, seed: int
) -> None:
    await live(sandbox, database_url, tmp_path, seed, peaceful=False)
