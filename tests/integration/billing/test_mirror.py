"""The mirror of the provider's catalogue: any order of events ends the same, gaps are read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from bursar.billing import mirror
from bursar.db.tags import TagCache
from bursar.providers.mirrored import CHANGED, GONE, MADE, CatalogFact
from stripe_shop import promote
from worlds import World, eventually

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def take(world: World, facts: Sequence[CatalogFact]) -> None:
    for fact in facts:
        async with world.wiring.db.transaction() as conn:
            await mirror.take(conn, [fact], at=world.wiring.clock.now())


async def stored(world: World) -> list[tuple[Any, ...]]:
    """The mirror's rows but for the count of their changes, and what is to be read anew."""
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch(
            "select kind, id, body::text, gone, told_at, step from catalog_mirror order by 1, 2"
        )
    return [tuple(row.values()) for row in rows]


async def forget(world: World) -> None:
    async with world.wiring.db.transaction() as conn:
        await conn.execute("delete from catalog_mirror")


async def name_of(world: World, product_id: str) -> str | None:
    async with world.wiring.db.connection() as conn:
        found = await mirror.find(conn, "stripe", "product", product_id)
    return found.body["name"] if found else None


def product(seconds: int, step: int, name: str | None) -> CatalogFact:
    body = {"name": name, "description": None, "active": True, "metadata": {}}
    return CatalogFact(
        provider="stripe",
        kind="product",
        id="prod_order",
        at=START + timedelta(seconds=seconds),
        step=step,
        body=body if name else {},
    )


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ([product(0, MADE, "a"), product(1, CHANGED, "b"), product(2, CHANGED, "c")], "c"),
        ([product(0, MADE, "a"), product(0, CHANGED, "b"), product(0, CHANGED, "c")], "c"),
        ([product(0, MADE, "a"), product(3, CHANGED, "b"), product(9, GONE, None)], None),
        ([product(0, MADE, "a"), product(9, GONE, None), product(12, MADE, "again")], "again"),
        ([product(0, MADE, "a"), product(0, GONE, None), product(0, CHANGED, "b")], None),
    ],
)
async def test_events_in_any_order_and_twice_end_the_same(
    world: World, facts: list[CatalogFact], name: str | None
) -> None:
    ends = []
    for order in itertools.permutations([*facts, facts[0]]):
        await forget(world)
        await take(world, order)
        ends.append(await stored(world))
        assert await name_of(world, "prod_order") == name
    assert all(end == ends[0] for end in ends)


async def events_of(world: World, thing_id: str) -> list[dict[str, Any]]:
    async with world.http() as http:
        answer = await http.get("/v1/events", params={"limit": 100})
    events = answer.json()["data"]
    return [event for event in reversed(events) if event["data"]["object"]["id"] == thing_id]


async def test_a_real_products_events_backwards_leave_what_the_provider_has(world: World) -> None:
    v1 = world.stripe.v1
    made = v1.products.create({"name": "First"})
    v1.products.update(made.id, {"name": "Second"})
    v1.products.update(made.id, {"name": "Third"})
    events = await events_of(world, made.id)
    assert len(events) == 3
    # All within a second or so: where their order can't be told the provider is asked.
    await world.deliver(list(reversed(events)))
    await world.work()
    assert await name_of(world, made.id) == "Third"
    v1.products.delete(made.id)
    gone = [event for event in await events_of(world, made.id) if event["type"].endswith("deleted")]
    await world.deliver(gone)
    await world.work()
    assert await name_of(world, made.id) is None


async def test_a_coupons_event_has_it_read_with_what_it_is_for(world: World) -> None:
    fields: Any = {
        "percent_off": 15,
        "duration": "once",
        "applies_to": {"products": ["bursar_pack_pro"]},
    }
    made = world.stripe.v1.coupons.create(fields)
    await world.deliver(await events_of(world, made.id))
    await world.work()
    async with world.wiring.db.connection() as conn:
        found = await mirror.find(conn, "stripe", "coupon", made.id)
    assert found is not None
    assert (found.body["products"], found.body["percent_off"]) == (["bursar_pack_pro"], "15")


async def test_a_fill_reads_everything_and_marks_what_is_gone(world: World) -> None:
    v1, provider = world.stripe.v1, world.wiring.provider("stripe")
    code = f"FILL{uuid4().hex[:8]}".upper()
    coupon = v1.coupons.create({"percent_off": 15, "duration": "once"})
    promotion = promote(v1, coupon, code=code)
    lost = v1.products.create({"name": "Lost"})
    read = await mirror.fill(world.wiring.db, provider)
    async with world.wiring.db.connection() as conn:
        things = await mirror.list_things(conn, "stripe")
        assert len(things) == read
        [found] = await mirror.find_codes(conn, "stripe", code.lower())
    assert (found.id, found.body["coupon"]) == (promotion.id, coupon.id)
    assert await name_of(world, lost.id) == "Lost"
    v1.products.delete(lost.id)
    assert await mirror.fill(world.wiring.db, provider) == read - 1
    assert await name_of(world, lost.id) is None
    before = await stored(world)
    await mirror.fill(world.wiring.db, provider)
    assert await stored(world) == before


async def test_an_answer_does_not_overwrite_what_came_while_it_was_on_its_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = world.wiring.provider("stripe")
    made = world.stripe.v1.products.create({"name": "Old"})
    await world.deliver(await events_of(world, made.id))
    await world.work()
    fetch = provider.fetch_catalog

    async def slow(kind: Any, thing_id: str) -> CatalogFact:
        answer = await fetch(kind, thing_id)
        body = {**answer.body, "name": "New"}
        later = answer.at + timedelta(seconds=60)
        told = CatalogFact(
            provider="stripe", kind=kind, id=thing_id, at=later, step=CHANGED, body=body
        )
        await take(world, [told])
        return answer

    monkeypatch.setattr(provider, "fetch_catalog", slow)
    again = await mirror.read(
        world.wiring.db, world.wiring.providers, f"stripe/product/{made.id}", world.wiring.clock
    )
    assert again is not None
    assert await name_of(world, made.id) == "New"


async def test_an_event_in_one_process_drops_anothers_cache(world: World) -> None:
    other = TagCache(str(world.settings.database_url), seconds=3600)
    try:
        await other.wait_until_hearing()

        async def load() -> str | None:
            return await name_of(world, "prod_order")

        assert await other.get(mirror.TAG, "prod_order", load) is None
        await take(world, [product(0, MADE, "here")])

        async def seen() -> bool:
            return await other.get(mirror.TAG, "prod_order", load) == "here"

        await eventually(seen)
    finally:
        await other.close()


async def test_what_was_undone_leaves_nothing(world: World) -> None:
    async def take_and_fail() -> None:
        async with world.wiring.db.transaction() as conn:
            await mirror.take(conn, [product(0, MADE, "undone")], at=world.wiring.clock.now())
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        await take_and_fail()
    assert await stored(world) == []
