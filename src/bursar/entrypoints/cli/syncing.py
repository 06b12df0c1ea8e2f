"""`bursar sync`: reads the catalogue as the provider has it into the mirror."""

from __future__ import annotations

from typing import Annotated

import typer

from bursar import config
from bursar.billing import mirror
from bursar.entrypoints.cli.demo.kept import demo_settings
from bursar.entrypoints.cli.opening import with_wiring
from bursar.entrypoints.cli.output import AsJson, print_json
from bursar.wiring import Wiring


def run(
    provider: Annotated[str, typer.Option(help="The payment provider.")] = "stripe",
    as_json: AsJson = False,
) -> None:
    """Read products, prices and coupons from the provider."""

    async def act(wiring: Wiring) -> int:
        return await mirror.fill(wiring.db, wiring.provider(provider))

    read = with_wiring(demo_settings(config.read()), act)
    if as_json:
        print_json({"read": read})
    else:
        print(f"read {read} products, prices, coupons and codes from {provider}")
