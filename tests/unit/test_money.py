"""Money as it is counted and shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bursar.money import credits_for, exponent, format_credits, format_money, price_per_credit


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (123456789, "usd", "$1,234,567.89"),
        (5, "usd", "$0.05"),
        (0, "usd", "$0.00"),
        (-4900, "usd", "\N{MINUS SIGN}$49.00"),
        (5000, "jpy", "¥5,000"),
        (12_000_000_000, "jpy", "¥12,000,000,000"),
        (1250, "kwd", "KWD\N{NO-BREAK SPACE}1.250"),
        (1000, "isk", "ISK\N{NO-BREAK SPACE}10.00"),
        (999, "eur", "€9.99"),
    ],
)
def test_money_is_shown_to_the_minor_unit(amount: int, currency: str, shown: str) -> None:
    assert format_money(amount, currency) == shown


def test_price_heads_drop_only_zero_decimals() -> None:
    assert format_money(1500, "usd", trim=True) == "$15"
    assert format_money(1550, "usd", trim=True) == "$15.50"


def test_exponents_are_the_providers_not_cldrs() -> None:
    assert [exponent(c) for c in ("usd", "jpy", "kwd", "isk", "ugx")] == [2, 0, 3, 2, 2]


def test_conversion_rounds_down() -> None:
    assert credits_for(999, Decimal("1")) == 999
    assert credits_for(999, Decimal("0.01")) == 9
    assert credits_for(1, Decimal("0.999")) == 0


@pytest.mark.parametrize(
    ("amount", "credits", "each"),
    [(500, 5, "$1.00"), (1000, 12, "$0.83"), (2000, 30, "$0.67"), (5000, 100, "$0.50")],
)
def test_the_price_of_one_credit(amount: int, credits: int, each: str) -> None:
    assert price_per_credit(amount, "usd", credits) == each


def test_credits_are_grouped() -> None:
    assert format_credits(1284310) == "1,284,310"
    assert format_credits(-1050, 2) == "\N{MINUS SIGN}10.50"
