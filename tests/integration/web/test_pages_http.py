"""What every page has: headers, the mode's banner, errors as pages, files that may be kept."""

from __future__ import annotations

import re

import pytest

from bursar.db import Connection
from web_shop import Shop, shop_at

PAGES = [
    "/",
    "/pricing",
    "/account",
    "/sign-in?token=wrong",
    "/nowhere",
    "/checkout/success?session_id=cs_x",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_carries_the_policy_and_is_not_kept(bare_shop: Shop, path: str) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        headers = browser.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self' 'nonce-")
    assert "base-uri 'none'; object-src 'none'; frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_holds_what_the_policy_forbids(bare_shop: Shop, path: str) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        text = browser.get(path).text
    assert not re.search(r"<style|\sstyle=|<script(?! src=)|\son[a-z]+=|javascript:", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_only_the_pricing_page_may_lead_to_the_provider(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        pricing = browser.get("/pricing").headers["content-security-policy"]
        sign_in = browser.get("/sign-in").headers["content-security-policy"]
    assert "form-action 'self' http://127.0.0.1:9;" in pricing
    assert "form-action 'self';" in sign_in


def test_test_mode_is_said_first_and_live_mode_says_nothing(database_url: str) -> None:
    with shop_at(database_url) as shop, shop.browser() as browser:
        text = browser.get("/pricing").text
        assert "<title>[Test] Pricing" in text
        assert text.index("Test mode.") < text.index('class="skip')


def test_live_mode_carries_no_banner(database_url: str) -> None:
    live = {
        "stripe_secret_key": "sk_live_pages_of_the_shop",
        "public_url": "https://shop.example",
        "trusted_proxies": "127.0.0.1",
    }
    with shop_at(database_url, **live) as shop, shop.browser() as browser:
        text = browser.get("/pricing", headers={"x-forwarded-proto": "https"}).text
        assert "Test mode" not in text
        assert "4242" not in text
        assert "<title>Pricing" in text


def test_an_address_without_a_page_is_a_page_for_browsers_and_a_problem_for_programs(
    bare_shop: Shop,
) -> None:
    with bare_shop.browser() as browser:
        page = browser.get("/nowhere")
        assert page.status_code == 404
        assert "There is nothing here" in page.text
        assert page.headers["x-request-id"] in page.text
        for path, accept in (("/nowhere", "*/*"), ("/api/nowhere", "text/html")):
            problem = browser.get(path, headers={"accept": accept})
            assert problem.status_code == 404
            assert problem.headers["content-type"] == "application/problem+json"


def test_a_wrong_method_is_a_page_that_names_the_right_one(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        answer = browser.post("/account")
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        assert "This page can" in answer.text
        assert browser.get("/sign-out").status_code == 405


def test_forms_that_are_too_long_or_of_another_kind_are_refused(bare_shop: Shop) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    with bare_shop.browser() as browser:
        assert (
            browser.post("/scheme", content=b"x=" + b"y" * 20_000, headers=form).status_code == 413
        )
        assert browser.post("/scheme", json={"scheme": "dark"}).status_code == 415
        for body in (b"scheme=%FF", b"scheme=\xff", b"scheme=%00", b"&".join([b"a=1"] * 30)):
            assert browser.post("/scheme", content=body, headers=form).status_code == 422


def test_a_lost_database_is_a_page_that_says_nothing_was_lost(bare_shop: Shop) -> None:
    async def lose(conn: Connection) -> None:
        await conn.execute("alter table sessions rename to sessions_away")

    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        bare_shop.call(lambda wiring: wiring.db.run(lose))
        page = browser.get("/account")
    assert page.status_code == 500
    assert "Something went wrong" in page.text
    assert "sessions" not in page.text
    assert page.headers["x-request-id"] in page.text


def test_a_database_that_is_away_is_a_page_to_try_again(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        bare_shop.call(lambda wiring: wiring.db.close())
        page = browser.get("/pricing")
    assert page.status_code == 503
    assert page.headers["retry-after"]
    assert "Try again" in page.text
    assert "127.0.0.1" not in page.text.replace(bare_shop.url, "")


def test_files_are_kept_for_as_long_as_they_are_the_same(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        text = browser.get("/sign-in").text
        found = re.findall(r'(?:href|src)="(/(?:static|theme|favicon)[^"]+)"', text)
        assert len(found) == 4
        for address in found:
            answer = browser.get(address)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            bare = browser.get(address.partition("?")[0])
            assert bare.headers["cache-control"] == "no-cache"


def test_the_style_sheet_stays_small(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        assert len(browser.get("/static/pages.css").content) <= 20_000


def test_the_log_knows_a_page_by_its_pattern(
    bare_shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    bare_shop.user("ada")
    with bare_shop.browser() as browser:
        browser.get(bare_shop.sign_in_path("ada"))
        metrics = browser.get("/metrics").text
    assert 'route="/sign-in"' in metrics
    assert "token" not in capsys.readouterr().out
