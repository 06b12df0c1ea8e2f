"""The catalogue: read, pushed by lookup key, safe to repeat, and a price that never changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bursar import errors
from bursar.billing import catalog, catalog_file, catalog_push
from bursar.billing.catalog_push import Pushed
from worlds import ROOT, World

SMALL = """
[units.page]
name = "Pages"

[packs.{key}]
name = "{name}"
unit = "page"
credits = {credits}
prices = {{ usd = {usd} }}
"""


async def push(world: World, text: str, folder: Path) -> Pushed:
    file = folder / "catalog.toml"
    file.write_text(text)
    return await catalog_push.push(
        world.wiring.db,
        world.wiring.provider("stripe"),
        catalog_file.read(file),
        clock=world.wiring.clock,
    )


def small(key: str, usd: int, credits: int = 5, name: str = "Small") -> str:
    return SMALL.format(key=key, usd=usd, credits=credits, name=name)


async def packs(world: World) -> dict[str, catalog.Pack]:
    async with world.wiring.db.connection() as conn:
        return {pack.key: pack for pack in await catalog.list_packs(conn, "stripe")}


def live(world: World, lookup_key: str) -> list[tuple[str, int | None]]:
    listed = world.stripe.v1.prices.list({"lookup_keys": [lookup_key], "active": True})
    return [(price.id, price.unit_amount) for price in listed.data]


async def test_the_catalogue_sells_what_the_product_promises(world: World) -> None:
    sold = await packs(world)
    assert [(p.name, p.credits, p.amount_minor, p.unit) for p in sold.values()] == [
        ("Starter", 5, 500, "page"),
        ("Basic", 12, 1000, "page"),
        ("Pro", 30, 2000, "page"),
        ("Enterprise", 100, 5000, "page"),
    ]
    async with world.wiring.db.connection() as conn:
        assert await catalog.default_unit(conn) == "credit"
        unit = await catalog.get_unit(conn, "credit")
    assert unit.per_minor == {"usd": 1}


async def test_a_second_push_changes_nothing(world: World) -> None:
    before = await packs(world)
    again = await catalog_push.push(
        world.wiring.db,
        world.wiring.provider("stripe"),
        catalog_file.read(ROOT / "catalog.toml"),
        clock=world.wiring.clock,
    )
    assert (again.created, again.archived, len(again.unchanged)) == (
        [],
        [],
        len(catalog_file.read(ROOT / "catalog.toml").prices),
    )
    assert await packs(world) == before


async def test_a_changed_price_is_a_new_one_and_the_old_one_is_archived(
    world: World, tmp_path: Path
) -> None:
    await push(world, small("mug", 700), tmp_path)
    old = (await packs(world))["mug"]
    changed = await push(world, small("mug", 900), tmp_path)
    new = (await packs(world))["mug"]
    assert changed.created == ["bursar_pack_mug_usd"]
    assert changed.archived == [old.provider_price_id]
    assert live(world, "bursar_pack_mug_usd") == [(new.provider_price_id, 900)]
    assert not world.stripe.v1.prices.retrieve(old.provider_price_id).active
    back = await push(world, small("mug", 700), tmp_path)
    assert back.created == ["bursar_pack_mug_usd"]
    assert (await packs(world))["mug"].provider_price_id not in (
        old.provider_price_id,
        new.provider_price_id,
    )


async def test_a_running_checkout_keeps_the_price_it_was_opened_at(
    world: World, tmp_path: Path
) -> None:
    await push(world, small("mug", 700), tmp_path)
    payment = await world.open_checkout(package="mug")
    await push(world, small("mug", 900, credits=9), tmp_path)
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 5


async def test_a_push_that_dies_leaves_what_was_sold_as_it_was(
    world: World, tmp_path: Path
) -> None:
    await push(world, small("mug", 700), tmp_path)
    before = await packs(world)

    class Gone(Exception):
        """The process dies here."""

    def die(step: str) -> None:
        if step.startswith("price"):
            raise Gone

    file = tmp_path / "catalog.toml"
    file.write_text(small("mug", 40000, credits=500))
    provider, clock = world.wiring.provider("stripe"), world.wiring.clock
    with pytest.raises(Gone):
        await catalog_push.push(
            world.wiring.db, provider, catalog_file.read(file), clock=clock, report=die
        )
    assert await packs(world) == before
    payment = await world.open_checkout(package="mug")
    assert (payment.amount_minor, payment.credits) == (700, 5)
    await push(world, file.read_text(), tmp_path)
    sold = (await packs(world))["mug"]
    assert (sold.amount_minor, sold.credits) == (40000, 500)
    assert live(world, "bursar_pack_mug_usd") == [(sold.provider_price_id, 40000)]


async def test_what_left_the_file_is_no_longer_sold(world: World, tmp_path: Path) -> None:
    gone = (await packs(world))["starter"].provider_price_id
    pushed = await push(world, small("mug", 700), tmp_path)
    assert set(await packs(world)) == {"mug"}
    assert gone in pushed.archived
    with pytest.raises(errors.UnknownItem):
        await world.open_checkout(package="starter")


async def test_a_push_that_died_after_the_call_goes_on_with_the_same_price(
    world: World, tmp_path: Path
) -> None:
    await push(world, small("mug", 700), tmp_path)
    made = (await packs(world))["mug"].provider_price_id
    async with world.wiring.db.transaction() as conn:
        # As if the process had died between the provider's answer and our commit.
        await conn.execute(
            "update catalog_prices set active = false, provider_price_id = null"
            " where provider_price_id = $1",
            made,
        )
    await push(world, small("mug", 700), tmp_path)
    assert (await packs(world))["mug"].provider_price_id == made
    assert live(world, "bursar_pack_mug_usd") == [(made, 700)]


async def test_a_provider_that_forgot_everything_is_told_anew(world: World, tmp_path: Path) -> None:
    await push(world, small("mug", 700), tmp_path)
    async with world.wiring.db.transaction() as conn:
        # As after a reset of the sandbox: no price of ours is there any more.
        await conn.execute(
            "update catalog_prices set provider_price_id = provider_price_id || 'gone',"
            " lookup_key = lookup_key || '_gone'"
        )
    await push(world, small("mug", 700), tmp_path)
    assert set(await packs(world)) == {"mug"}
    await push(world, small("mug", 700), tmp_path)


async def test_another_database_on_the_same_account_adopts_the_prices(
    world: World, tmp_path: Path
) -> None:
    await push(world, small("mug", 700), tmp_path)
    made = (await packs(world))["mug"].provider_price_id
    async with world.wiring.db.transaction() as conn:
        await conn.execute("delete from catalog_prices")
    pushed = await push(world, small("mug", 700), tmp_path)
    assert pushed.unchanged == ["bursar_pack_mug_usd"]
    assert (await packs(world))["mug"].provider_price_id == made


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nonsense", "can't be read"),
        ("[packs]", "units"),
        (small("mug", 0), "usd"),
        (small("mug", 700).replace("usd", "dollars"), "no currency"),
        (small("mug", 700).replace('unit = "page"', 'unit = "hour"'), "no unit"),
        (small("mug", 700) + "colour = 'red'", "colour"),
        (small("mug", 700, credits=10**9).replace('"Pages"', '"Pages"\ndecimals = 4'), "credits"),
        (small("Mug!", 700).replace("Mug!", '"Mug!"'), "packs"),
        ('[units.credit]\nper_minor = { usd = "0" }', "per_minor"),
        ('[units.credit]\nper_minor = { usd = "1" }\nminimum = { eur = 1 }', "no rate"),
        (
            '[units.c]\nper_minor = { usd = "1" }\nminimum = { usd = 9 }\nmaximum = { usd = 8 }',
            "above",
        ),
    ],
)
def test_a_faulty_file_is_refused_with_its_place(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(text)
    with pytest.raises(errors.CatalogInvalid, match=r"catalog\.toml") as caught:
        catalog_file.read(file)
    assert word in caught.value.detail


def test_a_missing_file_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(errors.CatalogInvalid, match="BURSAR_CATALOG"):
        catalog_file.read(tmp_path / "catalog.toml")


async def test_decimals_can_not_change_under_balances(world: World, tmp_path: Path) -> None:
    text = small("mug", 700).replace('name = "Pages"', 'name = "Pages"\ndecimals = 2')
    with pytest.raises(errors.CatalogInvalid, match="decimals"):
        await push(world, text, tmp_path)


async def test_a_push_touches_only_the_products_that_say_something_else(
    world: World, tmp_path: Path
) -> None:
    def newest() -> str | None:
        listed = world.stripe.v1.events.list({"type": "product.updated", "limit": 1})
        return listed.data[0].id if listed.data else None

    await push(world, small("same", 500), tmp_path)
    before = newest()
    await push(world, small("same", 500), tmp_path)
    assert newest() == before
    await push(world, small("same", 500, name="Renamed"), tmp_path)
    assert newest() != before
    assert world.stripe.v1.products.retrieve("bursar_pack_same").name == "Renamed"
    # What somebody changed in the dashboard is brought back.
    world.stripe.v1.products.update("bursar_pack_same", {"description": "By hand"})
    await push(world, small("same", 500, name="Renamed"), tmp_path)
    assert not world.stripe.v1.products.retrieve("bursar_pack_same").description
    world.stripe.v1.products.update("bursar_pack_same", {"active": False})
    await push(world, small("same", 500, name="Renamed"), tmp_path)
    assert world.stripe.v1.products.retrieve("bursar_pack_same").active
