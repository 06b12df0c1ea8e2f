"""The pages in a real browser: nothing sticks out, everything can be read, reached and used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bursar_sandbox.running import Sandbox
from web_shop import Shop, form_of, press, shop_at

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (320, 375, 768, 1280)
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützen und was man sonst noch alles braucht "
LONG_CATALOG = f"""
[units.credit]
name = "Credits"
per_minor = {{ usd = "0.5", jpy = "1", kwd = "0.2" }}
[units.page]
name = "Pages"
decimals = 2
[packs.small]
name = "S"
unit = "page"
credits = 1
prices = {{ usd = 100 }}
[packs.long]
name = "{(LONG * 3)[:200]}"
description = "{(LONG * 3)[:200]}"
unit = "page"
credits = 12000000
prices = {{ usd = 99999999 }}
"""

# Every element with words of its own, against the nearest ground that is painted behind it.
FAINT = """() => {
  const parts = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const bright = (c) => {
    const [r, g, b] = parts(c).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (parts(c).length === 3 || parts(c)[3] > 0) return c;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(".vh, noscript")) continue;
    const [a, b] = [bright(getComputedStyle(e).color), bright(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push([e.textContent.trim().slice(0, 40), ratio]);
  }
  return faint;
}"""

SMALL = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), summary")]
  .filter((e) => e.checkVisibility() && !e.closest(".vh") && !e.matches(".skip, p a, .told a"))
  .map((e) => [e.textContent.trim(), e.getBoundingClientRect().height])
  .filter(([, height]) => height < 24)"""

CUT = """() => [...document.querySelectorAll("main .surface")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1).length"""

UNSEEN = """() => {
  const e = document.activeElement;
  const style = getComputedStyle(e);
  const box = e.getBoundingClientRect();
  const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const there = box.width > 1 && box.bottom > 0 && box.top < innerHeight;
  return ringed && there ? null : e.outerHTML.slice(0, 120);
}"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def shop(database_url: str, provider: Sandbox, tmp_path: Path) -> Iterator[Shop]:
    with shop_at(
        database_url, stripe_api_base=provider.base_url, sandbox=True, limit_checkout="off"
    ) as shop:
        shop.sell(tmp_path)
        yield shop


@contextmanager
def window(chromium: Browser, shop: Shop, *, script: bool = True) -> Iterator[Page]:
    """A page of a new browser; whatever the console complains of fails the test."""
    faults: list[str] = []
    with chromium.new_context(
        java_script_enabled=script, reduced_motion="reduce", base_url=shop.url
    ) as context:
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        yield page
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


def fill(shop: Shop) -> None:
    """An account with a bit of everything."""
    ada = shop.user("ada", email="ada@lovelace.example", name="Ada Lovelace")
    shop.post(ada, "bonus", 5, pool="bonus", description="Welcome")
    shop.post(ada, "purchase", 12, description="Basic")
    shop.post(ada, "usage", -3, description=LONG)
    shop.post(ada, "purchase", 1000, unit="credit")
    with shop.browser("ada") as browser:
        make_key(browser, "Build server")


def fill_account(shop: Shop) -> None:
    """An account of some weeks: twelve payments, refunds in every state, a debt, keys."""
    fill(shop)
    ada = shop.user("ada", email="ada@lovelace.example", name="Ada Lovelace")
    with shop.browser("ada") as browser:
        for package in ("starter", "basic", "pro", "enterprise") * 3:
            shop.buy(browser, package)
        shop.post(ada, "usage", -440, description="Invoices of the year 2025, read twice")
        bought = shop.payments(ada)
        shop.refund(bought[0], 1250)
        shop.refund(bought[1], 500)
        shop.refund(bought[1], 300, "pending")
        shop.refund(bought[4], 5000)
        shop.refund(bought[6], 250, "released")
        for name in ("", LONG[:60]):
            make_key(browser, name)
        make_key(browser, "Old laptop")
        browser.post("/account/keys/4/revoke")
        press(browser, "basic")


def make_key(browser: httpx.Client, name: str) -> None:
    fields = form_of(browser.get("/account").text, "/account/keys")
    assert browser.post("/account/keys", data={**fields, "name": name}).status_code == 200


def pages_of(page: Page, shop: Shop) -> list[str]:
    """Every kind of page, with an order that waits; the browser is signed in afterwards."""
    page.goto(shop.sign_in_path("ada"))
    page.goto("/pricing")
    page.get_by_role("button", name="Buy Basic").click()
    page.wait_for_url("**/c/pay/**")
    session_id = page.url.rpartition("/")[2].partition("?")[0]
    return [
        "/pricing",
        "/pricing?canceled=1&package=basic",
        f"/checkout/success?session_id={session_id}&waited=20",
        "/account",
        "/account/keys/1/revoke",
        "/sign-in?token=wrong",
        "/nowhere",
    ]


def pay(page: Page, card: str) -> None:
    given = {"email": "ada@lovelace.example", "card_number": card, "expiry": "12 / 34",
             "security_code": "123", "name": "Ada Lovelace", "postal_code": "10115"}  # fmt: skip
    for name, value in given.items():
        field = page.locator(f"[name={name}]")
        if field.count() and field.is_editable():
            field.fill(value)
    page.locator("button[type=submit]", has_text="Pay").click()


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    wide: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide


def test_no_page_scrolls_sideways_or_hides_its_text(chromium: Browser, shop: Shop) -> None:
    fill(shop)
    with window(chromium, shop) as page:
        for path in pages_of(page, shop):
            page.goto(path)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert sideways(page) <= 0, (path, width)
                assert page.evaluate(SMALL) == [], (path, width)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                assert page.evaluate(FAINT) == [], (path, scheme)


def test_a_filled_account_fits_and_can_be_read(chromium: Browser, shop: Shop) -> None:
    fill_account(shop)
    with window(chromium, shop) as page:
        page.goto(shop.sign_in_path("ada"))
        page.goto("/account?revoked=4")
        expect(page.get_by_role("status").first).to_contain_text("Revoked Old laptop.")
        for summary in page.locator("summary").all():
            summary.click()
        for path in ("/account", "/account/keys/3/revoke"):
            if path != "/account":
                page.goto(path)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert sideways(page) <= 0, (path, width)
                assert page.evaluate(SMALL) == [], (path, width)
                assert page.evaluate(CUT) == 0, (path, width)
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                    assert page.evaluate(FAINT) == [], (path, width, scheme)


def test_a_new_key_is_shown_once_copied_and_gone_with_the_page(
    chromium: Browser, shop: Shop
) -> None:
    shop.user("ada")
    with window(chromium, shop) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(shop.sign_in_path("ada"))
        page.get_by_label("Name of a new key").fill(LONG[:60])
        page.get_by_role("button", name="Create a key").click()
        expect(page.locator("h1")).to_have_text("Save your new key")
        secret = page.locator(".secret code").first.inner_text()
        assert secret not in page.url
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert sideways(page) <= 0, width
            assert page.evaluate(SMALL) == [], width
            assert page.evaluate(CUT) == 0, width
        copy = page.get_by_role("button", name="Copy key")
        copy.click()
        expect(page.get_by_role("status")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == secret
        expect(copy).to_have_text("Copy key", timeout=5_000)
        assert copy.locator(".vh").count() == 1
        page.reload()
        expect(page.locator("h1")).to_have_text("This key was created already")
        assert secret not in page.content()
        page.get_by_role("link", name="See your keys").click()
        expect(page.locator("#keys")).to_be_in_viewport()
        assert secret not in page.content()


def test_without_script_a_key_is_made_and_revoked(chromium: Browser, shop: Shop) -> None:
    shop.user("ada")
    with window(chromium, shop, script=False) as page:
        page.goto(shop.sign_in_path("ada"))
        page.get_by_label("Name of a new key").fill("Laptop")
        page.keyboard.press("Enter")
        expect(page.locator(".secret code").first).to_contain_text("bursar_user_")
        # A button that would do nothing is not there.
        expect(page.get_by_role("button", name="Copy key")).to_have_count(0)
        page.get_by_role("link", name="I saved it").click()
        page.get_by_role("link", name="Revoke Laptop").click()
        expect(page.locator("h1")).to_have_text("Revoke Laptop?")
        page.get_by_role("link", name="Keep key").click()
        page.get_by_role("link", name="Revoke Laptop").click()
        page.get_by_role("button", name="Revoke key").click()
        expect(page.locator(".told")).to_contain_text("Revoked Laptop.")
        expect(page.get_by_role("link", name="Revoke Laptop")).to_have_count(0)


def test_long_names_and_great_amounts_fit(
    chromium: Browser, database_url: str, provider: Sandbox, tmp_path: Path
) -> None:
    with shop_at(
        database_url,
        stripe_api_base=provider.base_url,
        stripe_secret_key="sk_test_long_names_and_amounts",
        shop_name="A shop with a name far longer than anybody would ever want",
        brand_accent="#ffe600",
    ) as shop:
        shop.sell(tmp_path, LONG_CATALOG)
        user = shop.user("u" * 128, email=f"{'x' * 50}@example.com")
        shop.post(user, "purchase", 10**12, description="W" * 300)
        with window(chromium, shop) as page:
            page.goto(shop.sign_in_path(user.id))
            for path in ("/pricing", "/account"):
                page.goto(path)
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    assert sideways(page) <= 0, (path, width)
                    assert page.evaluate(CUT) == 0, (path, width)
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                    assert page.evaluate(FAINT) == [], (path, scheme)


def test_the_checks_of_this_file_can_fail(chromium: Browser, shop: Shop) -> None:
    with window(chromium, shop) as page:
        page.goto("/sign-in")
        page.evaluate("""() => {
          const word = document.querySelector("h1");
          word.style.color = "#bbb"; word.style.inlineSize = "3000px";
          document.querySelector(".button").style.cssText =
            "block-size: 10px; min-block-size: 0; padding: 0";
        }""")
        assert sideways(page) > 0
        assert page.evaluate(FAINT) != []
        assert page.evaluate(SMALL) != []
        page.evaluate("""() => {
          const box = document.createElement("div");
          box.className = "surface sheet"; box.innerHTML = "<p>wide</p>";
          box.firstChild.style.inlineSize = "3000px";
          document.querySelector("main").append(box);
        }""")
        assert page.evaluate(CUT) == 1


def test_every_stop_of_the_keyboard_shows_its_ring(chromium: Browser, shop: Shop) -> None:
    fill(shop)
    with window(chromium, shop) as page:
        for path in pages_of(page, shop):
            page.goto(path)
            stops = page.locator("a, button, input:not([type=hidden]), summary").count()
            for _ in range(stops):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement === document.body"):
                    break
                assert page.evaluate(UNSEEN) is None, path


def test_the_keyboard_alone_buys(chromium: Browser, shop: Shop) -> None:
    shop.user("ada")
    with window(chromium, shop) as page:
        page.goto(shop.sign_in_path("ada"))
        page.goto("/pricing")
        page.get_by_label("Amount to pay").focus()
        page.keyboard.type("25")
        page.keyboard.press("Enter")
        page.wait_for_url("**/c/pay/**")
        expect(page.locator("body")).to_contain_text("$25.00")


def test_a_wrong_amount_leads_to_its_field(chromium: Browser, shop: Shop) -> None:
    shop.user("ada")
    with window(chromium, shop) as page:
        page.goto(shop.sign_in_path("ada"))
        page.goto("/pricing")
        page.get_by_label("Amount to pay").fill("2,50")
        page.get_by_role("button", name="Buy credits").click()
        page.get_by_role("alert").get_by_role("link").click()
        field = page.get_by_label("Amount to pay")
        expect(field).to_have_value("2,50")
        expect(field).to_have_attribute("aria-invalid", "true")


def test_without_script_a_pack_is_bought_and_the_page_waits_by_itself(
    chromium: Browser, shop: Shop
) -> None:
    shop.user("ada")
    with window(chromium, shop, script=False) as page:
        page.goto(shop.sign_in_path("ada"))
        page.goto("/pricing")
        page.locator("form", has=page.locator("[value=basic]")).locator("button").click()
        page.wait_for_url("**/c/pay/**")
        hosted = page.url
        session_id = hosted.rpartition("/")[2].partition("?")[0]
        waiting = page.context.new_page()
        waiting.goto(f"/checkout/success?session_id={session_id}")
        expect(waiting.locator("h1")).to_have_text("Confirming your payment")
        pay(page, "4242 4242 4242 4242")
        expect(page.locator("h1")).to_have_text("You paid $10.00")
        expect(waiting.locator("h1")).to_have_text("You paid $10.00", timeout=15_000)
        page.goto("/account")
        expect(page.locator("main")).to_contain_text("12")


def test_with_script_the_waiting_page_turns_into_the_outcome(chromium: Browser, shop: Shop) -> None:
    shop.user("ada")
    with window(chromium, shop) as page:
        page.goto(shop.sign_in_path("ada"))
        page.goto("/pricing")
        page.get_by_role("button", name="Buy Basic").click()
        page.wait_for_url("**/c/pay/**")
        session_id = page.url.rpartition("/")[2].partition("?")[0]
        waiting = page.context.new_page()
        waiting.goto(f"/checkout/success?session_id={session_id}")
        waiting.evaluate("window.stayed = true")
        pay(page, "4242 4242 4242 4242")
        expect(waiting.locator("h1")).to_have_text("You paid $10.00", timeout=15_000)
        expect(waiting.locator("h1")).to_be_focused()
        expect(waiting).to_have_title("[Test] You paid $10.00 · Acme Tools")
        assert waiting.evaluate("window.stayed") is True


def test_the_button_says_that_it_is_busy_and_takes_no_second_press(
    chromium: Browser, shop: Shop
) -> None:
    shop.user("ada")
    with window(chromium, shop) as page:
        page.goto(shop.sign_in_path("ada"))
        page.goto("/pricing")
        page.route("**/pricing/buy", lambda route: route.abort())
        told = page.get_by_role("button", name="Buy Basic").evaluate("""button => {
          let sent = 0;
          addEventListener("submit", (event) => { if (!event.defaultPrevented) sent += 1; });
          button.click(); button.click(); button.click();
          return [sent, button.textContent, button.getAttribute("aria-disabled")];
        }""")
        assert told == [1, "Opening…", "true"]


def test_the_choice_of_scheme_holds_against_the_system(chromium: Browser, shop: Shop) -> None:
    with window(chromium, shop) as page:
        page.emulate_media(color_scheme="light")
        page.goto("/pricing")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_role("button", name="Dark").click()
        expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
        assert page.evaluate(ground) != light
        page.get_by_role("button", name="System").click()
        expect(page.get_by_role("button", name="System")).to_have_attribute("aria-pressed", "true")
        assert page.evaluate(ground) == light
