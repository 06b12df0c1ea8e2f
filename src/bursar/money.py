"""Money, currencies and units of credits: integers of the smallest part, never floats. Pure.

How many decimals a currency has is taken from the way the payment providers count minor units,
which differs from CLDR for ISK and UGX. Knows no provider and no database.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache

from babel import Locale
from babel.numbers import get_currency_symbol

AMOUNT_MAX = 10**12
"""The greatest amount or number of credits in one movement, in smallest parts."""

ZERO_DECIMALS = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMALS = frozenset("bhd jod kwd omr tnd".split())
TWO_DECIMALS = frozenset(
    """aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad
    cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg
    huf idr ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr
    mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek
    sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx usd uyu uzs wst xcd yer zar
    zmw""".split()
)
CURRENCIES = ZERO_DECIMALS | TWO_DECIMALS | THREE_DECIMALS

MINUS = "\N{MINUS SIGN}"


def exponent(currency: str) -> int:
    """How many decimals a lower-case ISO currency has; 2 for one that is not listed."""
    if currency in ZERO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in integer minor units of a lower-case ISO currency."""

    amount_minor: int
    currency: str

    def major(self) -> Decimal:
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))


@lru_cache(maxsize=512)
def _symbol(currency: str, locale: str) -> str:
    return str(get_currency_symbol(currency.upper(), locale=Locale.parse(locale)))


def format_money(
    amount_minor: int, currency: str, *, locale: str = "en_US", trim: bool = False
) -> str:
    """`1234500, "usd"` as "$12,345.00"; a minus sign stands before the symbol.

    `trim` drops decimals that are all zero, for the heads of a price list.
    """
    decimals = exponent(currency)
    major = Decimal(abs(amount_minor)).scaleb(-decimals)
    if trim and major == major.to_integral_value():
        decimals = 0
    figure = f"{major:,.{decimals}f}"
    symbol = _symbol(currency, locale)
    if symbol[-1].isalpha():
        symbol += "\N{NO-BREAK SPACE}"
    return f"{MINUS if amount_minor < 0 else ''}{symbol}{figure}"


def format_credits(amount: int, decimals: int = 0) -> str:
    """Credits of a unit with `decimals` decimals, grouped: `1284310` as "1,284,310"."""
    figure = f"{Decimal(abs(amount)).scaleb(-decimals):,.{decimals}f}"
    return f"{MINUS if amount < 0 else ''}{figure}"


def credits_for(amount_minor: int, per_minor: Decimal) -> int:
    """Credits (smallest parts) that an amount buys at a rate per minor unit, rounded down."""
    return int((Decimal(amount_minor) * per_minor).to_integral_value(rounding=ROUND_FLOOR))


def price_per_credit(amount_minor: int, currency: str, credit_parts: int, decimals: int = 0) -> str:
    """The price of one whole credit, to the minor unit: 1000 usd for 12 as "$0.83"."""
    minor = Decimal(amount_minor).scaleb(decimals) / credit_parts
    return format_money(int(minor.quantize(Decimal(1))), currency)
