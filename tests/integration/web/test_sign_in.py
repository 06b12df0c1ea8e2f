"""Signing in by link, signing out, and whose posts are taken."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from bursar import config, errors
from bursar.entrypoints.web import assets
from web_shop import Shop, shop_at


def test_a_link_signs_in_once_and_leads_on(bare_shop: Shop) -> None:
    bare_shop.user("ada", name="Ada Lovelace")
    link = bare_shop.sign_in_path("ada")
    with bare_shop.browser() as browser:
        answer = browser.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, "/account")
        assert "Ada Lovelace" in browser.get("/account").text
    with bare_shop.browser() as other:
        again = other.get(link)
        assert again.status_code == 401
        assert "does not work" in again.text
        assert other.get("/account").status_code == 303


def test_the_sessions_cookie_is_out_of_reach_for_scripts(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser() as browser:
        cookie = browser.get(bare_shop.sign_in_path("ada")).headers["set-cookie"].lower()
    assert cookie.startswith("bursar_session=")
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "secure" not in cookie


def test_over_https_the_cookie_is_secure(database_url: str) -> None:
    with shop_at(database_url, public_url="https://shop.example") as shop:
        shop.user("ada")
        with shop.browser() as browser:
            cookie = browser.get(shop.sign_in_path("ada")).headers["set-cookie"].lower()
    assert "secure" in {part.strip() for part in cookie.split(";")}


def test_plain_http_behind_a_proxy_moves_to_https(database_url: str) -> None:
    with (
        shop_at(
            database_url, public_url="https://shop.example", trusted_proxies="127.0.0.1"
        ) as shop,
        shop.browser() as browser,
    ):
        headers = {"x-forwarded-proto": "http"}
        moved = browser.get("/pricing?package=basic", headers=headers)
        assert moved.status_code == 301
        assert moved.headers["location"] == "https://shop.example/pricing?package=basic"
        assert browser.get("/pricing", headers={"x-forwarded-proto": "https"}).status_code == 200


def test_looking_ahead_does_not_use_a_link_up(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    link = bare_shop.sign_in_path("ada")
    with bare_shop.browser() as browser:
        assert "set-cookie" not in browser.head(link).headers
        assert browser.get(link, headers={"sec-purpose": "prefetch"}).status_code == 503
        assert browser.get(link).status_code == 303


@pytest.mark.parametrize(
    "then",
    ["//evil.example", "/\\evil.example", "https://evil.example/", "/\t/evil.example", "evil",
     "javascript:alert(1)", "/ok\r\nx: y", ""],
)  # fmt: skip
def test_signing_in_leads_to_our_own_pages_alone(bare_shop: Shop, then: str) -> None:
    bare_shop.user("ada")
    path = bare_shop.sign_in_path("ada")
    with bare_shop.browser() as browser:
        answer = browser.get(path, params={**httpx.URL(path).params, "next": then})
        assert (answer.status_code, answer.headers["location"]) == (303, "/account")


def test_signing_in_leads_back_to_the_page_that_asked(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser() as browser:
        asked = browser.get("/account?payments=7")
        assert asked.headers["location"] == "/sign-in?next=%2Faccount%3Fpayments%3D7"
        path = f"{bare_shop.sign_in_path('ada')}&next=%2Faccount%3Fpayments%3D7"
        assert browser.get(path).headers["location"] == "/account?payments=7"


def test_signing_out_ends_the_session_everywhere(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        kept = browser.cookies["bursar_session"]
        assert browser.post("/sign-out").status_code == 303
        assert "bursar_session" not in browser.cookies
        stolen = browser.get("/account", headers={"cookie": f"bursar_session={kept}"})
        assert stolen.status_code == 303


def test_signing_in_anew_ends_the_browsers_old_session(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    bare_shop.user("bob", name="Bob")
    with bare_shop.browser("ada") as browser:
        old = browser.cookies["bursar_session"]
        token = bare_shop.sign_in_path("bob").partition("token=")[2].partition("&")[0]
        answer = browser.post("/sign-in", data={"token": token, "next": "/pricing"})
        assert answer.headers["location"] == "/pricing"
        assert "Bob" in browser.get("/account").text
    with bare_shop.browser() as other:
        other.cookies.set("bursar_session", old)
        assert other.get("/account").status_code == 303


def test_a_link_of_somebody_elses_asks_before_it_changes_who_is_signed_in(
    bare_shop: Shop,
) -> None:
    bare_shop.user("ada", name="Ada Lovelace")
    bare_shop.user("mallory")
    link = bare_shop.sign_in_path("mallory")
    with bare_shop.browser("ada") as browser:
        asked = browser.get(link)
        assert asked.status_code == 200
        assert "Continue as mallory" in asked.text
        assert "Ada Lovelace" in browser.get("/account").text
        assert browser.get(bare_shop.sign_in_path("ada")).status_code == 303
    with bare_shop.browser() as other:
        assert other.get(link).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/pricing/buy", "/sign-in", "/sign-out", "/scheme"])
def test_posts_from_other_pages_are_refused(
    bare_shop: Shop, path: str, headers: dict[str, str]
) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        answer = browser.post(path, headers=headers, data={"scheme": "dark", "package": "basic"})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert browser.get("/account").status_code == 200


def test_a_post_that_says_nothing_of_its_origin_is_refused(bare_shop: Shop) -> None:
    with httpx.Client(base_url=bare_shop.url) as client:
        assert client.post("/scheme", data={"scheme": "dark"}).status_code == 403


def test_the_browsers_own_word_on_the_site_is_enough(bare_shop: Shop) -> None:
    with httpx.Client(base_url=bare_shop.url) as client:
        headers = {"sec-fetch-site": "same-origin"}
        assert client.post("/scheme", data={"scheme": "dark"}, headers=headers).status_code == 303


def test_guessing_links_is_limited_and_signing_in_is_not(database_url: str) -> None:
    with shop_at(database_url, limit_sign_in="3/1h") as shop:
        shop.user("ada")
        with shop.browser() as browser:
            statuses = [browser.get(f"/sign-in?token=guess{n}").status_code for n in range(5)]
            assert statuses == [401, 401, 401, 429, 429]
            assert browser.get(shop.sign_in_path("ada")).status_code == 303


def test_the_choice_of_dark_is_kept(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        assert "data-scheme" not in browser.get("/sign-in").text
        answer = browser.post("/scheme", data={"scheme": "dark", "next": "/pricing?x=1"})
        assert answer.headers["location"] == "/pricing?x=1"
        assert 'data-scheme="dark"' in browser.get("/sign-in").text
        browser.post("/scheme", data={"scheme": "system"})
        assert "data-scheme" not in browser.get("/sign-in").text
        assert browser.post("/scheme", data={"scheme": "<b>"}).status_code == 422
        browser.cookies.set("bursar_scheme", '"><script>')
        assert "<script>" not in browser.get("/sign-in").text


def test_a_shop_with_a_logo_shows_it(database_url: str, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>')
    with shop_at(database_url, brand_logo=logo) as shop, shop.browser() as browser:
        page = browser.get("/sign-in").text
        assert 'alt="Acme Tools"' in page
        served = browser.get("/brand/logo")
        assert served.headers["content-type"] == "image/svg+xml"
        assert "sandbox" in served.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["logo.gif", "missing.png", "big.png"])
def test_a_logo_that_cannot_be_shown_is_refused_at_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "logo.gif").write_bytes(b"GIF89a")
    (tmp_path / "big.png").write_bytes(b"x" * 200_001)
    with pytest.raises(errors.Misconfigured, match="BURSAR_BRAND_LOGO"):
        assets.read(config.read(None, brand_logo=tmp_path / name))


def test_only_a_demo_speaks_of_the_demo(database_url: str, tmp_path: Path) -> None:
    with shop_at(database_url, sandbox=True, home=tmp_path) as shop, shop.browser() as browser:
        assert "the demo" not in browser.get("/sign-in").text
        (tmp_path / "demo.json").write_text("{}")
        assert "In the demo the link stands in the terminal" in browser.get("/sign-in").text
