"""Amounts as a buyer reads them: a symbol, grouped digits and as many decimals as Stripe uses.

Owns the spelling of money on the sandbox's pages. It never calculates and never uses floats.
"""

from __future__ import annotations

_WITHOUT_DECIMALS = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMALS = "bhd jod kwd omr tnd"
_DECIMALS = dict.fromkeys(_WITHOUT_DECIMALS.split(), 0) | dict.fromkeys(_THREE_DECIMALS.split(), 3)

_SYMBOLS = {
    "aud": "A$",
    "brl": "R$",
    "cad": "CA$",
    "cny": "CN¥",
    "eur": "€",
    "gbp": "£",
    "hkd": "HK$",
    "ils": "₪",
    "inr": "₹",
    "jpy": "¥",
    "krw": "₩",
    "mxn": "MX$",
    "nzd": "NZ$",
    "php": "₱",
    "sgd": "S$",
    "thb": "฿",
    "twd": "NT$",
    "uah": "₴",
    "usd": "$",
    "vnd": "₫",
}

_NO_BREAK_SPACE = "\u00a0"
_MINUS = "\u2212"


def decimals_of(currency: str) -> int:
    """How many decimals Stripe's minor unit of this currency stands for: 0, 2 or 3.

    ISK and UGX have no smaller coin, yet Stripe counts both in hundredths, so they give 2.
    """
    return _DECIMALS.get(currency.lower(), 2)


def format_amount(amount_minor: int, currency: str) -> str:
    """`1234500, "usd"` as `$12,345.00`; a currency without a known sign is led by its code."""
    code = currency.lower()
    decimals = decimals_of(code)
    whole, part = divmod(abs(amount_minor), 10**decimals)
    figure = f"{whole:,}" + (f".{part:0{decimals}d}" if decimals else "")
    symbol = _SYMBOLS.get(code, code.upper() + _NO_BREAK_SPACE)
    return (_MINUS if amount_minor < 0 else "") + symbol + figure
