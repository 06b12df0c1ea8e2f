"""Automatic tax at checkout: in the price or on top of it, with and without a coupon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bursar.billing import cases
from bursar.billing.payments import Payment
from bursar_sandbox.running import Sandbox
from selling_world import buy_from, selling
from worlds import World

CATALOG = """
tax = "exclusive"

[units.credit]
name = "Credits"
per_minor = { usd = "1", eur = "1" }

[units.page]
name = "Pages"

[packs.top]
name = "On top"
unit = "page"
credits = 30
prices = { usd = 1999, eur = 1999, jpy = 1999, kwd = 1990 }

[packs.inside]
name = "Inside"
unit = "page"
credits = 30
prices = { usd = 1999, eur = 1999, jpy = 1999, kwd = 1990 }
tax = "inclusive"
"""


@pytest.fixture
async def taxed(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A shop that has its provider reckon the tax."""
    async with selling(sandbox, database_url, tmp_path, CATALOG, automatic_tax=True) as world:
        yield world


async def nothing_to_look_at(world: World, payment: Payment) -> bool:
    async with world.wiring.db.connection() as conn:
        return await cases.list_cases(conn) == [] and payment.mismatch is None


@pytest.mark.parametrize(
    ("package", "currency", "country", "total"),
    [
        # 19 % of 19.99 is 3.7981; 10 % of ¥1,999 is 199.9; 1.990 dinars are not taxed in Kuwait.
        ("top", "eur", "DE", 2379),
        ("inside", "eur", "DE", 1999),
        ("top", "jpy", "JP", 2199),
        ("inside", "jpy", "JP", 1999),
        ("top", "kwd", "KW", 1990),
        ("top", "usd", "GB", 2399),
        ("inside", "usd", "GB", 1999),
    ],
)
async def test_tax_is_paid_and_the_credits_are_those_of_the_order(
    taxed: World, package: str, currency: str, country: str, total: int
) -> None:
    payment = await taxed.open_checkout(package=package, currency=currency)
    after = await buy_from(taxed, payment, country)
    assert (after.status, after.captured_minor) == ("completed", total)
    assert await nothing_to_look_at(taxed, after)
    assert await taxed.balance(after.customer_id) == 30


@pytest.mark.parametrize(
    ("package", "country", "total"),
    [
        # 15 % off 19.99 leaves 16.99; 19 % of that are 3.2281.
        ("top", "DE", 2022),
        ("inside", "DE", 1699),
    ],
)
@pytest.mark.parametrize("way", ["api", "typed"])
async def test_a_coupon_is_taken_off_before_the_tax(
    taxed: World, package: str, country: str, total: int, way: str
) -> None:
    v1 = taxed.stripe.v1
    coupon = v1.coupons.create({"percent_off": 15, "duration": "once"})
    page: dict[str, Any] = {}
    wanted: dict[str, Any] = {"package": package, "currency": "eur"}
    if way == "api":
        wanted["coupon"] = coupon.id
    else:
        promotion = v1.promotion_codes.create(
            {"promotion": {"type": "coupon", "coupon": coupon.id}}
        )
        page["promotion_code"] = promotion.code
    after = await buy_from(taxed, await taxed.open_checkout(**wanted), country, **page)
    assert (after.status, after.captured_minor) == ("completed", total)
    assert await nothing_to_look_at(taxed, after)
    assert await taxed.balance(after.customer_id) == 30


async def test_a_free_amount_is_taxed_as_the_catalogue_says(taxed: World) -> None:
    payment = await taxed.open_checkout(amount_minor=1000, currency="eur")
    after = await buy_from(taxed, payment, "DE")
    assert (after.captured_minor, after.mismatch) == (1190, None)
    assert await taxed.balance(after.customer_id, "credit") == 1000


async def test_a_price_that_says_nothing_of_tax_goes_by_its_currency(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    # Under a name of its own: what a price at the provider says of tax is not taken back.
    silent = CATALOG.replace('tax = "exclusive"', "", 1).replace("packs.top", "packs.silent")
    async with selling(sandbox, database_url, tmp_path, silent, automatic_tax=True) as world:
        for currency, total in (("eur", 1999), ("usd", 2379)):
            payment = await world.open_checkout(package="silent", currency=currency)
            after = await buy_from(world, payment, "DE")
            assert (after.captured_minor, after.mismatch) == (total, None)


async def test_another_tax_behaviour_is_another_price(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    async with selling(sandbox, database_url, tmp_path, CATALOG) as world:
        first = await world.open_checkout(package="top", currency="eur")
    changed = CATALOG.replace('tax = "exclusive"', 'tax = "inclusive"')
    async with selling(sandbox, database_url, tmp_path, changed) as world:
        second = await world.open_checkout(package="top", currency="eur")
        prices = [p.request["lines"][0]["price_id"] for p in (first, second)]
        behaviors = [world.stripe.v1.prices.retrieve(p).tax_behavior for p in prices]
    assert behaviors == ["exclusive", "inclusive"]
