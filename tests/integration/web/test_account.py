"""The account page: whose it is, in which order, and how far back it goes."""

from __future__ import annotations

import re

from bursar.db import Connection
from web_shop import Shop

UNIT = """
insert into catalog_units (unit, name, decimals) values ('page', 'Pages', 0), ('coin', 'Coins', 2)
"""


def with_units(shop: Shop) -> Shop:
    async def work(conn: Connection) -> None:
        await conn.execute(UNIT)

    shop.call(lambda wiring: wiring.db.run(work))
    return shop


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text).replace("\N{NO-BREAK SPACE}", " "))


def test_a_new_account_says_what_will_be_there(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        page = words(browser.get("/account").text)
    for sentence in ("No credits yet.", "No payments yet.", "No movements yet."):
        assert sentence in page


def test_balances_and_movements_are_shown_with_their_signs(bare_shop: Shop) -> None:
    shop = with_units(bare_shop)
    ada = shop.user("ada", email="ada@lovelace.example")
    shop.post(ada, "bonus", 5, pool="bonus", description="Welcome")
    shop.post(ada, "purchase", 30)
    shop.post(ada, "usage", -7, description="<script>alert(1)</script>")
    shop.post(ada, "purchase", 1250, unit="coin")
    with shop.browser("ada") as browser:
        page = browser.get("/account").text
    assert "<script>alert" not in page
    plain = words(page)
    assert "Bought Does not expire 12.50 To use now 12.50" in plain
    # Bonus is used before what was bought, so the seven came out of the five first.
    assert "Bought Does not expire 28 To use now 28" in plain
    assert re.search(r"Used &lt;script&gt;.*\N{MINUS SIGN}7 28", plain)
    assert re.search(r"Bonus Welcome.*\+5 5", plain)
    assert page.count('class="total"') == 2


def test_everybody_sees_only_what_is_theirs(bare_shop: Shop) -> None:
    shop = with_units(bare_shop)
    shop.post(shop.user("ada"), "purchase", 77, description="Secret of Ada")
    shop.user("eve")
    with shop.browser("eve") as browser:
        for path in ("/account", "/account?entries=9999999", "/account?payments=9999999"):
            assert "Secret of Ada" not in browser.get(path).text


def test_older_movements_are_a_link_away_and_none_is_lost(bare_shop: Shop) -> None:
    shop = with_units(bare_shop)
    ada = shop.user("ada")
    for number in range(60):
        shop.post(ada, "purchase", 1, description=f"Number {number:02}")
    seen: list[str] = []
    with shop.browser("ada") as browser:
        path: str | None = "/account"
        while path:
            page = browser.get(path).text
            seen += re.findall(r'title="(Number \d\d)"', page)
            older = re.search(r'<a href="([^"]+)">Older</a>', page)
            path = older[1].replace("&amp;", "&") if older else None
    assert seen == [f"Number {number:02}" for number in reversed(range(60))]


def test_a_cursor_that_makes_no_sense_is_the_first_page(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        for cursor in ("", "-1", "abc", "9" * 40, "1;drop", "٣", "%00"):
            assert browser.get(f"/account?entries={cursor}&payments={cursor}").status_code == 200
