"""Links: made once for a price, bought by anybody, credited to whom it belongs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from bursar import errors
from bursar.billing import entitlements, links
from bursar.billing.links import Wanted
from bursar.providers.after_sale import LinkOrder, OpenedLink
from bursar.providers.port import Provider
from card_form_shop import push
from guests import (
    ADMIN,
    link_of,
    opened,
    pay_as_guest,
    pay_page,
    payments_of,
    put_user,
    tell,
    visit,
)
from worlds import World


async def test_a_link_is_reused_while_its_price_stands(world: World) -> None:
    urls = await asyncio.gather(*(link_of(world) for _ in range(5)))
    assert len(set(urls)) == 1
    assert await link_of(world, "basic") not in urls
    assert len(world.stripe.v1.payment_links.list({"active": True}).data) >= 2
    async with world.wiring.db.transaction() as conn:
        # As if the price had changed: what is on sale now has another price id.
        await conn.execute(
            "update payment_links set price_id = 'price_before' where item_key = 'starter'"
        )
    assert await link_of(world) not in urls
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(urls[0])).status_code != 303
    with pytest.raises(errors.UnknownItem):
        await link_of(world, "nothing")


SHOP = """
[units.page]
name = "Pages"

[packs.mug]
name = "Mug"
unit = "page"
credits = {credits}
prices = {{ usd = {usd} }}
features = ["{feature}"]
"""


def shop(credits: int = 5, usd: int = 700, feature: str = "history") -> str:
    return SHOP.format(credits=credits, usd=usd, feature=feature)


async def sells(url: str) -> bool:
    """Whether a buyer who opens a link gets to a page to pay at."""
    async with httpx.AsyncClient() as browser:
        return (await browser.get(url)).status_code == 303


async def features(world: World, customer_id: int) -> list[str]:
    async with world.wiring.db.connection() as conn:
        listed = await entitlements.list_for(conn, customer_id, at=world.wiring.clock.now())
    return [each.feature for each in listed]


@pytest.mark.parametrize(
    "change", [{"credits": 9}, {"usd": 900, "credits": 9}, {"feature": "priority"}]
)
async def test_a_push_that_changes_a_pack_ends_its_link_at_the_provider(
    world: World, tmp_path: Path, change: dict[str, int]
) -> None:
    await push(world, tmp_path, shop())
    before = await link_of(world, "mug")
    await push(world, tmp_path, shop().replace('"Mug"', '"Cup"'))
    assert await sells(before)
    assert await link_of(world, "mug") == before
    await push(world, tmp_path, shop(**change))
    assert not await sells(before)
    after = await link_of(world, "mug")
    assert after != before
    assert await sells(after)


async def test_a_push_that_takes_a_pack_off_sale_ends_its_link(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path, shop())
    url = await link_of(world, "mug")
    await push(world, tmp_path, shop().replace("mug", "jug"))
    assert not await sells(url)


@pytest.mark.parametrize("usd", [700, 7000])
async def test_what_an_ended_link_sold_is_what_it_promised(
    world: World, tmp_path: Path, usd: int
) -> None:
    customer_id = await put_user(world, "gus", "gus@example.com", verified=True)
    await push(world, tmp_path, shop())
    # The page was opened while the link sold, and is paid after it ended.
    page = await visit(await link_of(world, "mug"))
    await push(world, tmp_path, shop(credits=90, usd=usd, feature="priority"))
    session_id = await pay_page(world, page, "gus@example.com")
    await tell(world, session_id)
    [payment] = await payments_of(world, customer_id)
    assert (payment.kind, payment.status, payment.mismatch) == ("link", "completed", None)
    assert (payment.captured_minor, payment.credits) == (700, 5)
    assert await world.balance(customer_id) == 5
    assert await features(world, customer_id) == ["history"]
    assert await opened(world, None) == []


class PushedMeanwhile:
    """The provider, where the catalogue is changed while a link is being made."""

    def __init__(self, world: World, folder: Path) -> None:
        self._provider, self._world, self._folder = world.wiring.provider("stripe"), world, folder
        self.made: list[OpenedLink] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def create_link(self, order: LinkOrder) -> OpenedLink:
        self.made.append(await self._provider.create_link(order))
        await push(self._world, self._folder, shop(credits=90))
        return self.made[-1]


async def test_a_link_that_was_being_made_as_its_pack_changed_sells_nothing(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path, shop())
    provider, wiring = PushedMeanwhile(world, tmp_path), world.wiring
    wanted = Wanted(package="mug", actor=ADMIN)
    with pytest.raises(errors.ProviderUnavailable):
        await links.open(wiring.db, cast("Provider", provider), wanted, clock=wiring.clock)
    assert not await sells(provider.made[0].url)
    assert await sells(await link_of(world, "mug"))


async def test_what_waits_for_its_guest_is_still_what_the_link_promised(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path, shop())
    session_id = await pay_as_guest(world, await link_of(world, "mug"), "gus@example.com")
    await tell(world, session_id)
    await push(world, tmp_path, shop(credits=90))
    customer_id = await put_user(world, "gus", "gus@example.com", verified=True)
    await world.work()
    assert await world.balance(customer_id) == 5


async def forget_the_promise(world: World) -> None:
    """As if the link were of a release that kept no promises."""
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update payment_links set promise = null")


async def test_a_link_whose_promise_is_not_known_brings_nothing_and_opens_a_case(
    world: World,
) -> None:
    customer_id = await put_user(world, "gus", "gus@example.com", verified=True)
    url = await link_of(world)
    await forget_the_promise(world)
    await tell(world, await pay_as_guest(world, url, "gus@example.com"))
    [payment] = await payments_of(world, customer_id)
    assert (payment.status, payment.captured_minor, payment.credits) == ("completed", 500, 0)
    assert await world.balance(customer_id) == 0
    assert [(case.kind, case.payment_id) for case in await opened(world)] == [
        ("mismatch", payment.id)
    ]
    # Whoever asks for the link gets one that is known.
    anew = await link_of(world)
    assert anew != url
    assert not await sells(url)


async def test_a_link_of_the_dashboards_for_a_price_that_is_off_sale_is_a_case(
    world: World, tmp_path: Path
) -> None:
    customer_id = await put_user(world, "gus", "gus@example.com", verified=True)
    await push(world, tmp_path, shop())
    async with world.wiring.db.connection() as conn:
        price = await conn.fetchval(
            "select provider_price_id from catalog_prices where key = 'mug' and active"
        )
    link = world.stripe.v1.payment_links.create({"line_items": [{"price": price, "quantity": 1}]})
    page = await visit(link.url)
    await push(world, tmp_path, shop(credits=90, usd=7000))
    await tell(world, await pay_page(world, page, "gus@example.com"))
    assert await world.balance(customer_id) == 0
    assert [(case.kind, case.amount_minor) for case in await opened(world)] == [("mismatch", 700)]


async def test_a_link_bought_with_a_verified_address_is_credited_once(world: World) -> None:
    customer_id = await put_user(world, "gus", "Gus@Example.com", verified=True)
    session_id = await pay_as_guest(world, await link_of(world), "gus@example.com")
    await tell(world, session_id)
    await tell(world, session_id)
    [payment] = await payments_of(world, customer_id)
    assert (payment.kind, payment.status, payment.user_id, payment.credits) == (
        "link",
        "completed",
        "gus",
        5,
    )
    assert payment.session_id == session_id
    assert await world.balance(customer_id) == 5
    assert await opened(world, None) == []


async def test_a_guests_purchase_waits_and_is_claimed_by_the_verified_address(
    world: World,
) -> None:
    session_id = await pay_as_guest(world, await link_of(world), "gus@example.com")
    await tell(world, session_id)
    [case] = await opened(world)
    assert (case.kind, case.amount_minor, case.detail["email"]) == (
        "unmatched",
        500,
        "gus@example.com",
    )
    assert case.detail["lines"]
    customer_id = await put_user(world, "gus", "gus@example.com", verified=False)
    await world.work()
    assert await world.balance(customer_id) == 0
    await put_user(world, "gus", "gus@example.com", verified=True)
    await world.work()
    assert await world.balance(customer_id) == 5
    [payment] = await payments_of(world, customer_id)
    [closed] = await opened(world, "resolved")
    assert (closed.id, closed.payment_id, closed.customer_id) == (
        case.id,
        payment.id,
        customer_id,
    )
    await put_user(world, "gus", "gus@example.com", verified=True)
    await tell(world, session_id)
    assert await world.balance(customer_id) == 5


async def test_an_address_of_two_users_is_nobodys(world: World) -> None:
    for user_id in ("gus", "gustav"):
        await put_user(world, user_id, "gus@example.com", verified=True)
    await tell(world, await pay_as_guest(world, await link_of(world), "gus@example.com"))
    assert [case.kind for case in await opened(world)] == ["unmatched"]


@pytest.mark.parametrize("fault", ["api_500", "api_500_after"])
async def test_a_link_whose_answer_was_lost_is_made_once(world: World, fault: str) -> None:
    before = len(world.stripe.v1.payment_links.list({"limit": 100}).data)
    faults = {"seed": 1, fault: 1, "routes": ["/v1/payment_links"]}
    urls = []
    async with world.http() as http:
        try:
            assert (await http.post("/_sandbox/faults", json=faults)).status_code == 200
            try:
                urls.append(await link_of(world))
            except errors.ProviderUnknown:
                assert fault == "api_500"
        finally:
            await http.delete("/_sandbox/faults")
    urls += [await link_of(world), await link_of(world)]
    assert len(set(urls)) == 1
    links = world.stripe.v1.payment_links.list({"limit": 100}).data
    assert len(links) == before + 1
