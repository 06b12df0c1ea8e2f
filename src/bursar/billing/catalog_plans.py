"""Plans on sale: what a month or a year costs, and what it brings. Reads the catalogue's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import orjson

from bursar.billing import rights
from bursar.billing.rights import Right
from bursar.db import Connection

PLANS = """
select i.key, i.name, i.description, i.unit, i.credits, i.details, p.recurring, p.amount_minor,
    p.currency, p.provider_price_id
from catalog_items i
join catalog_prices p on p.kind = i.kind and p.key = i.key
where i.kind = 'plan' and i.active and p.active and p.recurring is not null
    and p.provider = $1 and p.provider_price_id is not null
order by i.position, i.key, p.recurring, p.currency
"""


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """What one interval of a plan costs."""

    interval: Literal["month", "year"]
    amount_minor: int
    currency: str
    provider_price_id: str


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


async def list_plans(conn: Connection, provider: str) -> list[Plan]:
    """The plans on sale at a provider, in the order of the catalogue, with all their prices."""
    rows = await conn.fetch(PLANS, provider)
    prices: dict[str, list[PlanPrice]] = {}
    for row in rows:
        price = PlanPrice(
            row["recurring"], row["amount_minor"], row["currency"], row["provider_price_id"]
        )
        prices.setdefault(row["key"], []).append(price)
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
                prices=tuple(prices[row["key"]]),
            )
        )
    return plans
