"""Links: made once for a price, bought by anybody, credited to whom it belongs."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bursar import errors
from guests import link_of, opened, pay_as_guest, payments_of, put_user, tell
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
