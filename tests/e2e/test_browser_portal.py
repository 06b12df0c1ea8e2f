"""A subscriber's journey in a real browser: a trial on the hosted page, then the portal, where the
plan is switched, the card changed, the plan canceled and kept after all, and the invoices read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from bursar_sandbox.running import Sandbox
from hosted_page_shop import open_shop
from portal_shop import BANK_ASKS, PlanShop, day_of

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def back(sandbox: Sandbox) -> Iterator[str]:
    """Where the pages lead back to: a shop that answers."""
    with open_shop(sandbox.base_url) as shop:
        yield shop.url


@pytest.fixture(params=[(375, True), (1280, True), (375, False)], ids=["phone", "desk", "plain"])
async def page(request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """A browser's page, the last one without script; it has nothing to complain about."""
    width, script = request.param
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=script
        )
        opened = await context.new_page()
        opened.on(
            "console", lambda said: complaints.append(said.text) if said.type == "error" else None
        )
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        yield opened
        await browser.close()
    assert complaints == []


async def type_card(page: Page, number: str) -> None:
    fields = {
        "email": "ada@lovelace.example",
        "card_number": number,
        "expiry": "12 / 34",
        "security_code": "123",
        "name": "Ada Lovelace",
        "postal_code": "10115",
    }
    for name, value in fields.items():
        field = page.locator(f"[name={name}]")
        if await field.count():
            await field.fill(value)


async def subscribe(page: Page, shop: PlanShop, back: str) -> Any:
    """Start a trial of Basic on the hosted page; the subscription."""
    sold = shop.sell(
        success_url=f"{back}/thanks",
        cancel_url=f"{back}/plans",
        subscription_data={"trial_period_days": 14},
    )
    await page.goto(sold.url)
    await expect(page.locator("main")).to_contain_text("14 days free, then $15.00 a month")
    await type_card(page, "4242 4242 4242 4242")
    await page.get_by_role("button", name="Start trial").click()
    await page.wait_for_url(f"{back}/thanks")
    return shop.subscription(shop.v1.checkout.sessions.retrieve(sold.id).subscription)


async def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways to."""
    box = await page.locator("main").bounding_box()
    size = page.viewport_size
    return box is not None and size is not None and box["x"] + box["width"] <= size["width"] + 1


async def test_a_subscriber_sees_to_everything_in_the_portal(
    sandbox: Sandbox, page: Page, back: str
) -> None:
    shop = PlanShop(sandbox.base_url)
    subscription = await subscribe(page, shop, back)
    ends = day_of(subscription.trial_end)
    portal = shop.portal(subscription.customer, return_url=f"{back}/account")
    main = page.locator("main")
    await page.goto(portal.url)
    await expect(main).to_contain_text(f"Trial until {ends}")
    await expect(main).to_contain_text(f"First charge $15.00 on {ends}, Visa ending in 4242.")
    assert await fits(page)

    await page.get_by_role("link", name="Change plan").click()
    await page.get_by_role("radio", name="Pro").check()
    await page.get_by_role("button", name="See what it costs").click()
    await expect(main).to_contain_text("Charge today")
    assert await fits(page)
    await page.get_by_role("button", name="Confirm and pay $30.00").click()
    await expect(page.get_by_role("status")).to_contain_text("The plan is changed.")
    await expect(main).to_contain_text(re.compile(r"Pro\s*Active"))

    await page.get_by_role("link", name="Add a card").click()
    await type_card(page, BANK_ASKS)
    await page.get_by_role("button", name="Save card").click()
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("status")).to_contain_text("The card is saved")
    await expect(main).to_contain_text("Visa ending in 3184")
    await page.get_by_role("button", name="Remove Visa ending in 4242").click()
    await expect(main).not_to_contain_text("4242")

    await page.get_by_role("link", name="Cancel plan").click()
    await page.get_by_label("I don’t use it enough").check()
    await page.get_by_role("button", name="Cancel plan").click()
    await expect(main).to_contain_text(re.compile(r"Ends \d+ \w+ 20\d\d"))
    assert shop.subscription(subscription.id).cancel_at is not None
    await page.get_by_role("button", name="Don’t cancel").click()
    await expect(page.get_by_role("status")).to_contain_text("The plan goes on.")
    assert shop.subscription(subscription.id).cancel_at is None

    rows = page.get_by_role("table").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("$30.00")
    await rows.first.get_by_role("link").click()
    await expect(main).to_contain_text("Paid. For Ada Lovelace")
    await expect(main).to_contain_text("$30.00")
    await page.go_back()
    await page.get_by_role("link", name="Back to 127.0.0.1").click()
    await page.wait_for_url(f"{back}/account")
