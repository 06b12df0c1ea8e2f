"""The rate table's words and figures, and the reading of a typed amount."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from bursar import errors
from bursar.billing import checkouts, mirror
from bursar.billing.catalog import Pack, Unit
from bursar.billing.coupons import Coupon
from bursar.billing.orders import Order
from bursar.db import Connection
from bursar.entrypoints.web import coupon_lines, figures, offers
from bursar.money import format_money
from bursar.providers.mirrored import CatalogFact, Discount
from bursar.wiring import Wiring
from web_shop import CARD, SECRET_KEY, Shop, form_of, text_of

CREDIT = Unit(
    "credit",
    "Credits",
    0,
    {"usd": Decimal(1), "jpy": Decimal(1), "kwd": Decimal(1)},
    {"usd": (500, 500_000), "jpy": (50, 10**9), "kwd": (1000, 10**9)},
)


def pack(key: str, credits: int, amount_minor: int, **fields: object) -> Pack:
    given: dict[str, object] = {
        "key": key,
        "name": key.capitalize(),
        "unit": "page",
        "unit_label": "Pages",
        "unit_decimals": 0,
        "credits": credits,
        "amount_minor": amount_minor,
        "currency": "usd",
        "description": None,
        "position": 0,
        "capture_method": "automatic",
        "provider_price_id": f"price_{key}",
        **fields,
    }
    return Pack(**given)  # type: ignore[arg-type]


PACKS = [
    pack("starter", 5, 500),
    pack("basic", 12, 1000),
    pack("pro", 30, 2000),
    pack("enterprise", 100, 5000),
]


def test_the_price_of_one_and_the_saving_stand_beside_each_pack() -> None:
    (table,) = offers.rates(PACKS)
    shown = [(row.brings, row.each, row.saving, row.price) for row in table.rows]
    assert shown == [
        ("5\N{NO-BREAK SPACE}pages", "$1.00", "", "$5.00"),
        ("12\N{NO-BREAK SPACE}pages", "$0.83", "17% less per page", "$10.00"),
        ("30\N{NO-BREAK SPACE}pages", "$0.67", "33% less per page", "$20.00"),
        ("100\N{NO-BREAK SPACE}pages", "$0.50", "50% less per page", "$50.00"),
    ]


def test_only_the_cheapest_or_the_kept_order_stands_out() -> None:
    (table,) = offers.rates(PACKS)
    assert [row.mark for row in table.rows] == ["", "", "", "Lowest price per page"]
    (table,) = offers.rates(PACKS, kept="basic")
    assert [row.mark for row in table.rows] == ["", "Your order", "", ""]
    (table,) = offers.rates(PACKS, kept="gone")
    assert [row.mark for row in table.rows] == ["", "", "", "Lowest price per page"]


def test_units_and_currencies_are_not_compared_with_each_other() -> None:
    other = pack("gold", 1, 1, unit="coin", unit_label="Coins")
    yen = pack("yen", 10, 1, currency="jpy")
    pages, coins = offers.rates([*PACKS, yen, other])
    assert [row.saving for row in pages.rows] == [
        "", "17% less per page", "33% less per page", "50% less per page", "",
    ]  # fmt: skip
    assert not any(row.mark for row in pages.rows)
    assert [row.saving for row in coins.rows] == [""]


def test_a_price_below_the_minor_unit_keeps_two_more_digits() -> None:
    assert figures.per_unit(1000, "usd", 5000, CREDIT) == "$0.0020"
    assert figures.per_unit(1000, "usd", 12, CREDIT) == "$0.83"
    assert figures.per_unit(1, "usd", 2, CREDIT) == "$0.0050"
    assert figures.per_unit(100, "jpy", 500, CREDIT) == "¥0.20"


def test_one_of_a_unit_is_said_in_the_singular() -> None:
    assert figures.amount_of(1, CREDIT) == "1\N{NO-BREAK SPACE}credit"
    assert figures.amount_of(1284310, CREDIT) == "1,284,310\N{NO-BREAK SPACE}credits"


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [
        ("25", "usd", 2500),
        (" $25.5 ", "usd", 2550),
        ("25.50", "usd", 2550),
        ("25.500", "usd", 2550),
        ("1,000", "usd", 100_000),
        ("5.", "usd", 500),
        ("5000", "usd", 500_000),
        ("¥5,000", "jpy", 5000),
        ("1.25", "kwd", 1250),
    ],
)
def test_an_amount_is_read_as_people_write_it(text: str, currency: str, amount_minor: int) -> None:
    assert offers.read_amount(text, CREDIT, currency) == amount_minor


@pytest.mark.parametrize(
    "text",
    ["", " ", "$", "abc", "-5", "+25", "1e3", "0x10", "10,50", "1,00,000", "25.005", "٢٥", "25 00",
     "nan", "inf", "9" * 16, "5" * 500, "25.50.1", "2_5"],
)  # fmt: skip
def test_what_is_no_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(errors.Invalid, match=r"\$25\.00"):
        offers.read_amount(text, CREDIT, "usd")


@pytest.mark.parametrize(("text", "bound"), [("4.99", r"\$5\.00"), ("5000.01", r"\$5,000\.00")])
def test_an_amount_out_of_bounds_is_told_the_bound(text: str, bound: str) -> None:
    with pytest.raises(errors.AmountOutOfBounds, match=bound):
        offers.read_amount(text, CREDIT, "usd")


def test_the_providers_minimum_raises_the_catalogues() -> None:
    with pytest.raises(errors.AmountOutOfBounds):
        offers.read_amount("5", CREDIT, "usd", minimum=501)


def test_a_currency_without_a_rate_is_not_sold() -> None:
    with pytest.raises(errors.CurrencyNotSold):
        offers.read_amount("25", CREDIT, "eur")


@given(st.integers(min_value=500, max_value=500_000))
def test_every_amount_that_we_write_is_read_again(amount_minor: int) -> None:
    text = format_money(amount_minor, "usd")
    assert offers.read_amount(text, CREDIT, "usd") == amount_minor


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    with contextlib.suppress(errors.Invalid):
        assert 500 <= offers.read_amount(text, CREDIT, "usd") <= 500_000


# Coupon lines and the currency menu.

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def coupon(code: str = "LAUNCH15", **fields: Any) -> Coupon:
    given: dict[str, Any] = {
        "code": code,
        "discount": Discount("co", "promo"),
        "percent_off": Decimal(15),
        "amounts": {},
        "products": None,
        "left": 38,
        "ends_at": datetime(2026, 12, 1, tzinfo=UTC),
        "active": True,
        **fields,
    }
    return Coupon(**given)


def words(*coupons: Coupon, currency: str = "usd") -> list[str]:
    sold = {"bursar_pack_basic": "Basic", "bursar_pack_pro": "Pro"}
    found = coupon_lines.lines(coupons, sold, currency=currency, now=NOW)
    said = [f"{line.code} {line.effect} · {line.terms}".rstrip(" ·") for line in found]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in said]


def test_a_coupon_line_says_effect_what_is_left_and_until_when() -> None:
    assert words(coupon()) == ["LAUNCH15 takes 15 % off · 38 left · until 1 Dec"]
    assert words(coupon(left=None, ends_at=None)) == ["LAUNCH15 takes 15 % off"]
    later = datetime(2027, 1, 5, tzinfo=UTC)
    assert words(coupon(ends_at=later)) == ["LAUNCH15 takes 15 % off · 38 left · until 5 Jan 2027"]


def test_a_coupon_line_names_what_the_coupon_is_for() -> None:
    only = coupon(products=frozenset({"bursar_pack_pro"}), left=None, ends_at=None)
    assert words(only) == ["LAUNCH15 takes 15 % off Pro"]
    assert words(coupon(products=frozenset({"prod_other"}))) == []


def test_an_amount_off_is_shown_in_the_currency_of_the_page() -> None:
    off = coupon(percent_off=None, amounts={"usd": 500, "eur": 450}, left=None, ends_at=None)
    assert words(off) == ["LAUNCH15 takes $5.00 off"]
    assert words(off, currency="eur") == ["LAUNCH15 takes €4.50 off"]
    assert words(off, currency="jpy") == []


def test_the_soonest_to_end_come_first_and_three_are_enough() -> None:
    many = [coupon(f"C{day}", ends_at=datetime(2026, 12, day, tzinfo=UTC)) for day in (9, 3, 5, 4)]
    assert [line.split()[0] for line in words(*many)] == ["C3", "C4", "C5"]


CURRENCIES = """
[units.page]
name = "Pages"

[packs.euro]
name = "Starter"
unit = "page"
credits = 5
prices = { usd = 500, eur = 450, jpy = 777 }

[packs.dollar]
name = "Basic"
unit = "page"
credits = 12
prices = { usd = 1000 }
"""


def test_the_page_shows_the_codes_of_the_mirror_and_lets_choose_a_currency(
    shop: Shop, tmp_path: Path
) -> None:
    shop.sell(tmp_path, CURRENCIES)
    body = {
        "name": None,
        "percent_off": "15",
        "amounts": {},
        "products": None,
        "max_redemptions": 50,
        "times_redeemed": 12,
        "ends_at": None,
        "valid": True,
        "metadata": {},
    }
    code = {
        **{name: body[name] for name in ("max_redemptions", "times_redeemed", "metadata")},
        "coupon": "co_line",
        "code": "LINE15",
        "active": True,
        "customer": None,
        "first_time": False,
        "minimum_minor": None,
        "minimum_currency": None,
        "ends_at": None,
    }
    with shop.browser() as browser:
        assert "LINE15" not in browser.get("/pricing").text

        async def work(conn: Connection) -> None:
            told = [("coupon", "co_line", body), ("promotion_code", "promo_line", code)]
            facts = [
                CatalogFact(provider="stripe", kind=kind, id=name, at=NOW, body=fields)  # type: ignore[arg-type]
                for kind, name, fields in told
            ]
            await mirror.remember(conn, facts)

        shop.call(lambda wiring: wiring.db.run(work))
        page = browser.get("/pricing")
        said = text_of(page)
        while "LINE15" not in said:
            said = text_of(browser.get("/pricing"))
        assert "LINE15 takes 15 % off · 38 left" in said
        assert "$5.00" in said
        chosen = text_of(browser.get("/pricing?currency=jpy"))
        assert "¥777" in chosen
        assert "$10.00" in chosen
        assert "aria-current" in browser.get("/pricing?currency=jpy").text
        odd = text_of(browser.get("/pricing?currency=zzz"))
        assert "$5.00" in odd


def test_a_pack_is_bought_in_the_currency_that_was_chosen(shop: Shop, tmp_path: Path) -> None:
    shop.sell(tmp_path, CURRENCIES)
    ada = shop.user("ada")
    with shop.browser("ada") as browser:
        form = form_of(browser.get("/pricing?currency=jpy").text, "euro")
        assert browser.post("/pricing/buy", data=form).status_code == 303
    [payment] = shop.payments(ada)
    assert (payment.currency, payment.amount_minor) == ("jpy", 777)


def test_an_order_that_a_coupon_paid_whole_says_that_nothing_was_paid(
    shop: Shop, tmp_path: Path
) -> None:
    ada = shop.user("ada")

    async def buy(wiring: Wiring) -> str:
        provider = wiring.provider("stripe")
        client = stripe.StripeClient(
            SECRET_KEY, base_addresses={"api": str(wiring.settings.stripe_base)}
        )
        free = client.v1.coupons.create({"percent_off": 100, "duration": "once"})
        order = Order(
            customer_id=ada.customer_id,
            user=ada,
            package="starter",
            coupon=free.id,
            success_url=f"{shop.url}/checkout/success?session_id={{CHECKOUT_SESSION_ID}}",
            cancel_url=f"{shop.url}/pricing",
        )
        payment = await checkouts.open(wiring.db, provider, order, clock=wiring.clock)
        return str(payment.session_url)

    url = shop.call(buy)
    nothing = {"card_number": "", "expiry": "", "security_code": "", "seen_total": "0"}
    with httpx.Client(timeout=30, headers={"origin": url.split("/c/", maxsplit=1)[0]}) as client:
        back = client.post(url, data={**CARD, **nothing})
    assert back.status_code == 303, back.text
    with shop.browser("ada") as browser:
        said = text_of(browser.get(back.headers["location"]))
    assert "There was nothing to pay. 5 pages were added." in said
    assert "$5.00" not in said
