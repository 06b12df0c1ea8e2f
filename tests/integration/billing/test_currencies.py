"""Several currencies: with no, two and three decimals, chosen by request, country or default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing import catalog, catalog_file
from bursar_sandbox.running import Sandbox
from selling_world import buy_from, selling
from worlds import World

CATALOG = """
[units.credit]
name = "Credits"
per_minor = { usd = "1", jpy = "0.7", kwd = "0.33" }

[units.page]
name = "Pages"

[packs.starter]
name = "Starter"
unit = "page"
credits = 7
prices = { usd = 500, jpy = 777, kwd = 1550 }

[packs.local]
name = "Local"
unit = "page"
credits = 7
prices = { kwd = 1550 }
"""


@pytest.fixture
async def world(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A shop with prices in three currencies."""
    async with selling(sandbox, database_url, tmp_path, CATALOG) as here:
        yield here


@pytest.mark.parametrize(
    ("currency", "total", "reduced"),
    [
        ("usd", 1500, 1275),
        # 15 % of ¥2,331 is 349.65, of 4.650 dinars it is 0.6975, and the last decimal stays 0.
        ("jpy", 2331, 1981),
        ("kwd", 4650, 3950),
    ],
)
@pytest.mark.parametrize("with_coupon", [False, True])
async def test_totals_are_right_to_the_minor_unit(
    world: World, currency: str, total: int, reduced: int, with_coupon: bool
) -> None:
    wanted: dict[str, Any] = {"package": "starter", "currency": currency, "quantity": 3}
    if with_coupon:
        coupon = world.stripe.v1.coupons.create({"percent_off": 15, "duration": "once"})
        wanted["coupon"] = coupon.id
    payment = await world.open_checkout(**wanted)
    due = reduced if with_coupon else total
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    assert (payment.amount_minor, session.amount_total, session.currency) == (due, due, currency)
    after = await buy_from(world, payment, "KW")
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", due, None)
    assert await world.balance(after.customer_id) == 21


@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
async def test_the_provider_is_told_to_show_no_other_currency_than_the_one_asked_for(
    world: World, capture_method: str
) -> None:
    payment = await world.open_checkout(
        package="starter", currency="jpy", capture_method=capture_method
    )
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    assert session.adaptive_pricing is not None
    assert not session.adaptive_pricing.enabled


async def test_a_free_amount_is_bought_at_its_currencys_rate(world: World) -> None:
    payment = await world.open_checkout(amount_minor=999, currency="jpy")
    assert (await buy_from(world, payment, "JP")).status == "completed"
    # 999 × 0.7 are 699.3 credits, rounded down.
    assert await world.balance(payment.customer_id, "credit") == 699


@pytest.mark.parametrize(
    ("asked", "usual", "chosen"),
    [
        ("jpy", "kwd", "jpy"),
        (None, "kwd", "kwd"),
        (None, "jpy", "jpy"),
        (None, "chf", "usd"),
        (None, None, "usd"),
    ],
)
async def test_a_currency_is_chosen_by_request_then_country_then_default(
    world: World, asked: str | None, usual: str | None, chosen: str
) -> None:
    payment = await world.open_checkout(package="starter", currency=asked, usual_currency=usual)
    assert payment.currency == chosen
    async with world.wiring.db.connection() as conn:
        listed = await catalog.list_packs(conn, "stripe", currency=asked, usual=usual)
    assert {pack.key: pack.currency for pack in listed}["starter"] == chosen


async def test_what_is_sold_in_one_currency_only_is_shown_in_that(world: World) -> None:
    async with world.wiring.db.connection() as conn:
        listed = await catalog.list_packs(conn, "stripe", usual="jpy")
        assert await catalog.list_currencies(conn, "stripe") == ["usd", "jpy", "kwd"]
    assert {pack.key: pack.currency for pack in listed} == {"starter": "jpy", "local": "kwd"}
    with pytest.raises(errors.CurrencyNotSold):
        await world.open_checkout(package="local", currency="usd")


def test_a_price_whose_third_decimal_is_not_0_is_refused_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG.replace("kwd = 1550", "kwd = 1555"), encoding="utf-8")
    with pytest.raises(errors.CatalogInvalid, match="write 1550 or 1560"):
        catalog_file.read(path)
