"""Payment links, cases and saved cards over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api_server import Person, Server, assert_problem, make_key
from guests import link_of, pay_as_guest, tell
from worlds import World

LINK, CASES = "/api/stripe/payment-link", "/api/admin/cases"


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """An admin's client of a server in the same world, without a worker."""
    server = Server(world.settings)
    admin = Person("", await make_key(world.wiring.db, "admin"))
    try:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=30, headers=admin.headers
        ) as client:
            yield client
    finally:
        server.stop()


async def person(world: World, user_id: str) -> Person:
    return Person(user_id, await make_key(world.wiring.db, "user", user_id))


async def case_of_a_guest(world: World, client: httpx.AsyncClient) -> dict[str, Any]:
    await tell(world, await pay_as_guest(world, await link_of(world), "gus@example.com"))
    [case] = (await client.get(CASES)).json()["data"]
    assert isinstance(case, dict)
    return case


async def test_a_link_is_made_once_and_sells(world: World, client: httpx.AsyncClient) -> None:
    made = await client.post(LINK, json={"package": "starter"})
    assert made.status_code == 200, made.text
    told = made.json()
    assert (told["name"], told["amount"], told["currency"]) == ("Starter", 500, "usd")
    same = await client.post(LINK, json={"price_id": told["price_id"]})
    assert same.json() == told
    headers = {"Idempotency-Key": "link-1"}
    for replayed in (None, "true"):
        answer = await client.post(LINK, json={"package": "starter"}, headers=headers)
        assert answer.json() == told
        assert answer.headers.get("idempotent-replayed") == replayed
    assert told["url"].startswith(world.sandbox.base_url)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "validation_error"),
        ({"package": "starter", "price_id": "price_1"}, 422, "validation_error"),
        ({"package": "nothing"}, 422, "unknown_item"),
        ({"plan": "pages-pro"}, 422, "unknown_item"),
        ({"price_id": "price_nothing"}, 422, "unknown_item"),
        ({"package": "starter", "currency": "jpy"}, 422, "currency_not_sold"),
    ],
)
async def test_what_no_link_can_sell_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(await client.post(LINK, json=body), status, code)


async def test_links_are_for_admins(world: World, client: httpx.AsyncClient) -> None:
    ada = await person(world, "ada")
    refused = await client.post(LINK, json={"package": "starter"}, headers=ada.headers)
    assert_problem(refused, 403, "forbidden")


async def test_a_guest_whose_address_the_host_verifies_gets_what_waits(
    world: World, client: httpx.AsyncClient
) -> None:
    await case_of_a_guest(world, client)
    service = Person("", await make_key(world.wiring.db, "service"))
    body = {"email": "gus@example.com", "email_verified": True}
    put = await client.put("/api/users/gus", json=body, headers=service.headers)
    assert put.status_code == 200, put.text
    await world.work()
    assert await world.balance(put.json()["customer_id"]) == 5
    assert (await client.get(CASES)).json()["data"] == []
    gus = await person(world, "gus")
    [payment] = (await client.get("/api/payments", headers=gus.headers)).json()["data"]
    assert (payment["kind"], payment["status"], payment["credits"]) == ("link", "completed", 5)


async def test_a_case_is_shown_and_given_once_of_ten_at_once(
    world: World, client: httpx.AsyncClient
) -> None:
    case = await case_of_a_guest(world, client)
    assert (case["kind"], case["state"], case["amount"]) == ("unmatched", "open", 500)
    assert (await client.get(f"{CASES}/{case['id']}")).json() == case
    await person(world, "ada")
    path, body = f"{CASES}/{case['id']}/resolve", {"user_id": "ada"}
    answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    [done] = [answer.json() for answer in answers if answer.status_code == 200]
    assert (done["state"], done["resolution"]) == ("resolved", "Given to user ada.")
    assert await world.balance(done["customer_id"]) == 5
    for refused in answers:
        if refused.status_code == 409:
            assert_problem(refused, 409, "case_resolved")
    listed = (await client.get(CASES, params={"state": "resolved"})).json()["data"]
    assert listed == [done]


async def test_a_resolution_that_says_nothing_or_two_things_is_refused(
    world: World, client: httpx.AsyncClient
) -> None:
    case = await case_of_a_guest(world, client)
    path = f"{CASES}/{case['id']}/resolve"
    for body in ({}, {"user_id": "ada", "customer_id": 1}, {"note": ""}, {"what": 1}):
        assert_problem(await client.post(path, json=body), 422, "validation_error")
    assert_problem(await client.post(path, json={"user_id": "nobody"}), 404, "not_found")
    assert_problem(await client.post(f"{CASES}/999/resolve", json={"note": "x"}), 404, "not_found")
    ada = await person(world, "ada")
    refused = await client.post(path, json={"user_id": "ada"}, headers=ada.headers)
    assert_problem(refused, 403, "forbidden")
    done = await client.post(path, json={"note": "Refunded by hand."})
    assert (done.json()["state"], done.json()["resolution"]) == ("resolved", "Refunded by hand.")


async def test_cards_over_http_are_ones_own(world: World, client: httpx.AsyncClient) -> None:
    ada, bob = await person(world, "ada"), await person(world, "bob")
    payment = await world.open_checkout("ada")
    async with world.wiring.db.connection() as conn:
        name = await conn.fetchval("select provider_customer_id from provider_customers")
    card = world.stripe.v1.payment_methods.attach("pm_card_visa", {"customer": name}).id
    assert payment.customer_id
    cards = "/api/payment-methods"
    listed = await client.get(cards, headers=ada.headers)
    [found] = listed.json()["data"]
    assert (found["id"], found["brand"], found["last4"], found["default"]) == (
        card,
        "visa",
        "4242",
        False,
    )
    assert (await client.get(f"{cards}/{card}", headers=ada.headers)).json() == found
    for headers, card_id in ((bob.headers, card), (ada.headers, "pm_nothing")):
        for method, path in (("GET", card_id), ("DELETE", card_id), ("POST", f"{card_id}/default")):
            refused = await client.request(method, f"{cards}/{path}", headers=headers)
            assert_problem(refused, 404, "not_found")
    chosen = await client.post(
        f"{cards}/{card}/default", headers={**ada.headers, "Idempotency-Key": "card-1"}
    )
    assert chosen.json() == {**found, "default": True}
    gone = await client.delete(f"{cards}/{card}", headers=ada.headers)
    assert gone.status_code == 200
    assert (await client.get(cards, headers=ada.headers)).json()["data"] == []
