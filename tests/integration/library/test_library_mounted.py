"""Mounted under a path of a host's app: every link, redirect, form and cookie keeps inside it."""

from __future__ import annotations

import re
import time
from urllib.parse import quote, urlsplit

import httpx2
import orjson
import pytest
import stripe
from fastapi import FastAPI

from bursar.access import sessions
from bursar.billing import payments
from bursar.config import read
from bursar.entrypoints.mounted import links_under
from library_host import host_at, make_library
from web_shop import form_of
from worlds import WEBHOOK_SECRET, World

LOCAL = re.compile(r'\s(?:href|src|action|formaction|data-watch)="(/[^"]*)"')


def assert_inside(page: httpx2.Response, base: str = "/billing") -> None:
    """Every local link of a page leads to where we are mounted."""
    links = LOCAL.findall(page.text)
    assert links
    assert [link for link in links if not link.startswith(f"{base}/")] == []


def browser_at(url: str) -> httpx2.AsyncClient:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    headers = {"accept": "text/html", "origin": origin}
    return httpx2.AsyncClient(base_url=origin, headers=headers, timeout=30)


async def sign_in_token(world: World, user_id: str) -> str:
    await world.user(user_id)
    async with world.wiring.db.transaction() as conn:
        return quote(await sessions.create_link(conn, user_id))


async def deliver_over_http(world: World, browser: httpx2.AsyncClient, session_id: str) -> None:
    """The provider's webhooks, sent to the host's front door."""
    async with world.wiring.db.connection() as conn:
        payment = await payments.find_by_session(conn, "stripe", session_id)
    assert payment is not None
    await world.pay(payment)
    for event in await world.events_about(payment):
        body = orjson.dumps(event)
        signature = stripe.WebhookSignature.generate_signature_header(
            body.decode(), WEBHOOK_SECRET, int(time.time())
        )
        answer = await browser.post(
            "/billing/api/stripe/webhook",
            content=body,
            headers={"stripe-signature": signature, "content-type": "application/json"},
        )
        assert answer.status_code == 200, answer.text


async def test_a_purchase_under_a_path_from_sign_in_to_success(world: World) -> None:
    token = await sign_in_token(world, "ada")
    async with host_at(world) as url, browser_at(url) as browser:
        signed_in = await browser.get(f"/billing/sign-in?token={token}")
        assert signed_in.headers["location"] == "/billing/account"
        assert "path=/billing;" in signed_in.headers["set-cookie"].lower()
        assert_inside(await browser.get("/billing/account"))
        pricing = await browser.get("/billing/pricing")
        assert_inside(pricing)
        for link in dict.fromkeys(LOCAL.findall(pricing.text)):
            if "static" in link or "theme" in link or "favicon" in link:
                assert (await browser.get(link)).status_code == 200, link
        bought = await browser.post("/billing/pricing/buy", data=form_of(pricing.text, "package"))
        assert bought.status_code == 303, bought.text
        hosted = bought.headers["location"]
        assert hosted.startswith(world.sandbox.base_url)
        session = next(
            one
            for one in world.stripe.v1.checkout.sessions.list().data
            if one.url and one.url.split("#")[0] == hosted.split("#")[0]
        )
        assert str(session.success_url).startswith(f"{url}/checkout/success?")
        assert str(session.cancel_url).startswith(f"{url}/pricing?")
        await deliver_over_http(world, browser, session.id)
        done = await browser.get(
            str(session.success_url).replace("{CHECKOUT_SESSION_ID}", session.id)
        )
        assert "You paid" in done.text
        assert_inside(done)
        out = await browser.post("/billing/sign-out", data={"x": "y"})
        assert out.headers["location"] == "/billing/pricing"
    assert await world.balance((await world.user("ada")).customer_id) == 5


async def test_what_needs_a_sign_in_leads_there_and_back(world: World) -> None:
    token = await sign_in_token(world, "ada")
    async with host_at(world) as url, browser_at(url) as browser:
        sent = await browser.get("/billing/account")
        assert sent.headers["location"] == "/billing/sign-in?next=%2Faccount"
        back = await browser.get(f"/billing/sign-in?token={token}&next=%2Fpricing%3Fpackage%3Dpro")
        assert back.headers["location"] == "/billing/pricing?package=pro"
        scheme = await browser.post("/billing/scheme", data={"scheme": "dark", "next": "/account"})
        assert scheme.headers["location"] == "/billing/account"


async def test_a_waiting_payment_is_watched_inside_the_path(world: World) -> None:
    token = await sign_in_token(world, "ada")
    payment = await world.open_checkout()
    async with host_at(world) as url, browser_at(url) as browser:
        await browser.get(f"/billing/sign-in?token={token}")
        page = await browser.get(f"/billing/checkout/success?session_id={payment.session_id}")
        assert 'data-watch="/billing/checkout/success/status?' in page.text
        assert ";url=/billing/checkout/success?" in page.text
        assert_inside(page)


async def test_the_api_under_a_path_is_the_same_and_says_where_it_is(world: World) -> None:
    async with host_at(world) as url, browser_at(url) as browser:
        packages = await browser.get("/billing/api/credit-packages")
        assert next(pack["id"] for pack in packages.json()["data"]) == "starter"
        refused = await browser.get("/billing/user/balance")
        assert (refused.status_code, refused.headers["cache-control"]) == (401, "no-store")
        assert refused.json()["type"] == "/billing/docs/errors#unauthenticated"
        schema = (await browser.get("/billing/openapi.json")).json()
        assert schema["servers"] == [{"url": "/billing"}]
        assert (await browser.get("/billing/readyz")).status_code == 200
        missing = await browser.get("/billing/nothing/here")
        assert missing.status_code == 404
        assert_inside(missing)
        assert (await browser.get("/pricing")).status_code == 404


@pytest.mark.parametrize("path", ["/billing", "/deep/in/side"])
async def test_the_mount_itself_is_the_price_list(world: World, path: str) -> None:
    async with host_at(world, path) as url, browser_at(url) as browser:
        page = await browser.get(f"{path}/")
        assert page.status_code == 200
        assert_inside(page, path)


async def test_a_mount_that_the_public_address_does_not_name_says_so(world: World) -> None:
    wrong = {"public_url": "http://127.0.0.1:8000"}
    async with host_at(world, **wrong) as url, browser_at(url) as browser:
        answer = await browser.get("/billing/pricing")
    assert (answer.status_code, "BURSAR_PUBLIC_URL" in answer.text) == (500, True)


async def test_a_mount_that_is_not_started_answers_503(world: World) -> None:
    library = make_library(world)
    app = FastAPI()
    app.mount("/billing", library.app)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://host") as browser:
        answer = await browser.get("/billing/pricing")
    assert answer.status_code == 503
    assert "lifespan" in answer.text


def test_only_links_of_our_own_get_the_path() -> None:
    html = (
        '<a href="/pricing">x</a><a href="//evil.example">y</a><a href="https://a.example/">z</a>'
        '<form action="/sign-out"></form><p>href="/pricing"</p><a href="#main">m</a>'
    )
    assert links_under("/billing", html) == (
        '<a href="/billing/pricing">x</a><a href="//evil.example">y</a>'
        '<a href="https://a.example/">z</a>'
        '<form action="/billing/sign-out"></form><p>href="/pricing"</p><a href="#main">m</a>'
    )
    assert links_under("", html) == html


def test_an_address_without_a_path_has_no_base() -> None:
    assert read(None, public_url="https://shop.example").base_path == ""
    assert read(None, public_url="https://shop.example/").base_path == ""
    assert read(None, public_url="https://shop.example/a/b/").base_path == "/a/b"
