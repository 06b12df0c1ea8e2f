"""What the pricing page offers: the rate table of packs and the free top-up. Pure.

Turns the catalogue into rows of words and figures, and a typed amount into minor units by
Decimal. It decides no price: the order is priced again, from the catalogue, when it is placed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from bursar import errors
from bursar.billing.catalog import Pack, Unit
from bursar.entrypoints.web.figures import amount_of, per_unit, plural
from bursar.money import credits_for, exponent, format_money

# Digits with an optional point; thousands may be set apart, as people paste them.
_AMOUNT = re.compile(r"(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.([0-9]{0,4}))?", re.ASCII)
AMOUNT_LENGTH_MAX = 40
PRICE_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Row:
    """A pack on the page. `mark` says in words why the row stands out; empty if it does not."""

    key: str
    name: str
    description: str
    brings: str
    each: str
    saving: str
    price: str
    currency: str
    mark: str


@dataclass(frozen=True, slots=True)
class Rates:
    """The packs of one unit, in catalogue order."""

    unit: str
    label: str
    rows: tuple[Row, ...]

    @property
    def tight(self) -> bool:
        """Whether a price is so long that it needs a line of its own where there is little room."""
        return any(len(row.price) > PRICE_LENGTH for row in self.rows)


@dataclass(frozen=True, slots=True)
class Choice:
    """A currency in which an amount can be chosen, with its bounds and rate in words."""

    currency: str
    code: str
    symbol: str
    bounds: str
    rate: str


@dataclass(frozen=True, slots=True)
class TopUp:
    """A unit that is sold by amount."""

    unit: str
    label: str
    plural: str
    choices: tuple[Choice, ...]


def _each(pack: Pack) -> Decimal:
    return Decimal(pack.amount_minor) / pack.credits


def _saving(pack: Pack, dearest: Decimal, unit: Unit) -> str:
    """How much less a unit costs than in the dearest pack; empty if that rounds to nothing."""
    percent = (100 * (1 - _each(pack) / dearest)).quantize(Decimal(1), ROUND_HALF_UP)
    return f"{percent}% less per {unit.name}" if percent >= 1 else ""


def rates(packs: Sequence[Pack], *, kept: str | None = None) -> list[Rates]:
    """The packs by unit. `kept` is the key of an order that the buyer left: it stands out.

    Prices are compared within one unit and currency only.
    """
    groups: dict[str, list[Pack]] = {}
    for pack in packs:
        groups.setdefault(pack.unit, []).append(pack)
    found = any(pack.key == kept for pack in packs)
    return [
        Rates(unit, group[0].unit_label, tuple(_rows(group, kept if found else None)))
        for unit, group in groups.items()
    ]


def _rows(group: Sequence[Pack], kept: str | None) -> list[Row]:
    unit = Unit(group[0].unit, group[0].unit_label, group[0].unit_decimals, {}, {})
    with localcontext(prec=40):
        costs: dict[str, list[Decimal]] = {}
        for pack in group:
            costs.setdefault(pack.currency, []).append(_each(pack))
        rows: list[Row] = []
        for pack in group:
            dearest, cheapest = max(costs[pack.currency]), min(costs[pack.currency])
            mark = "Your order" if pack.key == kept else ""
            if kept is None and len(costs) == 1 and _each(pack) == cheapest < dearest:
                mark = f"Lowest price per {unit.name}"
            rows.append(
                Row(
                    key=pack.key,
                    name=pack.name,
                    description=pack.description or "",
                    brings=amount_of(pack.credits, unit),
                    each=per_unit(pack.amount_minor, pack.currency, pack.credits, unit),
                    saving=_saving(pack, dearest, unit) if dearest else "",
                    price=format_money(pack.amount_minor, pack.currency),
                    currency=pack.currency,
                    mark=mark,
                )
            )
    return rows


def top_up(units: Sequence[Unit], minimum: Mapping[str, int]) -> TopUp | None:
    """The unit that is sold by amount, if there is one.

    `minimum` is the least that the provider can charge, in minor units by currency.
    """
    for unit in units:
        choices = [_choice(unit, currency, minimum.get(currency, 1)) for currency in _sorted(unit)]
        if choices:
            return TopUp(unit.name, unit.label, plural(unit), tuple(choices))
    return None


def _sorted(unit: Unit) -> list[str]:
    """Currencies by name, the US dollar first."""
    return sorted(unit.per_minor, key=lambda currency: (currency != "usd", currency))


def _choice(unit: Unit, currency: str, minimum: int) -> Choice:
    least, most = bounds_of(unit, currency, minimum)
    example = min(most, max(least, 10 * 10 ** exponent(currency)))
    bought = amount_of(credits_for(example, unit.per_minor[currency]), unit)
    return Choice(
        currency=currency,
        code=currency.upper(),
        symbol=format_money(0, currency, trim=True).rstrip("0").strip(),
        bounds=f"From {format_money(least, currency)} to {format_money(most, currency)}.",
        rate=f"{format_money(example, currency)} buys {bought}.",
    )


def bounds_of(unit: Unit, currency: str, minimum: int) -> tuple[int, int]:
    """The least and the greatest top-up in minor units."""
    least, most = unit.bounds[currency]
    return max(least, minimum), most


def read_amount(text: str, unit: Unit, currency: str, *, minimum: int = 1) -> int:
    """A typed amount ("25", "$25.50", "1,000") in minor units of `currency`.

    Raises CurrencyNotSold, Invalid when it can't be read, AmountOutOfBounds.
    """
    if currency not in unit.per_minor:
        raise errors.CurrencyNotSold(f"{unit.label} are not sold in this currency.")
    amount_minor = read_minor(text, currency)
    least, most = bounds_of(unit, currency, minimum)
    if amount_minor < least:
        raise errors.AmountOutOfBounds(f"The least is {format_money(least, currency)}")
    if amount_minor > most:
        raise errors.AmountOutOfBounds(f"The most is {format_money(most, currency)}")
    return amount_minor


def read_minor(text: str, currency: str) -> int:
    """A typed amount in minor units of `currency`, whatever it is for.

    Raises Invalid when it can't be read.
    """
    places = exponent(currency)
    example = format_money(25 * 10**places, currency)
    symbol = format_money(0, currency, trim=True).rstrip("0").strip()
    bare = text[:AMOUNT_LENGTH_MAX].strip().removeprefix(symbol).strip()
    if not bare:
        raise errors.Invalid(f"Enter an amount, like {example}")
    match = _AMOUNT.fullmatch(bare)
    if match is None or len(text) > AMOUNT_LENGTH_MAX:
        raise errors.Invalid(f"Write the amount in digits, like {example}")
    if len((match[1] or "").rstrip("0")) > places:
        wanted = f"at most {places} digits after the point" if places else "no decimals"
        raise errors.Invalid(f"Amounts in {currency.upper()} have {wanted}, like {example}")
    return int(Decimal(bare.replace(",", "")).scaleb(places))
