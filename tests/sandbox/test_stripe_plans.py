"""Plans: what recurring prices were called before, and still are by older calls."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from billing_shop import Billing, item_of
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox


@pytest.fixture
def shop(checked_sandbox: Sandbox, client_for: Any) -> Billing:
    control_client.reset(checked_sandbox.base_url)
    return Billing(checked_sandbox.base_url, client_for(checked_sandbox).v1)


def test_plan_is_a_price_that_can_be_subscribed_to(shop: Billing) -> None:
    plan = shop.v1.plans.create(
        {"currency": "usd", "interval": "month", "amount": 2000, "product": {"name": "Old"}}
    )
    assert (plan.amount, plan.interval, plan.interval_count) == (2000, "month", 1)
    assert shop.v1.prices.retrieve(plan.id).unit_amount == 2000
    wanted = {"customer": shop.customer().id, "items": [{"plan": plan.id}]}
    subscription = shop.v1.subscriptions.create(wanted)
    assert item_of(subscription).plan.id == plan.id
    assert [one.id for one in shop.v1.subscriptions.list({"plan": plan.id}).data] == [
        subscription.id
    ]


def test_plan_is_listed_changed_and_deleted(shop: Billing) -> None:
    product = shop.v1.products.create({"name": "Old"})
    wanted = {"currency": "eur", "interval": "week", "amount": 500, "product": product.id}
    plan = shop.v1.plans.create(wanted)
    types = shop.event_types(lambda: shop.v1.plans.update(plan.id, {"metadata": {"a": "b"}}))
    assert types == ["plan.updated", "price.updated"]
    found = shop.v1.plans.retrieve(plan.id, {"expand": ["product"]})
    assert (found.metadata.a, found.product.name) == ("b", "Old")
    assert [one.id for one in shop.v1.plans.list().data] == [plan.id]
    assert shop.v1.plans.delete(plan.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such plan"):
        shop.v1.plans.retrieve(plan.id)


def test_plan_without_a_product_is_refused(shop: Billing) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.v1.plans.create({"currency": "usd", "interval": "month", "amount": 1})
    assert caught.value.param == "product"


def test_recurring_price_is_told_as_a_plan_too(shop: Billing) -> None:
    product = shop.v1.products.create({"name": "Pro"}).id
    once = {"product": product, "currency": "usd", "unit_amount": 900}
    monthly = {**once, "recurring": {"interval": "month"}}
    plan, price = shop.events(lambda: shop.v1.prices.create(monthly))
    assert (plan.type, price.type) == ("plan.created", "price.created")
    assert plan.data.object.id == price.data.object.id
    update = {"nickname": "Monthly"}
    types = shop.event_types(lambda: shop.v1.prices.update(price.data.object.id, update))
    assert types == ["plan.updated", "price.updated"]
    assert shop.event_types(lambda: shop.v1.prices.create(once)) == ["price.created"]
