"""Subscriptions from the checkout to their end: allowances, features and payments that follow."""

from __future__ import annotations

import pytest

from subscribers import Subscribers
from worlds import World


@pytest.fixture
def shop(world: World) -> Subscribers:
    return Subscribers(world)


async def test_paid_plan_brings_allowance_and_features_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "pages-basic")
    assert (payment.status, payment.captured_minor) == ("completed", 1500)
    row = await shop.subscription(payment.customer_id)
    assert (row.status, row.plan, row.plan_group) == ("active", "pages-basic", "pages")
    assert await shop.pools(payment.customer_id) == {
        "plan": 20,
        "bonus": 0,
        "purchased": 0,
        "held": 0,
        "owed": 0,
    }
    assert await shop.features(payment.customer_id) == {"history"}


async def test_renewal_brings_the_next_allowance_and_ends_the_last(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "pages-basic")
    await shop.advance(days=32)
    row = await shop.subscription(payment.customer_id)
    assert row.status == "active"
    assert [(i.reason, i.status) for i in await shop.invoices(payment.customer_id)] == [
        ("create", "paid"),
        ("cycle", "paid"),
    ]
    assert await shop.balance(payment.customer_id) == 20
