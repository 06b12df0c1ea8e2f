"""How pages write numbers of credits, times and names: words and digits, no markup. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

from bursar.billing.catalog import Unit
from bursar.money import MINUS, exponent, format_credits, format_money

NAME_LENGTH = 24
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as a page shows it: `text` short, `full` with date and time, `iso` for machines."""

    text: str
    full: str
    iso: str


def plural(unit: Unit) -> str:
    """The unit's name inside a sentence: "Pages" becomes "pages", "GPU hours" stays."""
    label = unit.label
    keeps = len(label) > 1 and label[1].isupper()
    return label if keeps else label[:1].lower() + label[1:]


def amount_of(parts: int, unit: Unit) -> str:
    """A number of a unit's smallest parts in words: "12 pages", "1 page"."""
    word = unit.name if parts == 10**unit.decimals else plural(unit)
    return f"{format_credits(parts, unit.decimals)}{NBSP}{word}"


def signed(parts: int, unit: Unit) -> str:
    """A movement with its sign: "+12", "−3"."""
    figure = format_credits(parts, unit.decimals)
    return figure if figure.startswith(MINUS) else f"+{figure}"


def per_unit(amount_minor: int, currency: str, parts: int, unit: Unit) -> str:
    """The price of one whole unit, to the minor unit, a half rounded up.

    One that is below the minor unit keeps two more digits: a credit of 0.2 cents is "$0.0020".
    """
    with localcontext(prec=40):
        minor = Decimal(amount_minor).scaleb(unit.decimals) / parts
        whole = minor.quantize(Decimal(1), ROUND_HALF_UP)
        if minor >= 1 or minor == whole:
            return format_money(int(whole), currency)
        fine = minor.quantize(Decimal("0.01"), ROUND_HALF_UP).scaleb(-exponent(currency))
        return format_money(0, currency, trim=True).replace("0", f"{fine:f}")


def moment(at: datetime, now: datetime) -> Moment:
    """Within a day "12 min ago", before that "21 Nov 2026, 10:03"; all in UTC."""
    at = at.astimezone(UTC)
    full = f"{at.day} {at:%b %Y, %H:%M}"
    ago = now - at
    if timedelta(0) <= ago < timedelta(minutes=1):
        text = "just now"
    elif timedelta(0) <= ago < timedelta(hours=1):
        text = f"{ago // timedelta(minutes=1)}{NBSP}min ago"
    elif timedelta(0) <= ago < timedelta(days=1):
        text = f"{ago // timedelta(hours=1)}{NBSP}h ago"
    else:
        text = full
    return Moment(text, f"{full} UTC", at.isoformat(timespec="seconds"))


def cut(name: str, length: int = NAME_LENGTH) -> str:
    """A name of at most `length` characters, with an ellipsis where it was cut."""
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"
