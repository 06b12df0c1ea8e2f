"""The journey in a real browser: a pack bought, declined and paid with another card, left, bought
again; and what the account says after each."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Page, async_playwright, expect

from bursar.access import sessions
from bursar.billing import customers
from worlds import EVENTS, World, eventually, free_port, serving

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
GOOD, DECLINED = "4242 4242 4242 4242", "4000 0000 0000 0002"


@dataclass
class Shop:
    """A served shop with a signed-in buyer's browser before it."""

    page: Page
    url: str
    faults: list[str]

    async def choose(self, pack: str) -> None:
        await self.page.goto(f"{self.url}/pricing")
        row = self.page.locator("form", has=self.page.locator(f"input[value={pack}]"))
        await row.get_by_role("button", name="Buy").click()
        await expect(self.page.get_by_label("Card number")).to_be_visible()

    async def pay(self, card: str) -> None:
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
        await self.page.locator("button[type=submit]", has_text="Pay").click()

    async def expect_balance(self, pages: int, badges: list[str]) -> None:
        """The account shows so many pages, and the payments' badges, the newest first."""
        await self.page.goto(f"{self.url}/account")
        main = self.page.locator("main")
        await expect(main).to_contain_text(re.compile(rf"To use now\s*{pages}\b"))
        assert await self.badges() == badges

    async def badges(self) -> list[str]:
        """The badges of the payments on the account page, also of those that are folded away."""
        # A row shows its badge twice, once for each width; one of them is always hidden.
        rows = await self.page.get_by_role("region", name="Payments").locator("tbody tr").all()
        shown = [await row.locator(".badge").first.text_content() for row in rows]
        return [str(text).strip() for text in shown]


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    endpoint = world.stripe.v1.webhook_endpoints.create(
        {"url": f"{url}/api/stripe/webhook", "enabled_events": EVENTS}  # type: ignore[typeddict-item]
    )
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


async def test_a_pack_is_bought_and_the_success_page_shows_the_new_balance(shop: Shop) -> None:
    await shop.choose("starter")
    await shop.pay(GOOD)
    await shop.page.wait_for_url("**/checkout/success?session_id=cs_test_*")
    await expect(shop.page.locator("main")).to_contain_text("$5.00")
    await expect(shop.page.locator("main")).to_contain_text(
        re.compile(r"\b5\spages\b.*now 5\b", re.DOTALL)
    )
    await shop.expect_balance(5, ["Paid"])
    await shop.choose("basic")
    await shop.pay(GOOD)
    await shop.page.wait_for_url("**/checkout/success?session_id=cs_test_*")
    await expect(shop.page.locator("main")).to_contain_text(
        re.compile(r"\b12\spages\b.*now 17\b", re.DOTALL)
    )
    await shop.expect_balance(17, ["Paid", "Paid"])
    assert shop.faults == []


async def test_a_declined_card_costs_nothing_and_another_one_pays_on_the_same_page(
    shop: Shop,
) -> None:
    await shop.choose("starter")
    hosted = shop.page.url
    await shop.pay(DECLINED)
    problem = shop.page.get_by_role("alert")
    await expect(problem).to_contain_text("declined")
    assert shop.page.url.split("#")[0] == hosted
    await expect(shop.page.locator("[name=name]")).to_have_value("Ada Lovelace")
    await shop.pay(GOOD)
    await shop.page.wait_for_url("**/checkout/success?session_id=cs_test_*")
    await expect(shop.page.locator("main")).to_contain_text(
        re.compile(r"\b5\spages\b.*now 5\b", re.DOTALL)
    )
    await shop.expect_balance(5, ["Paid"])


async def test_after_a_decline_alone_the_account_says_failed_and_holds_nothing(shop: Shop) -> None:
    await shop.choose("starter")
    await shop.pay(DECLINED)
    await expect(shop.page.get_by_role("alert")).to_contain_text("declined")

    async def told() -> bool:
        await shop.page.goto(f"{shop.url}/account")
        return await shop.badges() == ["Failed"]

    await eventually(told)
    await expect(shop.page.locator("main")).to_contain_text("No credits yet")


async def test_leaving_the_payment_page_charges_nothing(shop: Shop) -> None:
    await shop.choose("starter")
    await shop.page.get_by_role("link", name="Cancel and go back").click()
    await shop.page.wait_for_url("**/pricing*")
    await expect(shop.page.locator("main")).to_contain_text("Nothing was charged")
    await shop.page.goto(f"{shop.url}/account")
    assert await shop.badges() == ["Pending"]
    await expect(shop.page.locator("main")).to_contain_text("No credits yet")
