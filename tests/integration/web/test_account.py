"""The account page: whose it is, in which order, and how far back it goes."""

from __future__ import annotations

import re

from bursar.db import Connection
from web_shop import Shop, text_of

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


def rows_of(page: str) -> list[str]:
    """The words of each row of the page's tables."""
    return [words(row).strip() for row in re.findall(r"<tr.*?</tr>", page, re.S)]


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


def test_refunds_stand_under_their_payment_in_words(shop: Shop) -> None:
    ada = shop.user("ada")
    with shop.browser("ada") as browser:
        for package in ("basic", "pro", "starter"):
            shop.buy(browser, package)
        starter, pro, basic = shop.payments(ada)
        shop.refund(basic, 1000)
        shop.refund(pro, 500)
        shop.refund(pro, 300, "pending")
        shop.refund(starter, 200, "released")
        rows = rows_of(browser.get("/account").text)
    at = next(n for n, row in enumerate(rows) if row.startswith("Basic Payment"))
    assert "Refunded" in rows[at]
    assert "$10.00 USD −$10.00 refunded" in rows[at]
    assert rows[at + 1].startswith("Refund of payment 1 Sent back the way you paid")
    assert "Refunded just now −$10.00 USD" in rows[at + 1]
    at = next(n for n, row in enumerate(rows) if row.startswith("Pro Payment"))
    assert "Partly refunded" in rows[at]
    assert "$20.00 USD −$5.00 refunded" in rows[at]
    assert "Refunded just now −$5.00 USD" in rows[at + 1]
    assert "On its way back to you" in rows[at + 2]
    assert "Pending just now −$3.00 USD" in rows[at + 2]
    at = next(n for n, row in enumerate(rows) if row.startswith("Starter Payment"))
    assert "Paid" in rows[at]
    assert "refunded" not in rows[at]
    assert "It did not go through: no money went back" in rows[at + 1]
    assert "Failed just now $2.00 USD" in rows[at + 1]


def test_a_refund_that_is_told_twice_stands_once_in_its_last_state(shop: Shop) -> None:
    ada = shop.user("ada")
    with shop.browser("ada") as browser:
        shop.buy(browser, "pro")
        (payment,) = shop.payments(ada)
        for state in ("pending", "settled", "pending"):
            shop.refund(payment, 700, state, ref="re_1")  # type: ignore[arg-type]
        page = text_of(browser.get("/account"))
    assert page.count("Refund of payment") == 1
    assert "On its way back" not in page
    assert "−$7.00 refunded" in page


def test_what_is_owed_and_what_is_reserved_say_why(shop: Shop) -> None:
    ada = shop.user("ada")
    with shop.browser("ada") as browser:
        shop.buy(browser, "basic")
        (basic,) = shop.payments(ada)
        shop.post(ada, "usage", -5)
        shop.refund(basic, 1000)
        page = text_of(browser.get("/account"))
        assert "Owed Taken back after a refund: paid by your next purchase 5" in page
        assert "Reserved" not in page
        shop.buy(browser, "pro")
        shop.refund(shop.payments(ada)[0], 400, "pending")
        page = text_of(browser.get("/account"))
    assert "Owed" not in page
    assert re.search(r"To use now 19 Reserved Set aside for running work or a refund .* 6 ", page)


def test_nobody_sees_the_refunds_of_another(shop: Shop) -> None:
    ada = shop.user("ada")
    shop.user("eve")
    with shop.browser("ada") as browser:
        shop.buy(browser, "pro")
        shop.refund(shop.payments(ada)[0], 700)
    with shop.browser("eve") as browser:
        assert "Refund" not in text_of(browser.get("/account"))
