"""The voucher form on the account page: credits once, and words for everything else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from bursar.billing import catalog, vouchers
from bursar.billing.catalog import Unit
from bursar.billing.customers import User
from bursar.billing.vouchers import NewVoucher
from bursar.db import Connection
from bursar.ledger import balances
from web_shop import Shop, form_of, shop_at, text_of


@pytest.fixture
def page_shop(bare_shop: Shop) -> Shop:
    """A shop that knows pages, and where nothing is sold."""
    furnish(bare_shop)
    return bare_shop


@pytest.fixture
def strict_shop(database_url: str) -> Iterator[Shop]:
    """A shop where two codes may be tried."""
    with shop_at(database_url, limit_voucher="2/1h") as shop:
        furnish(shop)
        yield shop


def furnish(shop: Shop) -> None:
    async def work(conn: Connection) -> None:
        await catalog.put_units(conn, [Unit("page", "Pages", 0, {}, {})])

    shop.call(lambda wiring: wiring.db.run(work))


def make(shop: Shop, code: str, **fields: Any) -> None:
    async def work(conn: Connection) -> None:
        wanted = NewVoucher(unit="page", code=code, **{"credits": 20, **fields})
        await vouchers.create(conn, wanted, at=datetime.now(UTC))

    shop.call(lambda wiring: wiring.db.run(work))


def balance(shop: Shop, user: User) -> int:
    async def work(conn: Connection) -> int:
        at = datetime.now(UTC)
        return (await balances.balance(conn, user.customer_id, "page", at=at)).spendable

    return shop.call(lambda wiring: wiring.db.run(work))


def redeem(browser: httpx.Client, code: str) -> httpx.Response:
    fields = form_of(browser.get("/account").text, "/account/voucher")
    return browser.post("/account/voucher", data={**fields, "code": code})


def test_a_code_becomes_credits_and_the_page_says_so(page_shop: Shop) -> None:
    ada = page_shop.user("ada")
    make(page_shop, "SPRING-2026")
    with page_shop.browser("ada") as browser:
        done = redeem(browser, " spring 2026\u00a0")
        assert done.status_code == 303
        assert done.headers["cache-control"] == "no-store"
        words = text_of(browser.get(done.headers["location"]))
    assert "Your voucher gave you 20 pages. They are in your balance and do not expire." in words
    assert "Bonus Voucher SPRING-2026" in words
    assert "Ends next" not in words
    assert balance(page_shop, ada) == 20


def test_credits_that_end_say_when(page_shop: Shop) -> None:
    page_shop.user("ada")
    make(page_shop, "WEEK", credits_days=7)
    ends = datetime.now(UTC) + timedelta(days=7)
    with page_shop.browser("ada") as browser:
        words = text_of(browser.get(redeem(browser, "WEEK").headers["location"]))
    day = f"{ends.day} {ends:%b %Y}"
    assert f"They are yours to use until {day}" in words
    assert f"Ends next {day}" in words


def test_a_second_post_finds_the_first(page_shop: Shop) -> None:
    ada = page_shop.user("ada")
    make(page_shop, "ONCE", uses_max=1)
    with page_shop.browser("ada") as browser:
        fields = form_of(browser.get("/account").text, "/account/voucher")
        data = {**fields, "code": "ONCE"}
        with ThreadPoolExecutor(6) as threads:
            told = list(
                threads.map(lambda _: browser.post("/account/voucher", data=data), range(6))
            )
        assert {(one.status_code, one.headers["location"]) for one in told} == {
            (303, told[0].headers["location"])
        }
        reload = browser.get("/account/voucher")
        assert (reload.status_code, reload.headers["location"]) == (303, "/account#voucher")
    assert balance(page_shop, ada) == 20


def test_every_refusal_keeps_what_was_typed_and_says_why(page_shop: Shop) -> None:
    ada = page_shop.user("ada")
    page_shop.user("bob")
    make(page_shop, "LATER", starts_at=datetime.now(UTC) + timedelta(days=1))
    make(page_shop, "MINE")
    make(page_shop, "BOBS", user_id="bob")
    make(page_shop, "LAST", uses_max=1)
    with page_shop.browser("bob") as browser:
        assert redeem(browser, "LAST").status_code == 303
    with page_shop.browser("ada") as browser:
        assert redeem(browser, "MINE").status_code == 303
        for code, status, words in (
            ("LATER", 409, "This voucher is valid from"),
            ("MINE", 409, "You have redeemed this voucher before"),
            ("LAST", 409, "redeemed as often as it can be"),
            ("BOBS", 404, "There is no such voucher. Check the code"),
            ("NOTHING", 404, "There is no such voucher. Check the code"),
            ("<b>&\"'", 404, "There is no such voucher. Check the code"),
            ("  - ", 422, "Type the code as it stands on the voucher."),
        ):
            refused = redeem(browser, code)
            assert refused.status_code == status, code
            assert "Nothing was redeemed" in text_of(refused)
            assert text_of(refused).count(words) == 1
            assert 'aria-describedby="code-hint code-fault"' in refused.text
            assert refused.text.count('id="code-fault"') == 1
            assert "Error: Account" in text_of(refused)
            assert "<b>" not in refused.text
            assert 'value="LATER"' in refused.text or code != "LATER"
    assert balance(page_shop, ada) == 20


def test_a_code_that_is_too_long_or_broken_is_unknown(page_shop: Shop) -> None:
    page_shop.user("ada")
    with page_shop.browser("ada") as browser:
        for code in ("A" * 61, "AB\x07CD"):
            assert redeem(browser, code).status_code == 404


def test_a_form_without_its_key_redeems_nothing(page_shop: Shop) -> None:
    ada = page_shop.user("ada")
    make(page_shop, "MINE")
    with page_shop.browser("ada") as browser:
        for key in ({}, {"key": "short"}, {"key": "x" * 65}):
            refused = browser.post("/account/voucher", data={**key, "code": "MINE"})
            assert refused.status_code == 422
        foreign = browser.post(
            "/account/voucher",
            data={"key": "a" * 32, "code": "MINE"},
            headers={"origin": "https://evil.example"},
        )
        assert foreign.status_code == 403
    assert balance(page_shop, ada) == 0


def test_nobody_redeems_without_signing_in(page_shop: Shop) -> None:
    with page_shop.browser() as browser:
        refused = browser.post("/account/voucher", data={"key": "a" * 32, "code": "MINE"})
    assert refused.status_code in (303, 401)
    assert "/account?redeemed" not in refused.headers.get("location", "")


def test_tries_are_limited_and_a_repeat_is_free(strict_shop: Shop) -> None:
    strict_shop.user("ada")
    make(strict_shop, "MINE")
    with strict_shop.browser("ada") as browser:
        fields = form_of(browser.get("/account").text, "/account/voucher")
        data = {**fields, "code": "MINE"}
        assert browser.post("/account/voucher", data=data).status_code == 303
        assert redeem(browser, "GUESS").status_code == 404
        stopped = redeem(browser, "GUESS2")
        assert stopped.status_code == 429
        assert "Too many requests. Try again in" in text_of(stopped)
        assert browser.post("/account/voucher", data=data).status_code == 303


def test_the_notice_is_for_the_one_who_redeemed(page_shop: Shop) -> None:
    page_shop.user("ada")
    page_shop.user("bob")
    make(page_shop, "MINE")
    with page_shop.browser("ada") as browser:
        notice = redeem(browser, "MINE").headers["location"]
    with page_shop.browser("bob") as browser:
        for path in (notice, "/account?redeemed=x", "/account?redeemed=99999999999999999999"):
            page = browser.get(path)
            assert page.status_code == 200
            assert "Your voucher gave you" not in text_of(page)
