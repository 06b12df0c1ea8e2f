"""The card form in a real browser, as a page and as a modal: every test card's outcome, what the
account says after it, and that no request to us ever carries a card's number."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import FrameLocator, Page, Request, async_playwright, expect

from bursar.access import sessions
from bursar.billing import customers
from card_form_shop import push
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
GOOD = "4242 4242 4242 4242"
DECLINED = "4000 0000 0000 0002"
NO_MONEY = "4000 0000 0000 9995"
EXPIRED = "4000 0000 0000 0069"
BANK_ASKS = "4000 0025 0000 3155"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 740}
WAYS = [("page", WIDE), ("page", NARROW), ("modal", WIDE), ("modal", NARROW)]
NAMES = ["page-1280", "page-375", "modal-1280", "modal-375"]


@dataclass
class Shop:
    """A served shop with a signed-in buyer's browser before it."""

    page: Page
    url: str
    way: str
    faults: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    async def choose(self) -> None:
        """Open the form for three months of the plan that brings 50 pages in each."""
        if self.way == "page":
            await self.page.goto(f"{self.url}/checkout?plan=pages-pro&months=3")
        else:
            await self.page.goto(f"{self.url}/pricing")
            await self.page.get_by_role("link", name="Choose Pro, 3 months").click()
        await expect(self.card.get_by_label("Card number")).to_be_visible()
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    @property
    def card(self) -> FrameLocator:
        return self.page.frame_locator("#pay-card iframe")

    @property
    def pay_button(self) -> str:
        return "[data-card-form] button[type=submit]"

    async def fill(self, number: str, expiry: str = "12 / 34", code: str = "123") -> None:
        await self.page.locator("#pay-email").fill("ada@lovelace.example")
        await self.card.get_by_label("Card number").fill(number)
        await self.card.get_by_label("Expiry date").fill(expiry)
        await self.card.get_by_label("Security code").fill(code)
        await self.page.locator("#pay-name").fill("Ada Lovelace")

    async def pay(self, number: str, **typed: str) -> None:
        await self.fill(number, **typed)
        await self.page.locator(self.pay_button).click()

    async def expect_problem(self, words: str) -> None:
        problem = self.page.locator("[data-problem]")
        await expect(problem).to_contain_text(words)
        await expect(problem).to_be_focused()
        await expect(self.page).to_have_title(re.compile("^Error: "))
        await expect(self.page.locator(self.pay_button)).to_have_text("Pay $81.00")

    async def expect_paid(self, pages: int = 150) -> None:
        await self.page.wait_for_url("**/checkout/success?payment_intent=pi_*")
        main = self.page.locator("main")
        await expect(main).to_contain_text("You paid $81.00")
        await expect(main).to_contain_text(re.compile(rf"now\s{pages}\b"))

    async def at_bank(self, answer: str) -> None:
        bank = self.page.frame_locator("iframe[title='Your bank\\'s page']")
        await expect(bank.get_by_text("$81.00")).to_be_visible()
        await bank.get_by_role("button", name=answer).click()

    async def balance(self) -> str:
        await self.page.goto(f"{self.url}/account")
        return str(await self.page.locator("main").inner_text())

    def assert_no_card_came_here(self) -> None:
        """Of all that the browser sent, nothing with a card in it went to our origin."""
        ours = [said for said in self.requests if said[0].startswith(self.url)]
        assert any("/checkout/intent" in address for address, _ in ours)
        for address, body in ours:
            digits = re.sub(r"\D+", " ", f"{address} {body}").replace(" ", "")
            for number in (GOOD, DECLINED, NO_MONEY, EXPIRED, BANK_ASKS):
                assert number.replace(" ", "") not in digits, address
        theirs = [body for address, body in self.requests if "/confirm" in address]
        assert any("card%5D%5Bnumber" in body for body in theirs)


@pytest.fixture
async def shop(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    way, size = getattr(request, "param", WAYS[0])
    await push(world, tmp_path)
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
    with serving(settings):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = await browser.new_page(viewport=size)
            here = Shop(page, url, way)

            def heard(said: Request) -> None:
                here.requests.append((said.url, said.post_data or ""))

            page.on("request", heard)
            page.on("pageerror", lambda error: here.faults.append(str(error)))
            # The browser's console tells of every 402 as of an error; those are the sandbox's "no".
            page.on(
                "console",
                lambda said: (
                    here.faults.append(said.text)
                    if said.type == "error" and "402" not in said.text
                    else None
                ),
            )
            await page.goto(f"{url}/sign-in?token={token}")
            yield here
            await browser.close()
    world.stripe.v1.webhook_endpoints.delete(endpoint.id)
    assert here.faults == []


@pytest.mark.parametrize("shop", WAYS, ids=NAMES, indirect=True)
async def test_a_good_card_pays_and_the_credits_arrive(shop: Shop) -> None:
    await shop.choose()
    await shop.pay(GOOD)
    await shop.expect_paid()
    shop.assert_no_card_came_here()
    assert re.search(r"To use now\s*150\b", await shop.balance())


@pytest.mark.parametrize("shop", WAYS, ids=NAMES, indirect=True)
async def test_refused_cards_cost_nothing_and_the_next_one_pays_the_same_order(
    shop: Shop,
) -> None:
    await shop.choose()
    await shop.pay(DECLINED)
    await shop.expect_problem("Your bank declined the payment and gave no reason")
    # Everything that was typed is still there.
    await expect(shop.page.locator("#pay-name")).to_have_value("Ada Lovelace")
    await expect(shop.card.get_by_label("Card number")).to_have_value(DECLINED)
    await shop.pay(NO_MONEY)
    await shop.expect_problem("Your card does not have enough money for this payment")
    await shop.pay(EXPIRED)
    await shop.expect_problem("This card has expired")
    await shop.pay(GOOD)
    await shop.expect_paid()
    opened = [address for address, _ in shop.requests if address.endswith("/checkout/intent")]
    assert len(opened) == 1
    shop.assert_no_card_came_here()


@pytest.mark.parametrize("shop", WAYS, ids=NAMES, indirect=True)
async def test_a_bank_that_asks_is_answered_in_a_frame_above_the_form(shop: Shop) -> None:
    await shop.choose()
    await shop.pay(BANK_ASKS)
    await shop.at_bank("Refuse")
    await shop.expect_problem("Your bank did not confirm the payment. You were not charged.")
    await shop.pay(BANK_ASKS)
    await shop.at_bank("Let it time out")
    await shop.expect_problem("Your bank did not confirm the payment")
    await shop.pay(BANK_ASKS)
    await shop.at_bank("Confirm")
    await shop.expect_paid()
    shop.assert_no_card_came_here()


@pytest.mark.parametrize("shop", [WAYS[0], WAYS[3]], ids=["page", "modal"], indirect=True)
async def test_escape_at_the_bank_asks_first_and_stops_without_charging(shop: Shop) -> None:
    await shop.choose()
    await shop.pay(BANK_ASKS)
    bank = shop.page.frame_locator("iframe[title='Your bank\\'s page']")
    await expect(bank.get_by_role("button", name="Confirm")).to_be_visible()
    await bank.get_by_role("button", name="Refuse").press("Escape")
    dialog = shop.page.get_by_role("dialog", name="Confirm with your bank")
    await expect(dialog).to_contain_text("Stop this payment?")
    await dialog.get_by_role("button", name="Go on").click()
    await dialog.get_by_role("button", name="Cancel").click()
    await dialog.get_by_role("button", name="Stop").click()
    await shop.expect_problem("Your bank did not confirm the payment. You were not charged.")


async def test_what_is_missing_or_wrong_is_said_at_its_field(shop: Shop) -> None:
    await shop.choose()
    page = shop.page
    await page.locator(shop.pay_button).click()
    problem = page.locator("[data-problem]")
    await expect(problem.get_by_role("link")).to_have_text(
        [
            "Enter your e-mail address, like name@example.com",
            "Check the card number, the expiry date and the security code",
            "Enter the name on the card",
        ]
    )
    await expect(page.locator("#pay-email")).to_have_attribute("aria-invalid", "true")
    await problem.get_by_role("link").first.click()
    await expect(page.locator("#pay-email")).to_be_focused()
    await page.locator("#pay-email").fill("ada@lovelace.example")
    await expect(page.locator("#pay-email-fault")).to_be_hidden()
    await shop.pay("4242 4242 4242 4241")
    await expect(page.locator("#pay-card-fault")).to_have_text(
        "The card number is not right. Check it against your card"
    )
    await shop.pay(GOOD, expiry="12 / 20")
    await expect(page.locator("#pay-card-fault")).to_have_text(
        "Expiry date is in the past. Check the card"
    )
    await shop.pay(GOOD, code="12")
    await expect(page.locator("#pay-card-fault")).to_contain_text("Security code is incomplete")
    await shop.fill(GOOD)
    await expect(page.locator("#pay-card-fault")).to_be_hidden()
    assert not any(address.endswith(("/intent", "/confirm")) for address, _ in shop.requests)


async def test_two_presses_are_one_payment(shop: Shop) -> None:
    await shop.choose()
    await shop.fill(GOOD)
    await shop.page.evaluate(
        f"() => {{ const b = document.querySelector('{shop.pay_button}'); b.click(); b.click(); }}"
    )
    await shop.expect_paid()
    confirms = [address for address, _ in shop.requests if address.endswith("/confirm")]
    assert len(confirms) == 1


async def test_going_back_to_a_paid_order_leads_to_its_success_page(shop: Shop) -> None:
    await shop.choose()
    form = shop.page.url
    assert "order=" in form
    await shop.pay(GOOD)
    await shop.expect_paid()
    await shop.page.goto(form)
    await shop.expect_paid()


async def test_a_declined_order_is_kept_and_says_why_when_it_is_opened_again(shop: Shop) -> None:
    await shop.choose()
    form = shop.page.url
    await shop.pay(NO_MONEY)
    await shop.expect_problem("does not have enough money")

    async def told() -> bool:
        await shop.page.goto(form)
        return await shop.page.get_by_role("alert").is_visible()

    await eventually(told)
    await expect(shop.page.get_by_role("alert")).to_contain_text("does not have enough money")
    await shop.pay(GOOD)
    await shop.expect_paid()


@pytest.mark.parametrize("shop", [WAYS[2]], ids=["modal"], indirect=True)
async def test_the_modal_closes_and_gives_the_focus_back(shop: Shop) -> None:
    await shop.choose()
    page = shop.page
    dialog = page.get_by_role("dialog", name="Pay by card")
    await expect(dialog).to_be_visible()
    # What lies around it can't be reached, and a click there closes nothing.
    assert await page.locator("main").evaluate("(main) => main.inert")
    await page.mouse.click(5, 5)
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_role("link", name="Choose Pro, 3 months")).to_be_focused()
    await page.get_by_role("link", name="Choose Pro, 3 months").click()
    await shop.card.get_by_label("Card number").press("Escape")
    await expect(dialog).to_be_hidden()
    await page.get_by_role("link", name="Choose Pro, 3 months").click()
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()


async def test_the_eleventh_order_in_a_quarter_of_an_hour_is_told_when_to_come_back(
    shop: Shop,
) -> None:
    for _ in range(11):
        await shop.choose()
        await shop.pay(DECLINED)
        await expect(shop.page.locator("[data-problem]")).to_be_visible()
    await expect(shop.page.locator("[data-problem]")).to_contain_text("Too many attempts")
    await expect(shop.page.locator("[data-problem]")).to_contain_text("Try again at")
    shop.faults[:] = [fault for fault in shop.faults if "429" not in fault]


async def test_without_the_providers_script_it_is_said_that_nothing_can_be_charged(
    shop: Shop,
) -> None:
    await shop.page.route("**/v3/", lambda route: route.abort())
    await shop.page.goto(f"{shop.url}/checkout?plan=pages-pro&months=3")
    await expect(shop.page.locator("[data-problem]")).to_contain_text("nothing can be charged")
    await expect(shop.page.locator(shop.pay_button)).to_be_hidden()
    shop.faults[:] = [fault for fault in shop.faults if "ERR_FAILED" not in fault]
