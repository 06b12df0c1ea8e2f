"""The hosted page in a real browser: typed, filled, declined, paid, looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bursar_sandbox.running import Sandbox
from hosted_page_shop import BANK_ASKS, FORM, Shop, open_shop, post

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAY = "button[type=submit]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Sandbox() as sandbox, open_shop(sandbox.base_url) as shop, shop.hearing_webhooks():
        yield shop


@dataclass(frozen=True, slots=True)
class Window:
    """A page and everything the browser complained about."""

    page: Page
    complaints: list[str]


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield watched(context.new_page())
    context.close()


def watched(page: Page) -> Window:
    """The console's errors, uncaught ones and refused requests; the form's own statuses aside."""
    complaints: list[str] = []
    page.on(
        "console",
        lambda line: (
            complaints.append(line.text)
            if line.type in {"error", "warning"} and "status of 402" not in line.text
            else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    return Window(page, complaints)


def type_form(page: Page, **changes: str) -> None:
    for name, value in {**FORM, **changes}.items():
        if name == "country":
            page.select_option("[name=country]", value)
        else:
            page.fill(f"[name={name}]", value)


def test_a_typed_card_pays_and_arrives_at_the_shop(shop: Shop, window: Window) -> None:
    sold = shop.sell()
    window.page.goto(sold.url)
    type_form(window.page, card_number="4242424242424242", expiry="1234")
    window.page.click(PAY)
    window.page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    assert shop.session(sold.id).payment_status == "paid"
    assert window.complaints == []


def test_a_declined_card_is_followed_by_another(shop: Shop, window: Window) -> None:
    sold, page = shop.sell(), window.page
    page.goto(sold.url)
    page.get_by_role("button", name="Insufficient funds").click()
    expect(page.locator("[name=card_number]")).to_have_value("4000 0000 0000 9995")
    page.click(PAY)
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("You were not charged")
    expect(problem).to_be_focused()
    expect(page.locator("[name=card_number]")).to_have_value("4000 0000 0000 9995")
    page.get_by_role("button", name="Paid").click()
    page.click(PAY)
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    assert sorted(charge.paid for charge in shop.charges(sold.id)) == [False, True]
    assert window.complaints == []


def test_the_drawer_leaves_what_was_typed(shop: Shop, window: Window) -> None:
    window.page.goto(shop.sell().url)
    window.page.fill("[name=email]", "grace@hopper.example")
    window.page.get_by_role("button", name="Declined").click()
    expect(window.page.locator("[name=email]")).to_have_value("grace@hopper.example")
    expect(window.page.locator("[name=name]")).to_have_value("Ada Lovelace")
    expect(window.page.locator(PAY)).to_be_focused()


def test_digits_are_grouped_while_they_are_typed(shop: Shop, window: Window) -> None:
    page = window.page
    page.goto(shop.sell().url)
    number, expiry = page.locator("[name=card_number]"), page.locator("[name=expiry]")
    number.press_sequentially("42424242424")
    expect(number).to_have_value("4242 4242 424")
    for _ in range(3):
        number.press("Backspace")
    expect(number).to_have_value("4242 4242")
    number.press("Home")
    number.press("ArrowRight")
    number.press_sequentially("9")
    expect(number).to_have_value("4924 2424 2")
    assert number.evaluate("input => input.selectionStart") == 2
    number.fill("3782-822463-10005")
    expect(number).to_have_value("3782 822463 10005")
    expect(page.get_by_text("4 digits on the front")).to_be_visible()
    expiry.press_sequentially("334")
    expect(expiry).to_have_value("03 / 34")
    for _ in range(3):
        expiry.press("Backspace")
    expiry.press("Backspace")
    expect(expiry).to_have_value("03 ")
    expiry.fill("4/2035")
    expect(expiry).to_have_value("04 / 35")


def test_a_full_wrong_field_is_told_on_leaving_and_untold_when_mended(
    shop: Shop, window: Window
) -> None:
    page = window.page
    page.goto(shop.sell().url)
    number, told = page.locator("[name=card_number]"), page.locator("#card_number-problem")
    number.press_sequentially("424242424242")
    number.blur()
    expect(told).to_be_hidden()
    number.press("End")
    number.press_sequentially("4241")
    expect(told).to_be_hidden()
    number.blur()
    expect(told).to_contain_text("The card number is not right")
    expect(number).to_have_attribute("aria-invalid", "true")
    number.press("End")
    number.press("Backspace")
    number.press_sequentially("2")
    expect(told).to_be_hidden()


def test_a_message_does_not_pull_the_button_from_under_a_click(shop: Shop, window: Window) -> None:
    page = window.page
    page.goto(shop.sell().url)
    type_form(page)
    page.fill("[name=expiry]", "12 / 20")
    page.click(PAY)
    expect(page.get_by_role("alert")).to_contain_text("Expiry date is in the past")


def test_a_second_click_is_swallowed(shop: Shop, window: Window) -> None:
    sold, page, posted = shop.sell(), window.page, []
    page.on("request", lambda request: posted.append(1) if request.method == "POST" else None)
    page.goto(sold.url)
    type_form(page)
    shop.webhook_delay_seconds = 0.3
    shown = page.evaluate(
        "async () => { const pay = document.querySelector('button[type=submit]');"
        " pay.click(); await new Promise((done) => setTimeout(done, 50)); pay.click();"
        " return [pay.textContent, pay.disabled, pay.getAttribute('aria-disabled')]; }"
    )
    assert shown == ["Paying…", False, "true"]
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    shop.webhook_delay_seconds = 0.0
    assert len(posted) == 1
    assert len(shop.charges(sold.id)) == 1


def test_going_back_after_paying_shows_that_it_is_paid(shop: Shop, window: Window) -> None:
    sold, page = shop.sell(), window.page
    page.goto(sold.url)
    type_form(page)
    page.click(PAY)
    page.wait_for_url(f"{shop.url}/thanks*")
    page.go_back()
    expect(page.get_by_role("heading", name="This order is paid")).to_be_visible()


def test_the_form_pays_without_script(browser: Browser, shop: Shop) -> None:
    sold = shop.sell()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(sold.url)
    page.get_by_role("button", name="Paid").click()
    page.click(PAY)
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    context.close()
    assert shop.session(sold.id).payment_status == "paid"


@pytest.mark.parametrize(
    ("width", "height"), [(250, 400), (390, 400), (500, 600), (600, 400), (1280, 800)]
)
def test_the_banks_page_fits_every_frame(
    browser: Browser, shop: Shop, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    window, sold = watched(context.new_page()), shop.sell()
    page = window.page
    page.goto(urljoin(sold.url, post(sold.url, card_number=BANK_ASKS).headers["location"]))
    assert page.evaluate(
        "() => { const page = document.documentElement;"
        " return page.scrollWidth <= innerWidth && page.scrollHeight <= innerHeight; }"
    )
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    context.close()
    assert window.complaints == []


def test_refused_at_the_bank_then_confirmed(shop: Shop, window: Window) -> None:
    sold, page = shop.sell(), window.page
    page.goto(sold.url)
    page.get_by_role("button", name="Asks for 3-D Secure").click()
    page.click(PAY)
    expect(page.get_by_text("Test bank")).to_be_visible()
    page.get_by_role("button", name="Refuse").click()
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("Your bank did not confirm the payment. You were not charged.")
    expect(problem).to_be_focused()
    assert shop.charges(sold.id) == []
    page.get_by_role("button", name="Asks for 3-D Secure").click()
    page.click(PAY)
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    assert [charge.paid for charge in shop.charges(sold.id)] == [True]
    assert window.complaints == []


def test_cancel_leads_back_to_the_basket(shop: Shop, window: Window) -> None:
    window.page.goto(shop.sell().url)
    window.page.get_by_role("link", name="Cancel and go back").click()
    window.page.wait_for_url(f"{shop.url}/basket")
    assert window.complaints == []


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_scrolls_sideways(browser: Browser, shop: Shop, width: int) -> None:
    long = {"name": "Wordwithoutanyspace" * 12}
    data = {"currency": "usd", "unit_amount": 99_999_999, "product_data": long}
    sold = shop.sell(line_items=[{"price_data": data, "quantity": 1}])
    context = browser.new_context(viewport={"width": width, "height": 800})
    window = watched(context.new_page())
    page = window.page
    page.goto(sold.url)
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    page.fill("[name=card_number]", "4000000000000002")
    page.click(PAY)
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    context.close()
    assert [line for line in window.complaints if "status of 422" not in line] == []
