"""What every answer tells a browser, and that a browser holds to it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Route, async_playwright
from starlette.routing import BaseRoute
from starlette.routing import Route as PlainRoute

from bursar.access import sessions
from bursar.db import Connection
from bursar.entrypoints import headers, server
from bursar.wiring import Wiring
from card_form_shop import CATALOG
from web_shop import Shop, shop_at

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
CARD_FORM = "/checkout?plan=pages-pro&months=3"
PAGES = ["/pricing", "/checkout", "/checkout/success", "/account", "/admin/orders", "/sign-in",
         "/team/join", "/nowhere"]  # fmt: skip
FORM = {
    "script-src": ("https://js.pay.example",),
    "frame-src": ("https://js.pay.example", "https://*.js.pay.example"),
    "connect-src": ("https://api.pay.example",),
}


@pytest.fixture
def selling(shop: Shop, tmp_path: Path) -> Shop:
    """The shop with plans by duration on sale, and somebody who buys and runs it."""
    shop.sell(tmp_path, CATALOG)
    shop.user("ada", email="ada@lovelace.example", name="Ada Lovelace")
    return shop


def admin_path(shop: Shop) -> str:
    """A link that signs Ada in as the operator."""

    async def work(conn: Connection) -> str:
        return await sessions.create_link(conn, "ada", admin=True)

    token = shop.call(lambda wiring: wiring.db.run(work))
    return f"/sign-in?token={token}"


def _paths(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """The paths of an app's routes, those of its rooms' routers among them."""
    for route in routes:
        if isinstance(route, APIRoute | PlainRoute):
            yield route.path
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _paths(inner.routes)


def addresses(shop: Shop) -> list[str]:
    """An address for every route that the served app has, whatever its method."""

    async def paths(wiring: Wiring) -> list[str]:
        return list(_paths(server.create(wiring).router.routes))

    found = shop.call(paths)
    return sorted({re.sub(r"\{[^}]*provider[^}]*\}", "stripe", path) for path in found})


def filled(path: str) -> str:
    """A path whose parameters name nothing."""
    return re.sub(r"\{[^}]+\}", "0b6ed9f0-58a4-4a3c-8f0e-6f3f1b1e7a11", path)


def policy_of(answer: httpx.Response) -> dict[str, str]:
    """The directives of the one policy that an answer carries."""
    assert len(answer.headers.get_list("content-security-policy")) == 1, answer.url
    parts = answer.headers["content-security-policy"].split("; ")
    return {name: sources for name, _, sources in (part.partition(" ") for part in parts)}


def assert_guarded(answer: httpx.Response) -> None:
    """Hold any answer to what all of them say."""
    where = f"{answer.request.method} {answer.url} {answer.status_code}"
    assert answer.status_code < 500, where
    policy = policy_of(answer)
    assert policy["default-src"] == "'none'", where
    assert "unsafe-eval" not in str(policy), where
    for name, value in EVERYWHERE.items():
        assert answer.headers.get_list(name) == [value], where
    assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin"), where
    assert "camera=()" in answer.headers["permissions-policy"], where
    assert answer.headers["cross-origin-opener-policy"].startswith("same-origin"), where
    assert "strict-transport-security" not in answer.headers, where
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'", where
        assert "unsafe" not in str(policy), where
    path = answer.url.path
    if path.startswith(("/api/", "/user/", "/account", "/checkout", "/admin")):
        assert answer.headers.get_list("cache-control") == ["no-store"], where


@pytest.mark.parametrize("who", ["nobody", "buyer", "operator"])
def test_every_route_of_the_served_app_says_it(selling: Shop, who: str) -> None:
    paths = addresses(selling)
    assert {"/pricing", "/account", "/docs", "/healthz", "/api/stripe/webhook"} <= set(paths)
    assert len(paths) > 60
    with selling.browser("ada" if who == "buyer" else None) as browser:
        if who == "operator":
            assert browser.get(admin_path(selling)).status_code == 303
        for path in [*map(filled, paths), "/nowhere", "/api/nowhere", "/static/none.css"]:
            for method in ("GET", "HEAD", "OPTIONS"):
                assert_guarded(browser.request(method, path))
        page = browser.get(CARD_FORM, follow_redirects=True)
        assert_guarded(page)
        assert page.url.path == ("/sign-in" if who == "nobody" else "/checkout")


def test_every_post_says_it_when_refused(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        for path in map(filled, addresses(selling)):
            assert_guarded(browser.post(path, content=b"{}"))


def test_a_page_has_its_own_nonce_and_its_scripts_carry_it(selling: Shop) -> None:
    seen = set()
    with selling.browser("ada") as browser:
        for path in ("/pricing", "/pricing", "/account", "/nowhere", CARD_FORM):
            page = browser.get(path, follow_redirects=True)
            nonce = re.findall(r"'nonce-([\w-]+)'", policy_of(page)["script-src"])
            tags = re.findall(r"<script[^>]*>", page.text)
            assert len(nonce) == 1
            assert tags
            assert all(f'nonce="{nonce[0]}"' in tag for tag in tags)
            seen.add(nonce[0])
    assert len(seen) == 5


def test_only_the_card_form_lets_the_provider_in(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        form = browser.get(CARD_FORM, follow_redirects=True)
        other = browser.get("/account")
    assert "payment=(self" in form.headers["permissions-policy"]
    assert "payment=()" in other.headers["permissions-policy"]
    assert form.headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
    assert other.headers["cross-origin-opener-policy"] == "same-origin"
    assert "frame-src" in policy_of(form)
    assert "frame-src" not in policy_of(other)
    assert "http" not in policy_of(other)["script-src"] + policy_of(other)["connect-src"]


def test_the_providers_origins_stand_where_they_belong() -> None:
    told = headers.of_page("n", card_form=FORM, ways_out=["https://hosted.pay.example/c/1"])
    policy = told["content-security-policy"]
    assert "script-src 'self' https://js.pay.example 'nonce-n';" in policy
    assert "frame-src 'self' https://js.pay.example https://*.js.pay.example;" in policy
    assert "connect-src 'self' https://api.pay.example;" in policy
    assert "form-action 'self' https://hosted.pay.example;" in policy
    # Not every browser reads a pattern in this header, and one that can't drops all of it.
    assert told["permissions-policy"].endswith('payment=(self "https://js.pay.example")')


def test_a_refusal_looks_signed_in_to_who_is(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        for answer in (
            browser.get("/nowhere"),
            browser.get("/sign-out"),
            browser.get("/pricing/buy/none"),
            browser.post("/scheme", data={"scheme": "blue"}),
            browser.post("/scheme", json={}),
        ):
            assert answer.status_code in (404, 405, 415, 422)
            assert "Signed in as Ada Lovelace." in answer.text
            assert 'href="/sign-in"' not in answer.text
    with selling.browser() as browser:
        assert 'href="/sign-in"' in browser.get("/nowhere").text


def test_a_refusal_is_shown_though_nobody_can_say_who_asks(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        bare_shop.call(lambda wiring: wiring.db.close())
        answer = browser.get("/nowhere")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


def test_the_reference_answers_head_and_needs_nothing_from_elsewhere(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        for path in ("/docs", "/docs/errors", "/openapi.json"):
            head, whole = browser.head(path), browser.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
        docs = browser.get("/docs").text
    assert not re.search(r"<script|(?:src|href)=\"(?:https?:)?//", docs)


class Watched:
    """A browser's page with what it complained of, and what was kept from running."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.violations: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.violations.append(message.text)
        elif message.type in ("error", "warning"):
            self.complaints.append(message.text)


@asynccontextmanager
async def chromium(shop: Shop, path: str) -> AsyncIterator[tuple[BrowserContext, Watched]]:
    """A browser that was signed in by the link `path`."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context(base_url=shop.url)
        page = await context.new_page()
        await page.goto(path)
        yield context, Watched(page)
        await browser.close()


@pytest.mark.browser
async def test_no_page_breaks_its_own_policy_in_a_browser(selling: Shop) -> None:
    with selling.browser("ada") as buyer:
        selling.buy(buyer, "starter")
    payment = selling.payments(selling.user("ada"))[0]
    paid = f"/checkout/success?session_id={payment.session_id}"
    order = f"/admin/orders/{payment.id}"
    async with chromium(selling, admin_path(selling)) as (_, watched):
        for path in [*PAGES, CARD_FORM, paid, order, "/docs", "/docs/errors", "/favicon.svg"]:
            await watched.page.goto(path)
            await watched.page.wait_for_load_state("networkidle")
            assert watched.violations == [], path
        await watched.page.goto("/pricing")
        await watched.page.get_by_role("link", name="Choose Pro, 3 months").click()
        await watched.page.frame_locator("#pay-card iframe").get_by_label("Card number").fill("42")
        assert watched.violations == []


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/account", CARD_FORM])
async def test_a_planted_script_does_not_run_and_one_of_ours_would(
    selling: Shop, path: str
) -> None:
    planted = (
        "<script>window.planted = 'inline'</script>"
        "<script nonce='guessed'>window.planted = 'guessed'</script>"
        "<img src='data:,' onerror=\"window.planted = 'handler'\">"
        "<script src='https://elsewhere.example/x.js'></script>"
    )

    async def plant(route: Route) -> None:
        answer = await route.fetch(max_redirects=0)
        if answer.status != 200:
            await route.fulfill(response=answer)
            return
        nonce = re.search(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])
        assert nonce
        ours = f"<script nonce='{nonce[1]}'>window.ours = true</script>"
        body = (await answer.text()).replace("</body>", f"{planted}{ours}</body>")
        await route.fulfill(response=answer, body=body)

    async with chromium(selling, selling.sign_in_path("ada")) as (context, watched):
        # A browser's redirects pass the planting by: first to where the order has its key.
        await watched.page.goto(path)
        await context.route(re.compile(r":\d+/(account|checkout)(\?|$)"), plant)
        await watched.page.reload()
        await watched.page.wait_for_load_state("networkidle")
        assert await watched.page.evaluate("[window.planted, window.ours]") == [None, True]
        assert len(watched.violations) == 4


def test_live_mode_over_https_asks_for_https_from_now_on(database_url: str) -> None:
    live = {
        "stripe_secret_key": "sk_live_pages_of_the_shop",
        "public_url": "https://shop.example",
        "trusted_proxies": "127.0.0.1",
    }
    with shop_at(database_url, **live) as shop, shop.browser() as browser:
        for path in ("/pricing", "/nowhere", "/api/credit-packages", "/account", "/docs"):
            answer = browser.get(path, headers={"x-forwarded-proto": "https"})
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
