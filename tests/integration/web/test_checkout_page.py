"""The page with the card form over HTTP: what it shows, whom it lets in, and its one post."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from card_form_shop import CATALOG
from web_shop import SECRET_KEY, Shop, form_of, shop_at, text_of

PRO = "/checkout?plan=pages-pro&months=3"


@pytest.fixture
def selling(shop: Shop, tmp_path: Path) -> Shop:
    """The shop with plans by duration on sale, and a buyer."""
    shop.sell(tmp_path, CATALOG)
    shop.user("ada", email="ada@lovelace.example", name="Ada Lovelace")
    return shop


def open_page(browser: httpx.Client, address: str = PRO) -> httpx.Response:
    """The page after it gave the order a key in its address."""
    first = browser.get(address)
    assert first.status_code == 303
    assert re.search(r"[?&]order=[0-9a-f]{32}$", first.headers["location"])
    page = browser.get(first.headers["location"])
    assert page.status_code == 200, page.text
    return page


def begin(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    return browser.post("/checkout/intent", data=form_of(page.text, "order"))


def confirm(provider: Sandbox, begun: dict[str, Any], card: str = "pm_card_visa") -> None:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": provider.base_url})
    client.v1.payment_intents.confirm(begun["payment_intent_id"], {"payment_method": card})


def directives(page: httpx.Response) -> dict[str, str]:
    parts = [part.strip().partition(" ") for part in page.headers[POLICY].split(";")]
    return {name: sources for name, _, sources in parts}


POLICY = "content-security-policy"


def test_the_page_shows_the_order_and_asks_for_no_card_itself(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        page = open_page(browser)
    words = text_of(page)
    assert "Pro, 3 months 150 pages $81.00" in words
    assert "Tax" not in words
    assert "Total today $81.00" in words
    assert "Pay $81.00" in words
    assert 'value="ada@lovelace.example"' in page.text
    assert page.headers["cache-control"] == "no-store"
    # What is typed into a field of ours with a name would be posted to us: none is a card's.
    named = re.findall(r'<input[^>]*\bname="(\w+)"', page.text)
    assert sorted(set(named) - {"next"}) == ["months", "order", "plan"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/checkout?package=starter", "Starter 5 pages $5.00"),
        ("/checkout?amount=1234&currency=usd", "Credits 1,234 credits $12.34"),
        ("/checkout?plan=solo&months=1", "Solo, 1 month $9.00"),
        ("/checkout?plan=pages-pro&months=1&currency=jpy", "Pro, 1 month 50 pages ¥4,500"),
    ],
)
def test_packages_plans_and_amounts_have_a_page(selling: Shop, address: str, words: str) -> None:
    with selling.browser("ada") as browser:
        assert words in text_of(open_page(browser, address))


@pytest.mark.parametrize(
    "address",
    [
        "/checkout",
        "/checkout?package=gone",
        "/checkout?plan=pages-pro",
        "/checkout?plan=pages-pro&months=2",
        "/checkout?plan=pages-pro&months=0",
        "/checkout?plan=pages-pro&months=x",
        "/checkout?package=starter&plan=pages-pro&months=1",
        "/checkout?amount=49&currency=usd",
        "/checkout?amount=12.34&currency=usd",
        "/checkout?amount=1234&currency=zzz",
        "/checkout?package=%00",
        "/checkout?package=starter&currency=USD",
    ],
)
def test_an_address_that_names_no_order_is_a_page_that_says_so(selling: Shop, address: str) -> None:
    with selling.browser("ada") as browser:
        page = browser.get(address)
        if page.status_code == 303:
            page = browser.get(page.headers["location"])
    assert page.status_code == 422
    assert "Nothing was charged" in page.text


def test_who_is_not_signed_in_signs_in_first_and_comes_back(selling: Shop) -> None:
    with selling.browser() as browser:
        sent = browser.get(PRO)
    assert sent.status_code == 303
    assert sent.headers["location"].startswith("/sign-in?next=%2Fcheckout%3Fplan%3Dpages-pro")


def test_only_pages_with_the_card_form_allow_the_providers_origins(
    selling: Shop, provider: Sandbox
) -> None:
    with selling.browser("ada") as browser:
        allowed = directives(open_page(browser))
        for directive in ("script-src", "frame-src", "connect-src"):
            assert provider.base_url in allowed[directive].split()
        assert provider.base_url in directives(browser.get("/pricing"))["frame-src"].split()
        for address in ("/account", "/checkout/success?payment_intent=pi_never"):
            elsewhere = directives(browser.get(address))
            for directive in ("script-src", "frame-src", "connect-src"):
                assert provider.base_url not in elsewhere.get(directive, "")
    with selling.browser() as browser:
        # Who is not signed in opens no card form there.
        assert provider.base_url not in directives(browser.get("/pricing")).get("frame-src", "")


def test_an_order_is_begun_once_however_often_it_is_posted(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        page = open_page(browser)
        first, second = begin(browser, page), begin(browser, page)
    assert first.status_code == 200, first.text
    begun = first.json()
    assert begun == second.json()
    assert set(begun) == {"payment_intent_id", "client_secret", "publishable_key", "next"}
    assert begun["next"] == f"/checkout/success?payment_intent={begun['payment_intent_id']}"
    (payment,) = selling.payments(selling.user("ada"))
    assert (payment.kind, payment.amount_minor, payment.status) == ("intent", 8100, "pending")


def test_a_paid_order_leads_to_its_success_page(selling: Shop, provider: Sandbox) -> None:
    with selling.browser("ada") as browser:
        page = open_page(browser)
        begun = begin(browser, page).json()
        confirm(provider, begun)
        success = browser.get(begun["next"])
        assert "You paid $81.00" in success.text
        assert "150 pages were added" in text_of(success)
        for address in (str(page.url), str(page.url).replace("/checkout?", "/checkout/form?")):
            again = browser.get(address)
            assert (again.status_code, again.headers["location"]) == (303, begun["next"])


def test_a_declined_order_is_kept_for_another_card(selling: Shop, provider: Sandbox) -> None:
    with selling.browser("ada") as browser:
        page = open_page(browser)
        begun = begin(browser, page).json()
        with pytest.raises(stripe.CardError):
            confirm(provider, begun, "pm_card_chargeDeclinedInsufficientFunds")
        again = browser.get(str(page.url))
        assert "does not have enough money" in again.text
        assert begin(browser, again).json() == begun
        outcome = browser.get(begun["next"])
        assert "The payment did not go through" in outcome.text
        link = re.search(r'href="(/checkout\?[^"]*)"[^>]*>Try another card', outcome.text)
        assert link is not None
        assert browser.get(link[1].replace("&amp;", "&")).status_code == 200


def test_an_order_that_was_given_up_begins_anew(selling: Shop, provider: Sandbox) -> None:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": provider.base_url})
    with selling.browser("ada") as browser:
        page = open_page(browser)
        begun = begin(browser, page).json()
        client.v1.payment_intents.cancel(begun["payment_intent_id"])
        moved = browser.get(str(page.url))
        assert moved.status_code == 303
        assert moved.headers["location"] != str(page.url)
        anew = begin(browser, browser.get(moved.headers["location"])).json()
        assert anew["payment_intent_id"] != begun["payment_intent_id"]


def test_anothers_intent_is_nowhere_to_be_seen(selling: Shop) -> None:
    selling.user("bob")
    with selling.browser("ada") as browser:
        begun = begin(browser, open_page(browser)).json()
    with selling.browser("bob") as browser:
        assert browser.get(begun["next"]).status_code == 404


def test_a_post_from_elsewhere_or_of_nobody_begins_nothing(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        fields = form_of(open_page(browser).text, "order")
        foreign = browser.post(
            "/checkout/intent", data=fields, headers={"origin": "https://evil.example"}
        )
        assert foreign.status_code == 403
        unsaid = browser.post("/checkout/intent", data={**fields, "order": "x"})
        assert (unsaid.status_code, unsaid.json()["code"]) == (422, "validation_error")
    with selling.browser() as browser:
        nobody = browser.post("/checkout/intent", data=fields)
        assert (nobody.status_code, nobody.json()["sign_in"]) == (401, "/sign-in")
    assert selling.payments(selling.user("ada")) == []


def test_the_eleventh_order_from_an_address_is_told_to_wait(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        for _ in range(10):
            assert begin(browser, open_page(browser)).status_code == 200
        kept = begin(browser, open_page(browser))
    assert kept.status_code == 429
    assert 0 < int(kept.headers["retry-after"]) <= 900
    assert kept.json()["retry_after_seconds"] == int(kept.headers["retry-after"])
    assert kept.json()["heading"] == "Too many attempts"


def test_an_order_to_be_accepted_says_so_on_its_button(selling: Shop, tmp_path: Path) -> None:
    text = CATALOG.replace("prices = { usd = 500 }", 'prices = { usd = 500 }\ncapture = "manual"')
    selling.sell(tmp_path, text)
    with selling.browser("ada") as browser:
        page = open_page(browser, "/checkout?package=starter")
        assert "Place order, pay $5.00 on acceptance" in text_of(page)


def test_the_price_list_offers_durations_with_the_price_of_a_month(selling: Shop) -> None:
    with selling.browser("ada") as browser:
        words = text_of(browser.get("/pricing"))
    assert "Pro 50 pages a month · priority, 100 exports" in words
    assert re.search(r"3 months 10% less \$27\.00 a month .*\$81\.00", words)
    with selling.browser() as browser:
        page = browser.get("/pricing").text
    assert 'href="/checkout?plan=pages-pro&amp;months=3&amp;currency=usd"' in page
    assert "data-card-modal" not in page


def test_without_a_publishable_key_there_is_no_card_form(
    database_url: str, provider: Sandbox, tmp_path: Path
) -> None:
    with shop_at(database_url, stripe_api_base=provider.base_url) as shop:
        shop.sell(tmp_path, CATALOG)
        shop.user("ada")
        with shop.browser("ada") as browser:
            assert "3 months" not in browser.get("/pricing").text
            refused = browser.get(PRO)
    assert refused.status_code == 409
    assert "STRIPE_PUBLISHABLE_KEY" not in refused.text
