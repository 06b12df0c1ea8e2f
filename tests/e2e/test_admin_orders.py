"""Orders reviewed in a real browser: the list, a capture in whole and in part, a cancellation."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from bursar.access import sessions
from bursar.billing import customers
from bursar.billing.payments import Payment
from bursar.providers.stripe.translate import HANDLED
from worlds import World, eventually, free_port, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
WIDTHS = (320, 375, 768, 1280)

SMALL = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), summary")]
  .filter((e) => e.checkVisibility() && !e.closest(".vh") && !e.matches(".skip, p a, .told a"))
  .map((e) => [e.textContent.trim(), e.getBoundingClientRect().height])
  .filter(([, height]) => height < 24)"""

SIDEWAYS = """() => Math.max(
  document.documentElement.scrollWidth - document.documentElement.clientWidth,
  ...[...document.querySelectorAll("main .surface")].map((e) => e.scrollWidth - e.clientWidth))"""

# Every element with words of its own, against the nearest ground that is painted behind it.
FAINT = """() => {
  const parts = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const bright = (c) => {
    const [r, g, b] = parts(c).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (parts(c).length === 3 || parts(c)[3] > 0) return c;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")].filter((e) => {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(".vh, noscript")) return false;
    const [a, b] = [bright(getComputedStyle(e).color), bright(ground(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) < 4.5;
  }).map((e) => e.textContent.trim().slice(0, 40));
}"""


@dataclass
class Shop:
    """A served shop, its operator's browser, and buyers who place orders."""

    world: World
    browser: Browser
    page: Page
    url: str
    faults: list[str]

    async def order(self, user: str, name: str, **wanted: object) -> Payment:
        """An order that is paid at the provider, and told of by its webhooks."""
        async with self.world.wiring.db.transaction() as conn:
            await customers.put_user(
                conn, user, email=f"{user}@navy.example", email_verified=True, name=name,
                at=self.world.wiring.clock.now(),
            )  # fmt: skip
        wanted.setdefault("package", "enterprise")
        payment = await self.world.open_checkout(user, capture_method="manual", **wanted)
        await self.world.pay(payment)

        async def told() -> bool:
            return (await self.world.payment(payment)).status == "authorized"

        await eventually(told)
        return payment

    async def link(self, user: str, *, admin: bool) -> str:
        async with self.world.wiring.db.transaction() as conn:
            await customers.ensure_user(conn, user, at=self.world.wiring.clock.now())
            token = await sessions.create_link(conn, user, admin=admin)
        return f"{self.url}/sign-in?token={token}"


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    endpoint = world.stripe.v1.webhook_endpoints.create(
        {"url": f"{url}/api/stripe/webhook", "enabled_events": list(HANDLED)}  # type: ignore[typeddict-item]
    )
    settings = world.settings.model_copy(
        update={"port": port, "stripe_webhook_secrets": (str(endpoint.secret),)}
    )
    faults: list[str] = []
    with serving(settings):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = await browser.new_page(reduced_motion="reduce")
            page.on(
                "console", lambda said: faults.append(said.text) if said.type == "error" else None
            )
            page.on("pageerror", lambda error: faults.append(str(error)))
            yield Shop(world, browser, page, url, faults)
            await browser.close()
    world.stripe.v1.webhook_endpoints.delete(endpoint.id)


async def sign_in(shop: Shop) -> None:
    await shop.page.goto(await shop.link("grace", admin=True))
    await shop.page.wait_for_url(f"{shop.url}/admin/orders")


async def test_an_order_is_reviewed_and_captured(shop: Shop) -> None:
    payment = await shop.order("ada", "Ada Lovelace")
    await sign_in(shop)
    page = shop.page
    await expect(page.locator("main")).to_contain_text("1 order waits for a decision.")
    row = page.locator("tbody tr")
    await expect(row).to_contain_text("ada@navy.example")
    await expect(row).to_contain_text("First order")
    await expect(row).to_contain_text(re.compile(r"[67] days left"))
    await page.get_by_role("link", name="$50.00", exact=True).click()
    await expect(page.locator("h1")).to_contain_text("$50.00")
    await expect(page.locator("main")).to_contain_text("or it lapses and nothing is charged")
    await page.get_by_role("link", name="Capture $50.00").click()
    await expect(page.locator("h1")).to_have_text("Capture $50.00?")
    await expect(page.locator("main")).to_contain_text("gets 100 pages")
    await page.get_by_role("button", name="Capture $50.00").click()
    await expect(page.get_by_role("status")).to_contain_text("Captured $50.00.")
    await expect(page.locator(".head-line .badge")).to_have_text("Paid")
    after = await shop.world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 5000)
    assert await shop.world.balance(payment.customer_id) == 100
    await page.goto(f"{shop.url}/admin/orders")
    await expect(page.locator("main")).to_contain_text("No orders wait.")
    assert shop.faults == []


async def test_a_part_is_captured_and_the_rest_let_go(shop: Shop) -> None:
    payment = await shop.order("ada", "Ada Lovelace")
    await sign_in(shop)
    page = shop.page
    await page.get_by_role("link", name=f"Capture $50.00, payment {payment.id}").click()
    await page.get_by_text("Capture another amount").click()
    await page.get_by_label("Amount to capture").fill("50.01")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("alert")).to_contain_text("At most $50.00 is held")
    await expect(page.get_by_label("Amount to capture")).to_have_value("50.01")
    await expect(page.get_by_role("button", name="Capture")).to_have_count(0)
    shop.faults.clear()  # The page said 422, which the console notes.
    await page.get_by_label("Amount to capture").fill("20")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Capture $20.00 of $50.00?")
    await expect(page.locator("main")).to_contain_text("gets 40 pages of 100 pages")
    await page.get_by_role("button", name="Capture $20.00").click()
    await expect(page.get_by_role("status")).to_contain_text("The customer got 40 pages.")
    await expect(page.locator("main")).to_contain_text("$30.00 was let go, and not charged.")
    assert (await shop.world.payment(payment)).captured_minor == 2000
    assert await shop.world.balance(payment.customer_id) == 40
    await page.reload()
    await expect(page.get_by_role("status")).to_contain_text("Captured $20.00.")
    assert shop.faults == []


async def test_a_canceled_order_charges_nothing_and_the_next_one_is_offered(shop: Shop) -> None:
    first = await shop.order("ada", "Ada Lovelace")
    second = await shop.order("bob", "Bob")
    await sign_in(shop)
    page = shop.page
    await page.get_by_role("link", name=f"Cancel payment {first.id}").click()
    await page.get_by_label("Reason").select_option("fraudulent")
    await page.get_by_role("button", name="Cancel order, let go $50.00").click()
    await expect(page.get_by_role("status")).to_contain_text("Nothing was charged")
    after = await shop.world.payment(first)
    assert (after.status, after.captured_minor) == ("canceled", 0)
    await page.get_by_role("link", name="Next order").click()
    assert page.url == f"{shop.url}/admin/orders/{second.id}"
    # Somebody else was faster: the page of the decision leads to what is.
    await page.goto(f"{shop.url}/admin/orders/{first.id}/capture")
    await expect(page.get_by_role("status")).to_contain_text("decided about before")
    assert shop.faults == []


async def test_a_form_left_open_decides_nothing_anew(shop: Shop) -> None:
    payment = await shop.order("ada", "Ada Lovelace")
    await sign_in(shop)
    await shop.page.goto(f"{shop.url}/admin/orders/{payment.id}/capture")
    shop.world.stripe.v1.payment_intents.cancel(
        str((await shop.world.payment(payment)).payment_intent_id)
    )
    await shop.page.get_by_role("button", name="Capture $50.00").click()
    await expect(shop.page.get_by_role("status")).to_contain_text("Nothing was changed.")
    await expect(shop.page.locator(".head-line .badge")).to_have_text("Canceled")
    assert await shop.world.balance(payment.customer_id) == 0


async def test_nothing_is_there_for_whoever_is_no_admin(shop: Shop) -> None:
    payment = await shop.order("ada", "Ada Lovelace")
    page = await shop.browser.new_page()
    paths = ["/admin", "/admin/orders", f"/admin/orders/{payment.id}",
             f"/admin/orders/{payment.id}/capture"]  # fmt: skip
    for path in paths:
        await page.goto(f"{shop.url}{path}")
        await expect(page.locator("h1")).to_have_text("Sign in")
        await expect(page.locator("main")).to_contain_text("bursar admin create")
    await page.goto(await shop.link("ada", admin=False))
    for path in paths:
        answer = await page.goto(f"{shop.url}{path}")
        assert answer is not None
        assert answer.status == 404
        await expect(page.locator("h1")).to_have_text("There is nothing here")
    await page.goto(f"{shop.url}/account")
    sent = await page.evaluate(
        """async path => (await fetch(path, {method: "POST", body: new URLSearchParams(
            {amount: "5000"})})).status""",
        f"/admin/orders/{payment.id}/capture",
    )
    assert sent == 404
    assert (await shop.world.payment(payment)).status == "authorized"


async def test_the_pages_fit_and_can_be_read_at_every_width(shop: Shop) -> None:
    await shop.order("ada", "Ada Lovelace")
    long = await shop.order(f"{'x' * 60}", "N" * 200, package="starter", description="W" * 300)
    gone = await shop.order("bob", "Bob", package="basic")
    await sign_in(shop)
    page = shop.page
    await page.goto(f"{shop.url}/admin/orders/{gone.id}/cancel")
    await page.get_by_role("button", name="Cancel order").click()
    await expect(page.get_by_role("status")).to_contain_text("Canceled the order.")
    for path in (
        "/admin/orders",
        "/admin/orders?state=canceled",
        "/admin/orders?state=expired",
        f"/admin/orders/{long.id}",
        f"/admin/orders/{gone.id}?told=canceled",
        f"/admin/orders/{long.id}/capture?amount=1",
        f"/admin/orders/{long.id}/capture?amount=x",
        f"/admin/orders/{long.id}/cancel",
    ):
        await page.goto(f"{shop.url}{path}")
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate(SIDEWAYS) <= 1, (path, width)
            assert await page.evaluate(SMALL) == [], (path, width)
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                assert await page.evaluate(FAINT) == [], (path, width, scheme)


async def test_without_script_an_order_is_captured_from_a_small_screen(shop: Shop) -> None:
    payment = await shop.order("ada", "Ada Lovelace")
    context = await shop.browser.new_context(
        java_script_enabled=False, viewport={"width": 375, "height": 800}
    )
    page = await context.new_page()
    await page.goto(await shop.link("grace", admin=True))
    await page.get_by_text("Menu", exact=True).click()
    places = page.get_by_role("navigation", name="Places, menu")
    await expect(places.get_by_role("link", name="Orders to review")).to_contain_text("1")
    await page.get_by_text("Menu", exact=True).click()
    await page.get_by_role("link", name=f"Capture $50.00, payment {payment.id}").click()
    await page.get_by_role("button", name="Capture $50.00").click()
    await expect(page.get_by_role("status")).to_contain_text("Captured $50.00.")
    await context.close()
