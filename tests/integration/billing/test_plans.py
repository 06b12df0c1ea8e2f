"""Plans and features in catalog.toml: read, refused with their place, pushed with their words."""

from __future__ import annotations

from pathlib import Path

import pytest

from bursar import errors
from bursar.billing import catalog, catalog_file, catalog_plans, catalog_push
from bursar.billing.catalog_plans import Plan
from bursar.billing.catalog_push import Pushed
from bursar.billing.rights import Right
from worlds import World

PLAN = """
[units.sheet]
name = "Sheets"
decimals = 2

[plans.pages-basic]
name = "Basic"
unit = "sheet"
credits = 20
features = ["history"]
limits = { exports = 100, api_calls = { count = 1000, per = "month" } }
prices = { month = { usd = 1500, eur = 1400 }, year = { usd = 15000 } }
trial_days = 14
group = "pages"
"""
PACK = """
[packs.pro]
name = "Pro"
unit = "sheet"
credits = 30
prices = { usd = 2000 }
"""


async def push(world: World, text: str, folder: Path) -> Pushed:
    file = folder / "catalog.toml"
    file.write_text(text)
    wanted, wiring = catalog_file.read(file), world.wiring
    return await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)


async def plans(world: World) -> list[Plan]:
    async with world.wiring.db.connection() as conn:
        return await catalog_plans.list_plans(conn, "stripe")


def costs(plan: Plan) -> list[tuple[str, str, int]]:
    return [(price.interval, price.currency, price.amount_minor) for price in plan.prices]


async def test_the_plans_that_the_product_promises_are_sold(world: World) -> None:
    sold = {plan.key: plan for plan in await plans(world)}
    assert {key: costs(plan) for key, plan in sold.items()} == {
        "starter": [("month", "usd", 900), ("year", "usd", 9000)],
        "pro": [("month", "usd", 2900), ("year", "usd", 29000)],
        "pages-basic": [("month", "usd", 1500)],
        "pages-pro": [("month", "usd", 3000)],
        "pages-team": [("month", "usd", 9900)],
    }
    assert [sold[key].credits for key in ("pages-basic", "pages-pro", "pages-team")] == [
        20,
        50,
        200,
    ]
    assert [sold[key].trial_days for key in ("starter", "pro", "pages-pro")] == [14, 14, None]
    assert sold["pages-basic"].rights == (Right("history"),)
    assert sold["pages-pro"].rights == (Right("history"), Right("priority"))
    assert Right("seats") in sold["pages-team"].rights


async def test_a_plan_keeps_every_word_of_the_file(world: World, tmp_path: Path) -> None:
    pushed = await push(world, PLAN, tmp_path)
    # The sandbox outlives a test, so some of them may be there already.
    assert {*pushed.created, *pushed.unchanged} == {
        "bursar_plan_pages-basic_month_eur",
        "bursar_plan_pages-basic_month_usd",
        "bursar_plan_pages-basic_year_usd",
    }
    [plan] = await plans(world)
    assert costs(plan) == [("month", "eur", 1400), ("month", "usd", 1500), ("year", "usd", 15000)]
    assert (plan.unit, plan.credits, plan.trial_days, plan.group) == ("sheet", 2000, 14, "pages")
    assert plan.rights == (
        Right("history"),
        Right("exports", 100),
        Right("api_calls", 1000, "month"),
    )
    again = await push(world, PLAN, tmp_path)
    assert (again.created, again.archived, len(again.unchanged)) == ([], [], 3)


async def test_the_provider_is_told_key_features_and_limits(world: World, tmp_path: Path) -> None:
    await push(world, PLAN, tmp_path)
    [plan] = await plans(world)
    product = world.stripe.v1.products.retrieve("bursar_plan_pages-basic").to_dict()
    told = {name: text for name, text in product["metadata"].items() if name.startswith("bursar")}
    assert told == {
        "bursar_kind": "plan",
        "bursar_key": "pages-basic",
        "bursar_features": "history",
        "bursar_limits": "exports=100,api_calls=1000/month",
    }
    recurring = {
        price.interval: world.stripe.v1.prices.retrieve(price.provider_price_id).to_dict()[
            "recurring"
        ]["interval"]
        for price in plan.prices
    }
    assert recurring == {"month": "month", "year": "year"}
    # What is no feature any more is no word there any more.
    await push(world, PLAN.replace('["history"]', "[]"), tmp_path)
    product = world.stripe.v1.products.retrieve("bursar_plan_pages-basic").to_dict()
    assert "bursar_features" not in product["metadata"]


async def test_a_changed_price_of_a_plan_is_a_new_one_and_the_others_stay(
    world: World, tmp_path: Path
) -> None:
    await push(world, PLAN, tmp_path)
    [before] = await plans(world)
    changed = await push(
        world, PLAN.replace("month = { usd = 1500", "month = { usd = 1700"), tmp_path
    )
    [after] = await plans(world)
    old = {price for price in before.prices if price.amount_minor == 1500}
    assert changed.created == ["bursar_plan_pages-basic_month_usd"]
    assert changed.archived == [price.provider_price_id for price in old]
    assert set(before.prices) - set(after.prices) == old
    # Whoever runs on the old one keeps it: it is only off sale.
    [price] = old
    assert world.stripe.v1.prices.retrieve(price.provider_price_id).unit_amount == 1500


async def test_a_month_never_becomes_a_price_paid_once(world: World, tmp_path: Path) -> None:
    """A price that somebody gave our lookup key, but with another interval, is not ours."""
    await push(world, PLAN, tmp_path)
    world.stripe.v1.prices.create(
        {
            "product": "bursar_plan_pages-basic",
            "currency": "usd",
            "unit_amount": 1500,
            "lookup_key": "bursar_plan_pages-basic_month_usd",
            "transfer_lookup_key": True,
        }
    )
    pushed = await push(world, PLAN, tmp_path)
    assert pushed.created == ["bursar_plan_pages-basic_month_usd"]


async def test_a_plan_can_not_be_bought_as_a_pack(world: World, tmp_path: Path) -> None:
    await push(world, PLAN, tmp_path)
    with pytest.raises(errors.UnknownItem):
        await world.open_checkout(package="pages-basic")
    async with world.wiring.db.connection() as conn:
        assert await catalog.list_packs(conn, "stripe") == []


async def test_a_plan_that_left_the_file_is_no_longer_sold(world: World, tmp_path: Path) -> None:
    await push(world, PLAN + PACK, tmp_path)
    gone = [price.provider_price_id for price in (await plans(world))[0].prices]
    pushed = await push(world, PLAN[: PLAN.index("[plans")] + PACK, tmp_path)
    assert await plans(world) == []
    assert set(gone) <= set(pushed.archived)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAN.replace("month = { usd = 1500, eur = 1400 }, year = { usd = 15000 }", ""), "prices"),
        (PLAN.replace("year = {", "week = {"), "week"),
        (PLAN.replace("usd = 15000", "dollars = 15000"), "prices.year: 'dollars' is no currency"),
        (PLAN.replace("trial_days = 14", "trial_days = 0"), "trial_days"),
        (PLAN.replace('unit = "sheet"', 'unit = "hour"'), "no unit 'hour'"),
        (PLAN.replace("credits = 20", "credits = 999999999999"), "more than can be counted"),
        (PLAN.replace('["history"]', '["History"]'), "features"),
        (PLAN.replace('["history"]', '["history", "history"]'), "said twice"),
        (PLAN.replace('["history"]', '["exports"]'), "said twice"),
        (PLAN.replace("exports = 100", "exports = -1"), "exports"),
        (PLAN.replace('per = "month"', 'per = "hour"'), "per"),
        (PLAN + PACK + "limits = { api_calls = 5 }", "counts in another period than packs.pro"),
        (PLAN.replace('["history"]', str([f"f{n:039}" for n in range(13)])), "500 characters"),
        (PLAN.replace('group = "pages"', 'group = "Pages!"'), "group"),
    ],
)
def test_a_faulty_plan_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(text)
    with pytest.raises(errors.CatalogInvalid, match=r"catalog\.toml") as caught:
        catalog_file.read(file)
    assert words in caught.value.detail
