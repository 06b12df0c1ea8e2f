"""Plans on sale: what a month, a year or some months at once cost, and what they bring.

Reads the catalogue's tables and writes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import orjson

from bursar import errors
from bursar.billing import rights
from bursar.billing.catalog import DEFAULT_CURRENCY
from bursar.billing.rights import Right
from bursar.db import Connection

PLANS = """
select i.key, i.name, i.description, i.unit, i.credits, i.details, p.recurring, p.months,
    p.amount_minor, p.currency, p.provider_price_id
from catalog_items i
join catalog_prices p on p.kind = i.kind and p.key = i.key
where i.kind = 'plan' and i.active and p.active
    and (p.recurring is not null or p.months is not null)
    and p.provider = $1 and p.provider_price_id is not null
order by i.position, i.key, p.recurring, p.months, p.currency
"""

# A price that is off sale keeps meaning its plan: running subscriptions keep theirs.
TERMS = """
select i.key, i.name, i.unit, i.credits, i.details, p.provider_price_id
from catalog_items i
join catalog_prices p on p.kind = i.kind and p.key = i.key
where i.kind = 'plan' and p.provider = $1 and p.provider_price_id = any ($2)
"""


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """What one interval of a plan costs."""

    interval: Literal["month", "year"]
    amount_minor: int
    currency: str
    provider_price_id: str


@dataclass(frozen=True, slots=True)
class Duration:
    """What so many months of a plan cost, paid once."""

    months: int
    amount_minor: int
    currency: str
    provider_price_id: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What subscribing to a plan means, beside its price. Credits in the unit's smallest parts."""

    key: str
    name: str
    unit: str
    credits: int
    rights: tuple[Right, ...]
    group: str
    addon: bool = False
    trial_days: int | None = None
    trial_card: bool = True
    trial_end: Literal["cancel", "pause"] = "cancel"
    trial_credits: int = 0
    rollover: int = 0
    yearly_credits: Literal["monthly", "once"] = "monthly"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan on sale. `credits` smallest parts of `unit` are its allowance, None for none.

    Of the plans of one `group` a customer has one at a time.
    """

    key: str
    name: str
    description: str | None
    unit: str
    credits: int | None
    rights: tuple[Right, ...]
    trial_days: int | None
    group: str
    prices: tuple[PlanPrice, ...]
    terms: Terms
    durations: tuple[Duration, ...] = ()
    """Shortest first."""


async def list_plans(conn: Connection, provider: str) -> list[Plan]:
    """The plans on sale at a provider, in the order of the catalogue, with all their prices."""
    rows = await conn.fetch(PLANS, provider)
    prices: dict[str, list[PlanPrice]] = {}
    durations: dict[str, list[Duration]] = {}
    for row in rows:
        price = row["amount_minor"], row["currency"], row["provider_price_id"]
        if row["months"] is not None:
            durations.setdefault(row["key"], []).append(Duration(row["months"], *price))
        else:
            prices.setdefault(row["key"], []).append(PlanPrice(row["recurring"], *price))
    plans: list[Plan] = []
    for row in {row["key"]: row for row in rows}.values():
        details = orjson.loads(row["details"])
        plans.append(
            Plan(
                key=row["key"],
                name=row["name"],
                description=row["description"],
                unit=row["unit"],
                credits=row["credits"],
                rights=rights.from_json(details["rights"]),
                trial_days=details["trial_days"],
                group=details["group"],
                prices=tuple(prices.get(row["key"], ())),
                durations=tuple(durations.get(row["key"], ())),
                terms=_terms(row),
            )
        )
    return plans


async def list_terms(conn: Connection, provider: str, price_ids: Sequence[str]) -> dict[str, Terms]:
    """The plans that these prices of a provider's are of, on sale or not, by price id."""
    rows = await conn.fetch(TERMS, provider, list(price_ids))
    return {row["provider_price_id"]: _terms(row) for row in rows}


async def get_recurring(
    conn: Connection,
    provider: str,
    key: str,
    interval: Literal["month", "year"],
    *,
    currency: str | None = None,
    usual: str | None = None,
) -> tuple[Plan, PlanPrice]:
    """A plan for each month or year in one currency: the one asked for, else the buyer's usual
    one, else the US dollar, else its own. Raises UnknownItem, IntervalNotOffered, CurrencyNotSold.
    """
    plan = next((plan for plan in await list_plans(conn, provider) if plan.key == key), None)
    if plan is None:
        raise errors.UnknownItem(f"There is no plan {key!r} on sale.")
    offered = {price.currency: price for price in plan.prices if price.interval == interval}
    if not offered:
        others = sorted({price.interval for price in plan.prices})
        words = " or ".join(others) or "no interval: buy it for some months"
        raise errors.IntervalNotOffered(f"{key!r} is not sold by the {interval}, but by {words}.")
    liked = next((c for c in (usual, DEFAULT_CURRENCY) if c in offered), min(offered))
    wanted = currency or liked or ""
    if wanted not in offered:
        others_sold = ", ".join(sorted(offered)).upper()
        raise errors.CurrencyNotSold(
            f"{key!r} is not sold in {wanted.upper()}, but in {others_sold}."
        )
    return plan, offered[wanted]


async def find_by_price(
    conn: Connection, provider: str, price_id: str
) -> tuple[Plan, PlanPrice] | None:
    """The plan on sale that renews at this price of a provider's."""
    for plan in await list_plans(conn, provider):
        for price in plan.prices:
            if price.provider_price_id == price_id:
                return plan, price
    return None


def _terms(row: Any) -> Terms:
    details = orjson.loads(row["details"])
    names = [field.name for field in fields(Terms) if field.name in details]
    said = {name: details[name] for name in names if name != "rights"}
    return Terms(
        key=row["key"],
        name=row["name"],
        unit=row["unit"],
        credits=row["credits"] or 0,
        rights=rights.from_json(details["rights"]),
        **{"group": "main", **said},
    )


async def get_duration(
    conn: Connection, provider: str, key: str, months: int, *, currency: str | None = None
) -> tuple[Plan, Duration]:
    """So many months of a plan in one currency: the one asked for, else the US dollar, else its
    own. Raises UnknownItem, DurationNotOffered and CurrencyNotSold."""
    plan = next((plan for plan in await list_plans(conn, provider) if plan.key == key), None)
    if plan is None:
        raise errors.UnknownItem(f"There is no plan {key!r} on sale.")
    offered = {d.currency: d for d in plan.durations if d.months == months}
    if not offered:
        if not plan.durations:
            raise errors.DurationNotOffered(f"{key!r} is not sold by duration.")
        words = ", ".join(str(sold) for sold in sorted({d.months for d in plan.durations}))
        raise errors.DurationNotOffered(
            f"{key!r} is not sold for {months} months; the durations on offer are: {words}."
        )
    wanted = currency or (DEFAULT_CURRENCY if DEFAULT_CURRENCY in offered else min(offered))
    if wanted not in offered:
        others = ", ".join(sorted(offered)).upper()
        raise errors.CurrencyNotSold(f"{key!r} is not sold in {wanted.upper()}, but in {others}.")
    return plan, offered[wanted]
