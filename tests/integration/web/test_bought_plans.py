"""What a buyer sees of a plan by duration, of an order that waits, and of a shop without tax."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from bursar.billing import mirror
from bursar.billing.plan_terms import later
from bursar.wiring import Wiring
from bursar_sandbox.running import Sandbox
from card_form_shop import CATALOG
from web_shop import GOOD, SECRET_KEY, Shop, form_of, pay, press, shop_at, text_of

LIMITED = CATALOG.replace(
    'name = "Solo"', 'name = "Solo"\nlimits = { api_calls = { count = 10000, per = "month" } }'
)
TAXED = CATALOG.replace('name = "Starter"', 'name = "Starter"\ntax = "inclusive"')
MANUAL = CATALOG.replace("credits = 5\n", 'credits = 5\ncapture = "manual"\n')


@pytest.fixture
def selling(shop: Shop, tmp_path: Path) -> Shop:
    """The shop with plans by duration on sale, and a buyer."""
    shop.sell(tmp_path, LIMITED)
    shop.user("ada", email="ada@lovelace.example", name="Ada Lovelace")
    return shop


@pytest.fixture
def ada(selling: Shop) -> Iterator[httpx.Client]:
    with selling.browser("ada") as browser:
        yield browser


def begin(browser: httpx.Client, address: str) -> dict[str, Any]:
    """Press Pay on the card form of that address."""
    page = browser.get(browser.get(address).headers["location"])
    answer = browser.post("/checkout/intent", data=form_of(page.text, "order"))
    assert answer.status_code == 200, answer.text
    begun: dict[str, Any] = answer.json()
    return begun


def confirm(provider: Sandbox, begun: dict[str, Any], card: str = "pm_card_visa") -> None:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": provider.base_url})
    client.v1.payment_intents.confirm(begun["payment_intent_id"], {"payment_method": card})


def bought(browser: httpx.Client, provider: Sandbox, address: str) -> str:
    """Buy by card form; the words of the success page."""
    begun = begin(browser, address)
    confirm(provider, begun)
    return text_of(browser.get(begun["next"]))


def test_the_success_page_and_the_account_say_until_when_a_plan_runs(
    selling: Shop, ada: httpx.Client, provider: Sandbox
) -> None:
    words = bought(ada, provider, "/checkout?plan=solo&months=1")
    [payment] = selling.payments(selling.user("ada"))
    assert payment.completed_at is not None
    end = later(payment.completed_at, 1)
    until = f"Until {end.day} {end:%b %Y, %H:%M}"
    assert f"Solo history, 10,000 api calls a month {until} UTC" in words
    assert "See your plan" in words
    account = text_of(ada.get("/account"))
    assert f"Solo history, 10,000 api calls a month {until}" in account
    assert re.search(rf"Api calls 10,000 of 10,000 left, anew 1 \w+ \d+, 00:00 {until}", account)
    assert f"History {until}" in account


def test_months_that_follow_each_other_are_one_line(
    selling: Shop, ada: httpx.Client, provider: Sandbox
) -> None:
    bought(ada, provider, "/checkout?plan=solo&months=1")
    words = bought(ada, provider, "/checkout?plan=solo&months=1")
    first = selling.payments(selling.user("ada"))[-1]
    assert first.completed_at is not None
    start = later(first.completed_at, 1)
    end = later(start, 1)
    # The second one begins where the first ends.
    assert f"From {start.day} {start:%b %Y}" in words
    account = text_of(ada.get("/account"))
    assert account.count("Solo history, 10,000") == 1
    assert f"Until {end.day} {end:%b %Y}" in account
    assert f"History Until {end.day} {end:%b %Y}" in account


def test_a_plan_that_was_given_back_is_not_shown(
    selling: Shop, ada: httpx.Client, provider: Sandbox
) -> None:
    bought(ada, provider, "/checkout?plan=solo&months=1")
    [payment] = selling.payments(selling.user("ada"))
    selling.refund(payment, 900)
    account = text_of(ada.get("/account"))
    assert "Solo, 1 month" in account
    assert "Plans and features" not in account
    assert "Until" not in account


def test_what_is_bought_stands_in_sight_above_the_card_form(ada: httpx.Client) -> None:
    page = ada.get(ada.get("/checkout?plan=solo&months=1").headers["location"])
    [summary] = re.findall(r"<summary>(.*?)</summary>", page.text)
    assert re.sub(r"<[^>]+>", "", summary) == "Solo, 1 month · $9.00"


def test_an_order_that_is_only_held_or_canceled_has_no_receipt(
    selling: Shop, tmp_path: Path
) -> None:
    selling.sell(tmp_path, MANUAL)
    with selling.browser("ada") as browser:
        back = pay(press(browser, "starter").headers["location"], GOOD).headers["location"]
        page = browser.get(back)
        [payment] = selling.payments(selling.user("ada"))
        assert (payment.status, bool(payment.receipt_url)) == ("authorized", True)
        assert "Your order is placed" in page.text
        assert ">Receipt" not in page.text
        assert ">Receipt" not in browser.get("/account").text


def test_a_card_forms_order_that_waits_can_be_paid_from_the_account(
    selling: Shop, ada: httpx.Client, provider: Sandbox
) -> None:
    begun = begin(ada, "/checkout?plan=solo&months=1")
    with pytest.raises(stripe.CardError):
        confirm(provider, begun, "pm_card_visa_chargeDeclined")
    ada.get(begun["next"])
    [way] = re.findall(r'href="(/checkout\?plan=solo[^"]*)"', ada.get("/account").text)[:1]
    page = ada.get(way.replace("&amp;", "&"))
    assert page.status_code == 200
    assert "Your bank declined the payment" in page.text
    confirm(provider, begun)
    ada.get(begun["next"])
    assert 'href="/checkout?plan=solo' not in ada.get("/account").text


def test_who_has_no_script_is_led_to_what_works_without(ada: httpx.Client) -> None:
    def said(address: str) -> str:
        page = ada.get(ada.get(address).headers["location"])
        [found] = re.findall(r"<noscript>(.*?)</noscript>", page.text, re.S)
        return str(found)

    plan = said("/checkout?plan=solo&months=1")
    assert "needs JavaScript" in plan
    assert "Packs are paid on the page of Stripe" in plan
    assert "<form" not in plan
    for address in ("/checkout?package=starter", "/checkout?amount=1234&currency=usd"):
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', said(address)))
        sent = ada.post("/pricing/buy", data=fields)
        assert sent.status_code == 303
        assert "/c/pay/" in sent.headers["location"]


def test_tax_is_spoken_of_where_there_is_any(
    selling: Shop, tmp_path: Path, ada: httpx.Client, provider: Sandbox, database_url: str
) -> None:
    def pages_of(browser: httpx.Client) -> list[str]:
        form = browser.get(browser.get("/checkout?package=starter").headers["location"])
        return [text_of(browser.get("/pricing")), text_of(form)]

    for words in pages_of(ada):
        assert "Tax" not in words
    with (
        shop_at(
            database_url, stripe_api_base=provider.base_url, sandbox=True, automatic_tax=True
        ) as reckoning,
        reckoning.browser("ada") as browser,
    ):
        prices, form = pages_of(browser)
    assert "Tax is added at checkout where it applies." in prices
    assert "Tax $0.00" in form
    selling.sell(tmp_path, TAXED)
    assert "Tax is added" in pages_of(ada)[0]


def test_an_address_without_months_says_first_whether_there_is_such_a_plan(
    ada: httpx.Client,
) -> None:
    def told(address: str) -> str:
        page = ada.get(ada.get(address).headers["location"])
        assert page.status_code == 422
        return text_of(page)

    unknown = unescape(told("/checkout?plan=nope"))
    assert "This is not on sale There is no plan 'nope' on sale." in unknown
    assert "The address names no number of months." in told("/checkout?plan=solo")
    form = {"order": "0" * 32, "plan": "solo"}
    assert ada.post("/checkout/intent", data=form).json()["code"] == "duration_not_offered"


def test_codes_stand_with_the_packs_that_take_them(
    selling: Shop, tmp_path: Path, ada: httpx.Client, provider: Sandbox
) -> None:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": provider.base_url})
    now = selling.wiring.clock.now()
    ends = int((now + timedelta(hours=1)).timestamp())
    coupon = client.v1.coupons.create({"percent_off": 15})
    client.v1.promotion_codes.create(
        {
            "promotion": {"type": "coupon", "coupon": coupon.id},
            "code": "PACKS15",
            "expires_at": ends,
        }
    )

    async def fill(wiring: Wiring) -> None:
        await mirror.fill(wiring.db, wiring.provider("stripe"))

    selling.call(fill)
    words = text_of(ada.get("/pricing"))
    packs, plans = words.index("Packs, paid once"), words.index("Some months at once")
    assert packs < words.index("PACKS15 takes 15") < plans
    assert "Type a code when you pay for a pack; plans by duration take none." in words
