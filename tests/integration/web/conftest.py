"""Fixtures of the pages' tests: a shop where nobody sells, and one that sells by the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plan_pages import PlanShop, sell_plans
from web_shop import Shop, shop_at


@pytest.fixture
def bare_shop(database_url: str) -> Iterator[Shop]:
    """A shop with an empty catalogue, whose provider never answers."""
    with shop_at(database_url) as shop:
        yield shop


@pytest.fixture(scope="session")
def provider() -> Iterator[Sandbox]:
    """The session's sandbox."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def shop(database_url: str, provider: Sandbox, tmp_path: Path) -> Iterator[Shop]:
    """A shop that sells the usual catalogue at the sandbox."""
    with shop_at(
        database_url, stripe_api_base=provider.base_url, sandbox=True, limit_checkout="off"
    ) as shop:
        shop.sell(tmp_path)
        yield shop


@pytest.fixture(scope="module")
def plan_provider() -> Iterator[Sandbox]:
    """A sandbox whose clock may be moved."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def plans(database_url: str, plan_provider: Sandbox, tmp_path: Path) -> Iterator[PlanShop]:
    """A shop that sells plans."""
    with shop_at(
        database_url, stripe_api_base=plan_provider.base_url, sandbox=True, limit_checkout="off"
    ) as shop:
        sell_plans(shop, tmp_path)
        yield PlanShop(shop, plan_provider)
    if control_client.ahead(plan_provider.base_url):
        control_client.reset(plan_provider.base_url)
