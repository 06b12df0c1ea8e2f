"""The rate table's words and figures, and the reading of a typed amount."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar import errors
from bursar.billing.catalog import Pack, Unit
from bursar.entrypoints.web import figures, offers
from bursar.money import format_money

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
