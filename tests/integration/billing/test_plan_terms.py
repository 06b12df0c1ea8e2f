"""Plans by duration: what months of a plan give, in a row, and what ends with the money."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise, permutations
from pathlib import Path

import pytest

from bursar import errors
from bursar.billing import catalog_file, catalog_plans, entitlements, plan_terms
from bursar.billing.payments import Payment
from bursar.billing.plan_terms import Term, later
from card_form_shop import CATALOG, buy, confirm, open_intent, push, tell
from worlds import World


async def terms(world: World, payment: Payment) -> list[Term]:
    async with world.wiring.db.connection() as conn:
        return await plan_terms.list_terms(conn, payment.customer_id)


async def has(world: World, payment: Payment, at: datetime) -> dict[str, int | None]:
    """The limit of each feature that the payment's customer has at that time."""
    async with world.wiring.db.connection() as conn:
        listed = await entitlements.list_for(conn, payment.customer_id, at=at)
    return {each.feature: each.limit for each in listed}


async def refund(world: World, payment: Payment) -> None:
    world.stripe.v1.refunds.create({"payment_intent": str(payment.payment_intent_id)})
    await tell(world, payment)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ((2026, 1, 31), 1, (2026, 2, 28)),
        ((2024, 1, 31), 1, (2024, 2, 29)),
        ((2026, 11, 21), 3, (2027, 2, 21)),
        ((2026, 12, 1), 12, (2027, 12, 1)),
        ((2024, 2, 29), 60, (2029, 2, 28)),
    ],
)
def test_a_month_ends_on_its_day_or_on_the_months_last(
    start: tuple[int, int, int], months: int, end: tuple[int, int, int]
) -> None:
    assert later(datetime(*start, 7, 30, tzinfo=UTC), months) == datetime(*end, 7, 30, tzinfo=UTC)


async def test_months_of_a_plan_give_its_rights_and_its_credits(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    payment = await buy(world, plan="pages-pro", months=3, shown_minor=8100)
    assert (payment.amount_minor, payment.status) == (8100, "completed")
    assert await world.balance(payment.customer_id) == 150
    [term] = await terms(world, payment)
    assert term.starts_at == payment.completed_at
    assert term.ends_at == later(term.starts_at, 3)
    assert await has(world, payment, term.starts_at) == {"priority": None, "exports": 100}
    assert await has(world, payment, term.ends_at) == {}


async def test_a_plan_without_credits_entitles_all_the_same(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    payment = await buy(world, plan="solo", months=1)
    assert payment.completed_at is not None
    assert await has(world, payment, payment.completed_at) == {"history": None}


async def test_who_buys_again_goes_on_where_the_first_ends(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    first = await buy(world, plan="pages-pro", months=1)
    second = await buy(world, plan="pages-pro", months=3)
    one, two = await terms(world, first)
    assert [one.payment_id, two.payment_id] == [first.id, second.id]
    assert two.starts_at == one.ends_at
    assert two.ends_at == later(one.ends_at, 3)
    assert await has(world, first, one.ends_at) == {"priority": None, "exports": 100}
    # Told of once more, nothing moves.
    await tell(world, first)
    assert await terms(world, first) == [one, two]


async def test_terms_end_the_same_in_whatever_order_they_are_told_of(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    ends = set()
    for number, order in enumerate(permutations(range(3))):
        opened = []
        for months in (1, 3, 12):
            made = await open_intent(world, f"user-{number}", plan="pages-pro", months=months)
            await confirm(world, made)
            opened.append(made.payment)
        for place in order:
            await tell(world, opened[place])
        found = await terms(world, opened[0])
        assert len(found) == 3
        for before, after in pairwise(found):
            assert after.starts_at == before.ends_at
        ends.add(tuple(term.months for term in found))
        last = found[-1].ends_at
        assert await has(world, opened[0], last) == {}
    # Those paid in one second may stand either way, but each bought its months once.
    assert all(sorted(months) == [1, 3, 12] for months in ends)


async def test_a_whole_refund_ends_the_rest_and_the_next_term_moves_up(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    first = await buy(world, plan="pages-pro", months=12)
    second = await buy(world, plan="pages-pro", months=3)
    await refund(world, first)
    one, two = await terms(world, first)
    assert one.ends_at < later(one.starts_at, 1)
    assert two.starts_at == max(one.ends_at, second.completed_at or one.ends_at)
    assert two.ends_at == later(two.starts_at, 3)
    assert await has(world, first, two.ends_at) == {}
    await refund(world, second)
    assert await has(world, first, world.wiring.clock.now()) == {}
    assert await world.balance(first.customer_id) == 0


async def test_a_term_refunded_before_it_begins_gives_nothing(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    first = await buy(world, plan="pages-pro", months=1)
    second = await buy(world, plan="pages-pro", months=3)
    await refund(world, second)
    one, _ = await terms(world, first)
    assert await has(world, first, one.starts_at) == {"priority": None, "exports": 100}
    assert await has(world, first, one.ends_at) == {}


async def test_a_part_refund_ends_nothing(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    payment = await buy(world, plan="pages-pro", months=3)
    world.stripe.v1.refunds.create(
        {"payment_intent": str(payment.payment_intent_id), "amount": 100}
    )
    await tell(world, payment)
    [term] = await terms(world, payment)
    assert term.ends_at == later(term.starts_at, 3)


async def test_the_snapshot_counts_though_the_plan_has_changed(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    opened = await open_intent(world, plan="pages-pro", months=1)
    await push(world, tmp_path, CATALOG.replace("exports = 100", "exports = 7"))
    await confirm(world, opened)
    await tell(world, opened.payment)
    at = world.wiring.clock.now()
    assert await has(world, opened.payment, at) == {"priority": None, "exports": 100}


async def test_durations_are_listed_shortest_first(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    async with world.wiring.db.connection() as conn:
        plans = {plan.key: plan for plan in await catalog_plans.list_plans(conn, "stripe")}
    sold = [
        (each.months, each.currency, each.amount_minor) for each in plans["pages-pro"].durations
    ]
    assert sold == [(1, "jpy", 4500), (1, "usd", 3000), (3, "usd", 8100), (12, "usd", 28800)]
    assert [price.amount_minor for price in plans["pages-pro"].prices] == [3000]
    assert plans["solo"].prices == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("durations = { 0 = { usd = 900 } }", "durations"),
        ("durations = { 61 = { usd = 900 } }", "durations"),
        ("durations = { 3 = { xyz = 900 } }", "no currency"),
        ("durations = { 3 = {} }", "durations"),
        ("", "name `durations`"),
    ],
)
def test_durations_that_mean_nothing_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG.replace("durations = { 1 = { usd = 900 } }", text), encoding="utf-8")
    with pytest.raises(errors.CatalogInvalid, match=fault):
        catalog_file.read(file)
