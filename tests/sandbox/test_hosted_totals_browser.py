"""Promotion codes, taxes and bank debits on the hosted page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bursar_sandbox.running import Sandbox
from hosted_page_shop import Shop, open_shop

pytestmark = pytest.mark.browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PAY = "#pay button[type=submit]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Sandbox() as sandbox, open_shop(sandbox.base_url) as shop:
        yield shop


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    uncaught: list[str] = []
    page.on("pageerror", lambda error: uncaught.append(str(error)))
    yield page
    context.close()
    assert uncaught == []


def promote(shop: Shop, code: str) -> None:
    made = shop.client.v1.coupons.create({"percent_off": 15})
    params: Any = {"promotion": {"type": "coupon", "coupon": made.id}, "code": code}
    shop.client.v1.promotion_codes.create(params)


def test_code_keeps_what_was_typed_and_changes_what_is_paid(shop: Shop, page: Page) -> None:
    promote(shop, "LAUNCH15")
    sold = shop.sell(allow_promotion_codes=True)
    page.goto(sold.url)
    page.get_by_text("Test cards").first.click()
    page.get_by_role("button", name="Paid").click()
    page.fill("[name=code]", "LUNCH15")
    page.press("[name=code]", "Enter")
    expect(page.get_by_text("There is no such code")).to_be_visible()
    expect(page.locator("[name=card_number]")).to_have_value("4242 4242 4242 4242")
    page.fill("[name=code]", "launch15")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(PAY)).to_contain_text("$38.25")
    expect(page.locator("[name=card_number]")).to_have_value("4242 4242 4242 4242")
    page.click(PAY)
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    assert [charge.amount for charge in shop.charges(sold.id)] == [3825]


def test_choosing_a_country_reckons_its_tax(shop: Shop, page: Page) -> None:
    sold = shop.sell(automatic_tax={"enabled": True})
    page.goto(sold.url)
    page.fill("[name=email]", "grace@hopper.example")
    page.select_option("[name=country]", "DE")
    expect(page.locator(PAY)).to_contain_text("$53.55")
    expect(page.locator("[name=email]")).to_have_value("grace@hopper.example")
    page.get_by_text("Test cards").first.click()
    page.get_by_role("button", name="Paid").click()
    page.click(PAY)
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    assert shop.session(sold.id).total_details.amount_tax == 855


def test_debit_is_chosen_filled_and_asked_for(shop: Shop, page: Page) -> None:
    price = {"currency": "eur", "unit_amount": 1500, "product_data": {"name": "Ink"}}
    sold = shop.sell(
        line_items=[{"price_data": price, "quantity": 1}],
        payment_method_types=["card", "sepa_debit"],
    )
    page.goto(sold.url)
    expect(page.locator("[name=card_number]")).to_be_visible()
    expect(page.locator("[name=iban]")).to_be_hidden()
    page.get_by_label("Bank debit (SEPA)").check()
    expect(page.locator("[name=iban]")).to_be_visible()
    expect(page.locator("[name=card_number]")).to_be_hidden()
    page.get_by_label("Card", exact=True).check()
    page.get_by_text("Test cards and accounts").first.click()
    page.get_by_role("button", name="Debit arrives").click()
    expect(page.get_by_label("Bank debit (SEPA)")).to_be_checked()
    page.click(PAY)
    page.wait_for_url(f"{shop.url}/thanks?session={sold.id}")
    assert shop.session(sold.id).payment_status == "unpaid"
    page.goto(sold.url)
    expect(page.get_by_text("Your bank has been asked for")).to_be_visible()
