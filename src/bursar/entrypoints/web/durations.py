"""Plans that are sold by months at once, as the pricing page lists them. Pure.

Turns the catalogue into rows of words and figures; what is charged is looked up again when the
order is begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from urllib.parse import urlencode

from bursar.billing.catalog import DEFAULT_CURRENCY, Unit
from bursar.billing.catalog_plans import Duration, Plan
from bursar.entrypoints import right_words
from bursar.entrypoints.web.figures import amount_of
from bursar.money import format_money, price_per_credit


@dataclass(frozen=True, slots=True)
class Row:
    """So many months of a plan."""

    months: str
    each: str
    saving: str
    price: str
    url: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan with its durations; `brings` and `features` say what it gives."""

    key: str
    name: str
    description: str
    brings: str
    features: str
    rows: tuple[Row, ...]


def offers(
    plans: Sequence[Plan], units: Mapping[str, Unit], *, currency: str | None = None
) -> list[Offer]:
    """The plans that are sold by duration, each in one currency: the one asked for, else the US
    dollar, else its own first."""
    found: list[Offer] = []
    for plan in plans:
        sold = _in_one_currency(plan.durations, currency)
        if sold:
            found.append(_offer(plan, sold, units.get(plan.unit)))
    return found


def _in_one_currency(durations: Sequence[Duration], wanted: str | None) -> list[Duration]:
    currencies = {duration.currency for duration in durations}
    if not currencies:
        return []
    chosen = next((c for c in (wanted, DEFAULT_CURRENCY) if c in currencies), min(currencies))
    return [duration for duration in durations if duration.currency == chosen]


def _offer(plan: Plan, sold: Sequence[Duration], unit: Unit | None) -> Offer:
    dearest = max(_each(duration) for duration in sold)
    return Offer(
        key=plan.key,
        name=plan.name,
        description=plan.description or "",
        brings=f"{amount_of(plan.credits, unit)} a month" if plan.credits and unit else "",
        features=right_words.said(plan.rights),
        rows=tuple(_row(plan, duration, dearest) for duration in sold),
    )


def _each(duration: Duration) -> Decimal:
    return Decimal(duration.amount_minor) / duration.months


def _row(plan: Plan, duration: Duration, dearest: Decimal) -> Row:
    percent = (100 * (1 - _each(duration) / dearest)).quantize(Decimal(1), ROUND_HALF_UP)
    months = duration.months
    query = {"plan": plan.key, "months": months, "currency": duration.currency}
    each = price_per_credit(duration.amount_minor, duration.currency, months)
    return Row(
        months="1 month" if months == 1 else f"{months} months",
        each=f"{each} a month",
        saving=f"{percent}% less" if percent >= 1 else "",
        price=format_money(duration.amount_minor, duration.currency),
        url=f"/checkout?{urlencode(query)}",
    )
