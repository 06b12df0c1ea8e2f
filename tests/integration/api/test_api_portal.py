"""The provider's portal: an address for customers, the prices for everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api_server import assert_problem
from bursar.access import sessions
from subscribers import Subscribers
from subscription_api import BASE, Desk, open_desk
from worlds import World, sandbox

# The world's own sandbox: what it says is held to the provider's schema.
__all__ = ["sandbox"]

PATH = "/api/stripe/portal"
OWN_PAGE = {"Origin": BASE}


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with open_desk(Subscribers(world)) as desk:
        yield desk


async def sign_in(desk: Desk, user_id: str) -> dict[str, str]:
    """The cookie of a browser that followed a sign-in link."""
    await desk.shop.world.user(user_id)
    async with desk.shop.world.wiring.db.transaction() as conn:
        token = await sessions.create_link(conn, user_id)
        signed_in = await sessions.redeem(conn, token)
    return {"Cookie": f"bursar_session={signed_in.session_token}"}


async def test_a_customer_gets_the_portals_address(desk: Desk) -> None:
    ada = await desk.key("user", "ada")
    await desk.subscribe(ada, "pages-basic")
    headers = {**ada, "Idempotency-Key": "k"}
    answer = await desk.http.post(PATH, json={"return_url": f"{BASE}/done"}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"url"}
    async with httpx.AsyncClient(timeout=30) as browser:
        page = await browser.get(answer.json()["url"])
    assert page.status_code == 200
    assert "Basic" in page.text
    assert f'href="{BASE}/done"' in page.text
    again = await desk.http.post(PATH, json={}, headers=headers)
    assert again.json()["url"] != answer.json()["url"]


async def test_who_bought_nothing_is_told_where_the_prices_are(desk: Desk) -> None:
    ada = await desk.key("user", "ada")
    refused = await desk.http.post(PATH, json={}, headers=ada)
    problem = assert_problem(refused, 409, "no_customer")
    assert problem["pricing_url"] == f"{BASE}/pricing"


async def test_a_customer_whom_the_provider_lost_has_nothing_there(desk: Desk) -> None:
    ada = await desk.key("user", "ada")
    await desk.subscribe(ada, "pages-basic")
    async with desk.shop.world.wiring.db.connection() as conn:
        lost = await conn.fetchval("select provider_customer_id from provider_customers")
    desk.shop.world.stripe.v1.customers.delete(lost)
    for _ in range(2):
        assert_problem(await desk.http.post(PATH, json={}, headers=ada), 409, "no_customer")


async def test_nobody_is_sent_elsewhere_or_let_in_without_a_key(desk: Desk) -> None:
    ada = await desk.key("user", "ada")
    await desk.subscribe(ada, "pages-basic")
    wrong = {"return_url": "https://evil.example/"}
    refused = await desk.http.post(PATH, json=wrong, headers=ada)
    assert_problem(refused, 422, "redirect_not_allowed")
    assert_problem(await desk.http.post(PATH, json={}), 401, "unauthenticated")
    admin = await desk.key("admin")
    assert_problem(await desk.http.post(PATH, json={}, headers=admin), 403, "forbidden")
    form = await desk.http.post(PATH, data={"return_path": "/x"}, headers=ada)
    assert_problem(form, 415, "unsupported_media_type")
    other = await desk.http.post("/api/paddle/portal", json={}, headers=ada)
    assert_problem(other, 409, "not_supported")


async def test_a_form_is_redirected_to_the_portal_and_back_to_us(desk: Desk) -> None:
    await desk.subscribe(await desk.key("user", "ada"), "pages-basic")
    browser = {**await sign_in(desk, "ada"), **OWN_PAGE}
    form = {"return_path": "//evil.example/"}
    answer = await desk.http.post(PATH, data=form, headers=browser)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(desk.shop.world.sandbox.base_url)
    async with httpx.AsyncClient(timeout=30) as visitor:
        page = await visitor.get(answer.headers["location"])
    assert f'href="{BASE}/account"' in page.text


async def test_a_form_of_who_bought_nothing_leads_to_the_prices(desk: Desk) -> None:
    browser = {**await sign_in(desk, "bob"), **OWN_PAGE}
    answer = await desk.http.post(PATH, data={"return_path": "/account"}, headers=browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/pricing")


async def test_a_form_of_another_page_or_of_nobody_opens_nothing(desk: Desk) -> None:
    await desk.subscribe(await desk.key("user", "ada"), "pages-basic")
    cookie = await sign_in(desk, "ada")
    form = {"return_path": "/account"}
    foreign = {**cookie, "Origin": "https://evil.example"}
    refused = await desk.http.post(PATH, data=form, headers=foreign)
    assert refused.status_code == 403
    nobody = {"Cookie": "bursar_session=none", **OWN_PAGE}
    answer = await desk.http.post(PATH, data=form, headers=nobody)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
