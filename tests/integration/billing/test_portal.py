"""The portal offers the plans of a customer's group, and what is done there is followed here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bursar import errors
from bursar.billing import catalog_file, catalog_plans, catalog_push, portal, portal_offers
from bursar.billing.catalog_push import Pushed
from bursar.providers.stripe.client.portal import GROUP, PRODUCTS_MAX
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from portal_shop import Portal, leads_to, text_of
from selling_world import selling
from subscribers import Subscribers
from worlds import World

BACK = "http://127.0.0.1:8000/account"

TRIED = """
[plans.tried]
name = "Tried"
unit = "page"
credits = 30
features = ["history"]
prices = { month = { usd = 2000 } }
trial_days = 14
group = "tries"

[plans.better]
name = "Better"
unit = "page"
credits = 60
features = ["history", "priority"]
prices = { month = { usd = 4000, eur = 3500 } }
trial_days = 14
group = "tries"
"""

PLAN = """
[plans.many-{number}]
name = "Many {number}"
unit = "page"
credits = {number}
prices = {{ month = {{ usd = {number}00 }} }}
group = "many"
"""


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    async with selling(sandbox, database_url, tmp_path, CATALOG + TRIED) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


async def push(world: World, folder: Path, text: str) -> Pushed:
    file = folder / "catalog.toml"
    file.write_text(text, encoding="utf-8")
    wiring = world.wiring
    wanted = catalog_file.read(file)
    return await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)


async def prices(world: World) -> dict[str, str]:
    """Price ids by plan and interval, of the default currency."""
    async with world.wiring.db.connection() as conn:
        plans = await catalog_plans.list_plans(conn, "stripe")
    return {
        f"{plan.key} {price.interval}": price.provider_price_id
        for plan in plans
        for price in plan.prices
        if price.currency == "usd"
    }


def configurations(world: World) -> dict[str, Any]:
    """Our configurations at the provider by group, with what plans they offer."""
    v1: Any = world.stripe.v1
    listed = v1.billing_portal.configurations.list({"limit": 100}).data
    ours = [one for one in listed if one.metadata.to_dict().get(GROUP)]
    expand = {"expand": ["features.subscription_update.products"]}
    words = [one.metadata[GROUP] for one in ours]
    assert len(set(words)) == len(words)
    return {
        one.metadata[GROUP]: v1.billing_portal.configurations.retrieve(one.id, expand)
        for one in ours
    }


def offered(configuration: Any) -> dict[str, list[str]]:
    """Prices by product."""
    products = configuration.features.subscription_update.products or []
    return {one.product: list(one.prices) for one in products}


async def visit(shop: Subscribers, customer_id: int) -> Portal:
    """A customer's portal, as a browser sees it."""
    world = shop.world
    wiring = world.wiring
    url = await portal.open(wiring.db, wiring.provider("stripe"), customer_id, return_url=BACK)
    seen = SimpleNamespace(prices=await prices(world), sandbox_url=world.sandbox.base_url)
    return Portal(cast("Any", seen), url)


async def test_the_portal_offers_each_group_its_plans_on_sale(shop: Subscribers) -> None:
    sold = await prices(shop.world)
    found = configurations(shop.world)
    assert offered(found["pages"]) == {
        "bursar_plan_basic": [sold["basic month"], sold["basic year"]],
        "bursar_plan_pro": [sold["pro month"], sold["pro year"]],
        "bursar_plan_yearly": [sold["yearly year"]],
    }
    assert offered(found["tries"]) == {
        "bursar_plan_tried": [sold["tried month"]],
        "bursar_plan_better": [sold["better month"]],
    }
    features = found["pages"].features
    assert features.subscription_update.default_allowed_updates == ["price"]
    assert features.subscription_update.proration_behavior == "always_invoice"
    assert features.subscription_cancel.mode == "at_period_end"
    assert features.customer_update.allowed_updates == ["email", "address", "tax_id"]
    assert features.payment_method_update.enabled
    assert features.invoice_history.enabled


async def test_where_there_is_no_choice_no_plans_are_offered(shop: Subscribers) -> None:
    found = configurations(shop.world)
    for word in ("-", "saver", "patient"):
        assert not found[word].features.subscription_update.enabled
        assert found[word].features.subscription_cancel.enabled
    seats = found["team"].features.subscription_update
    assert seats.default_allowed_updates == ["price", "quantity"]
    assert seats.products[0].adjustable_quantity.enabled


async def test_a_second_push_leaves_the_portal_and_the_seller_s_words(
    shop: Subscribers, tmp_path: Path
) -> None:
    before = configurations(shop.world)["pages"]
    v1: Any = shop.world.stripe.v1
    said = {"business_profile": {"headline": "Pages for all"}}
    v1.billing_portal.configurations.update(before.id, said)
    await shop.begin()
    assert (await push(shop.world, tmp_path, CATALOG + TRIED)).warnings == []
    after = configurations(shop.world)["pages"]
    assert (after.id, after.features) == (before.id, before.features)
    assert after.business_profile.headline == "Pages for all"
    new = [event["type"] for event in await shop.events() if event["id"] not in shop.heard]
    assert [kind for kind in new if kind.startswith("billing_portal.")] == []


async def test_a_push_brings_the_portal_up_to_date(shop: Subscribers, tmp_path: Path) -> None:
    before = configurations(shop.world)
    cheaper = CATALOG.replace("year = { usd = 15000 }", "year = { usd = 14000 }")
    await push(shop.world, tmp_path, cheaper)
    after = configurations(shop.world)
    sold = await prices(shop.world)
    assert after["pages"].id == before["pages"].id
    assert offered(after["pages"])["bursar_plan_basic"] == [sold["basic month"], sold["basic year"]]
    assert offered(before["pages"]) != offered(after["pages"])
    # A group that is not sold any more is changed into nothing.
    assert not after["tries"].features.subscription_update.enabled


async def test_of_many_plans_the_first_ten_are_offered(shop: Subscribers, tmp_path: Path) -> None:
    many = "".join(PLAN.format(number=number) for number in range(1, PRODUCTS_MAX + 3))
    pushed = await push(shop.world, tmp_path, CATALOG + many)
    assert pushed.warnings == []
    expected = [f"bursar_plan_many-{number}" for number in range(1, PRODUCTS_MAX + 1)]
    assert list(offered(configurations(shop.world)["many"])) == expected


async def test_a_portal_that_refuses_loses_nobody_their_push(
    shop: Subscribers, tmp_path: Path
) -> None:
    configuration = configurations(shop.world)["pages"]
    v1: Any = shop.world.stripe.v1
    names = ("subscription_update", "payment_method_update")
    off = {name: {"enabled": False} for name in names}
    v1.billing_portal.configurations.update(configuration.id, {"features": off})
    dearer = (CATALOG + TRIED).replace("usd = 1500 }, year", "usd = 1600 }, year")
    dearer = dearer.replace("{ usd = 4000, eur = 3500 }", "{ usd = 4100, eur = 3500 }")
    pushed = await push(shop.world, tmp_path, dearer)
    v1.billing_portal.configurations.update(
        configuration.id, {"features": {"payment_method_update": {"enabled": True}}}
    )
    assert len(pushed.created) == len(pushed.archived) == 2
    [warning] = pushed.warnings
    assert "portal" in warning
    # What is refused to one group leaves the others theirs.
    sold = await prices(shop.world)
    offer = offered(configurations(shop.world)["tries"])
    assert offer["bursar_plan_better"] == [sold["better month"]]
    assert (await push(shop.world, tmp_path, dearer)).warnings == []
    assert sold["basic month"] in offered(configurations(shop.world)["pages"])["bursar_plan_basic"]


async def test_a_switch_in_the_portal_brings_the_other_plan_s_credits_and_features(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    browser = await visit(shop, payment.customer_id)
    quote = browser.quote(row.subscription_id, "pro month")
    assert leads_to(browser.confirm(quote), "changed")
    await shop.hear()
    row = await shop.subscription(payment.customer_id)
    assert (row.plan, row.amount_minor, row.status) == ("pro", 3000, "active")
    assert await shop.features(payment.customer_id) == {"history", "priority"}
    # The difference is paid at once, and its credits come with it.
    assert await shop.balance(payment.customer_id) == 50
    await shop.advance(days=32)
    assert await shop.balance(payment.customer_id) == 50
    [_, change, renewal] = await shop.invoices(payment.customer_id)
    assert (change.reason, change.status, renewal.status) == ("update", "paid", "paid")
    assert any(line.proration for line in change.lines)


async def test_a_switch_in_a_trial_goes_on_with_the_trial(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "tried")
    before = await shop.subscription(payment.customer_id)
    assert before.status == "trialing"
    browser = await visit(shop, payment.customer_id)
    assert leads_to(
        browser.confirm(browser.quote(before.subscription_id, "better month")), "changed"
    )
    await shop.hear()
    row = await shop.subscription(payment.customer_id)
    assert (row.plan, row.status, row.trial_end) == ("better", "trialing", before.trial_end)
    assert await shop.features(payment.customer_id) == {"history", "priority"}


async def test_an_end_asked_for_in_the_portal_is_one_with_the_period(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    browser = await visit(shop, payment.customer_id)
    assert leads_to(browser.post(f"/plans/{row.subscription_id}/cancel"), "canceled")
    theirs = shop.world.stripe.v1.subscriptions.retrieve(row.subscription_id)
    assert (theirs.cancel_at_period_end, theirs.cancel_at is None) == (False, False)
    await shop.hear()
    row = await shop.subscription(payment.customer_id)
    assert (row.status, row.cancel_at, row.cancel_at_period_end) == ("active", row.period_end, True)
    assert await shop.features(payment.customer_id) == {"history"}
    # Taken back here, though it was asked for there.
    await shop.change(row, "resume")
    row = await shop.subscription(payment.customer_id)
    assert (row.cancel_at, row.cancel_at_period_end, row.canceled_at) == (None, False, None)
    # And there, though it was asked for here.
    await shop.change(row, "cancel")
    assert leads_to(browser.post(f"/plans/{row.subscription_id}/resume"), "resumed")
    await shop.hear()
    row = await shop.subscription(payment.customer_id)
    assert (row.cancel_at, row.cancel_at_period_end) == (None, False)
    browser.post(f"/plans/{row.subscription_id}/cancel")
    await shop.hear()
    await shop.advance(days=32)
    assert (await shop.subscription(payment.customer_id)).status == "canceled"
    assert await shop.features(payment.customer_id) == set()


async def test_plans_of_two_groups_and_add_ons_are_not_mixed_up_there(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    alone = await visit(shop, payment.customer_id)
    assert "Change plan" in text_of(alone.get())
    await shop.subscribe("ada", "saver")
    both = await visit(shop, payment.customer_id)
    told = text_of(both.get())
    assert "Change plan" not in told
    assert "Saver" in told
    other = await shop.subscribe("bob", "pro")
    await shop.subscribe("bob", "extra")
    assert "Change plan" not in text_of((await visit(shop, other.customer_id)).get())


async def test_a_card_and_an_invoice_of_a_portal_with_plans(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    browser = await visit(shop, payment.customer_id)
    assert browser.add_card("5555 5555 5555 4444").status_code == 303
    said = text_of(browser.get())
    assert "4444" in said
    assert "$15.00" in said
    assert f'href="{BACK}"' in browser.get().text


async def test_before_any_push_the_portal_is_the_account_s_own(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    v1: Any = shop.world.stripe.v1
    ours = configurations(shop.world)
    for one in ours.values():
        v1.billing_portal.configurations.update(one.id, {"active": False})
    browser = await visit(shop, payment.customer_id)
    assert browser.get().status_code == 200
    assert "Change plan" not in text_of(browser.get())
    # One that was put away is not brought back: the next push makes another.
    wiring = shop.world.wiring
    assert await portal_offers.put(wiring.db, wiring.provider("stripe")) is None
    v1_active = v1.billing_portal.configurations.list({"limit": 100, "active": True}).data
    made = {one.metadata.to_dict().get(GROUP): one.id for one in v1_active}
    assert {*made} >= {*ours} - {None}
    assert made["pages"] != ours["pages"].id


async def test_who_bought_nothing_has_no_portal(shop: Subscribers) -> None:
    user = await shop.world.user("nobody")
    with pytest.raises(errors.NoCustomer):
        await visit(shop, user.customer_id)
