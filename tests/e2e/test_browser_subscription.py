"""Plans in a real browser: a trial begun, an upgrade at the price that was shown, an end and its
undoing, and the provider's own pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from bursar.access import sessions
from bursar.billing import customers
from bursar.providers.stripe.translate import HANDLED
from worlds import World, free_port, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
GOOD = "4242 4242 4242 4242"


@dataclass
class Shop:
    """A served shop with a signed-in person's browser before it."""

    page: Page
    url: str
    faults: list[str]

    async def subscribe(self, button: str, card: str = GOOD) -> None:
        """Press a plan's button on the price list, and fill in the provider's page."""
        await self.page.goto(f"{self.url}/pricing")
        await self.page.get_by_role("button", name=button).click()
        await expect(self.page.get_by_label("Card number")).to_be_visible()
        fields = {
            "email": "ada@lovelace.example",
            "card_number": card,
            "expiry": "12 / 34",
            "security_code": "123",
            "name": "Ada Lovelace",
            "postal_code": "10115",
        }
        for name, value in fields.items():
            field = self.page.locator(f"[name={name}]")
            if await field.count():
                await field.fill(value)
        words = re.compile("Subscribe|Start trial")
        await self.page.locator("button[type=submit]", has_text=words).click()
        await self.page.wait_for_url("**/checkout/success?session_id=cs_test_*")

    async def says(self, *words: str) -> None:
        for said in words:
            await expect(self.page.locator("main")).to_contain_text(said)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name).click()

    async def follow(self, name: str) -> None:
        await self.page.get_by_role("link", name=name).click()

    async def account(self) -> None:
        await self.page.goto(f"{self.url}/account")


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    wanted: Any = {"url": f"{url}/api/stripe/webhook", "enabled_events": sorted(HANDLED)}
    endpoint = world.stripe.v1.webhook_endpoints.create(wanted)
    settings = world.settings.model_copy(
        update={"port": port, "stripe_webhook_secrets": (str(endpoint.secret),)}
    )
    async with world.wiring.db.transaction() as conn:
        await customers.ensure_user(conn, "ada", at=world.wiring.clock.now())
        token = await sessions.create_link(conn, "ada")
    faults: list[str] = []
    with serving(settings):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = await browser.new_page()
            page.on(
                "console", lambda said: faults.append(said.text) if said.type == "error" else None
            )
            page.on("pageerror", lambda error: faults.append(str(error)))
            await page.goto(f"{url}/sign-in?token={token}")
            yield Shop(page, url, faults)
            await browser.close()
    world.stripe.v1.webhook_endpoints.delete(endpoint.id)


async def test_a_trial_is_begun_from_the_price_list(shop: Shop) -> None:
    await shop.subscribe("Start 14-day trial of Pro")
    await shop.says("Your trial of Pro runs until", "Nothing was charged.", "$29.00 a month")
    await expect(shop.page.locator("main")).not_to_contain_text("Free")
    await shop.account()
    await shop.says("Trial until", "First charge", "$29.00 on")
    features = shop.page.get_by_role("region", name="Features")
    await expect(features).to_contain_text("Priority")
    await shop.page.goto(f"{shop.url}/pricing")
    await expect(shop.page.get_by_role("link", name="Manage Pro")).to_be_visible()
    await expect(shop.page.get_by_role("link", name="Switch to Starter")).to_be_visible()
    await expect(shop.page.get_by_role("button", name="trial")).to_have_count(0)
    assert shop.faults == []


async def test_an_upgrade_is_paid_at_the_price_that_was_shown(shop: Shop) -> None:
    await shop.subscribe("Subscribe to Basic")
    await shop.says("You have Basic", "You paid $15.00.", "Basic, $15.00 a month", "now 20")
    await shop.page.goto(f"{shop.url}/pricing")
    await shop.follow("Switch to Pro")
    await shop.says("Change to Pro", "To pay today", "Next charge")
    button = shop.page.get_by_role("button", name="Confirm and pay $")
    shown = str(await button.text_content()).rpartition(" ")[2]
    await button.click()
    await shop.page.wait_for_url("**/account?said=changed*")
    await shop.says("You have Pro now.", "$30.00 a month")
    await expect(shop.page.locator("main")).to_contain_text(re.compile(r"To use now\s*50\b"))
    await shop.page.get_by_text("Invoices (2)").click()
    await expect(shop.page.get_by_role("row").filter(has_text=shown).first).to_be_visible()
    assert shop.faults == []


async def test_a_plan_is_canceled_on_two_pages_and_resumed_with_one_press(shop: Shop) -> None:
    await shop.subscribe("Subscribe to Basic")
    await shop.account()
    await shop.follow("Cancel Basic")
    await shop.says("Cancel Basic?", "It runs until", "History")
    await expect(shop.page.get_by_role("link", name="Keep plan")).to_be_visible()
    await shop.press("Cancel plan")
    await shop.says("Basic is canceled and ends on", "You can resume it below")
    await shop.press("Resume Basic")
    await shop.says("Basic is resumed.", "Next charge")
    assert shop.faults == []


async def test_a_plan_is_ended_now(shop: Shop) -> None:
    await shop.subscribe("Subscribe to Basic")
    await shop.account()
    await shop.follow("Cancel Basic")
    await shop.page.get_by_label("Now").check()
    await shop.press("Cancel plan")
    await shop.says("Basic has ended.", "No plan runs at the moment")
    await expect(shop.page.get_by_role("region", name="Features")).to_have_count(0)
    assert shop.faults == []


async def test_the_portal_is_the_providers_page_and_leads_back(shop: Shop) -> None:
    await shop.subscribe("Subscribe to Basic")
    await shop.account()
    await shop.press("Cards and invoices at the payment provider")
    await expect(shop.page.get_by_role("heading", name="Plan and billing")).to_be_visible()
    await expect(shop.page.get_by_role("article", name="Basic")).to_contain_text("$15.00")
    await shop.page.get_by_role("link", name="Back to").first.click()
    await shop.page.wait_for_url(f"{shop.url}/account")
    assert shop.faults == []
