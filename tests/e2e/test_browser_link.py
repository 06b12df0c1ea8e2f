"""A payment link in a real browser: a guest buys by it, and whoever verifies the address has it."""

from __future__ import annotations

import pytest
from playwright.async_api import async_playwright, expect

from bursar.access import keys
from e2e.test_browser_purchase import ARGUMENTS, CHROMIUM, GOOD
from guests import link_of, opened
from worlds import EVENTS, World, eventually, free_port, serving

pytestmark = pytest.mark.browser

EMAIL = "gus@guest.example"


async def test_a_guest_buys_by_a_link_and_claims_it_by_a_verified_address(world: World) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    endpoint = world.stripe.v1.webhook_endpoints.create(
        {"url": f"{url}/api/stripe/webhook", "enabled_events": EVENTS}  # type: ignore[typeddict-item]
    )
    settings = world.settings.model_copy(
        update={"port": port, "stripe_webhook_secrets": (str(endpoint.secret),)}
    )
    async with world.wiring.db.transaction() as conn:
        _, secret = await keys.create(conn, "service", at=world.wiring.clock.now())
    link = await link_of(world)
    with serving(settings):
        async with async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = await browser.new_page()
            await page.goto(link)
            fields = {
                "email": EMAIL,
                "card_number": GOOD,
                "expiry": "12 / 34",
                "security_code": "123",
                "name": "Gus Guest",
                "postal_code": "10115",
            }
            for name, value in fields.items():
                field = page.locator(f"[name={name}]")
                if await field.count():
                    await field.fill(value)
            await page.locator("button[type=submit]", has_text="Pay").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("This order is paid")
            await browser.close()

        async def waits() -> bool:
            return [case.kind for case in await opened(world)] == ["unmatched"]

        await eventually(waits)
        async with world.http() as http:
            told = await http.put(
                f"{url}/api/users/gus",
                json={"email": EMAIL, "email_verified": True},
                headers={"Authorization": f"Bearer {secret}"},
            )
            assert told.status_code == 200, told.text
            customer_id = told.json()["customer_id"]

        async def granted() -> bool:
            return await world.balance(customer_id) == 5

        await eventually(granted)
        assert await opened(world) == []
    world.stripe.v1.webhook_endpoints.delete(endpoint.id)
