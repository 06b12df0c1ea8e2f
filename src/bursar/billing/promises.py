"""What one of a price brings: as it is on sale now, and as our payment links promised it.

A purchase by a link bought what the link promised when it was made. Reads the catalogue and
payment_links, and writes neither; `links` keeps promises in the words of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bursar.billing import rights
from bursar.billing.rights import Right
from bursar.db.connections import Connection

# A price that is off sale sold what its item was then, which nobody knows by now.
SOLD = """
select i.name, i.unit, i.credits, p.amount_minor, p.currency, p.provider_price_id, i.details
from catalog_items i
join catalog_prices p on p.kind = i.kind and p.key = i.key
where i.kind = 'pack' and i.active and p.active and p.provider = $1
    and p.provider_price_id = any ($2)
"""

FIND = """
select price_id, currency, promise from payment_links where provider = $1 and link_id = $2
"""


@dataclass(frozen=True, slots=True)
class Sold:
    """What one of a price brings: `credits` smallest parts of `unit`, and what it entitles to."""

    price_id: str
    name: str
    unit: str
    credits: int
    amount_minor: int
    currency: str
    rights: tuple[Right, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """The price that a link of ours sells, and what it promised; None where that is not known."""

    price_id: str
    sold: Sold | None


async def list_sold(conn: Connection, provider: str, price_ids: Sequence[str]) -> dict[str, Sold]:
    """What those of a provider's prices that are on sale bring now, by price id."""
    rows = await conn.fetch(SOLD, provider, list(price_ids))
    sold = [
        Sold(
            price_id=row["provider_price_id"],
            name=row["name"],
            unit=row["unit"],
            credits=row["credits"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            rights=rights.from_json(orjson.loads(row["details"]).get("rights", ())),
        )
        for row in rows
    ]
    return {each.price_id: each for each in sold}


async def find(conn: Connection, provider: str, link_id: str) -> Promise | None:
    """What the link promised, ended or not; None for a link that is not ours."""
    row = await conn.fetchrow(FIND, provider, link_id)
    if row is None:
        return None
    return Promise(row["price_id"], from_json(row["price_id"], row["currency"], row["promise"]))


def as_json(sold: Sold) -> str:
    """A promise as its link's row keeps it."""
    return orjson.dumps(
        {
            "name": sold.name,
            "unit": sold.unit,
            "credits": sold.credits,
            "amount_minor": sold.amount_minor,
            "rights": rights.as_json(sold.rights),
        }
    ).decode()


def from_json(price_id: str, currency: str, promise: str | None) -> Sold | None:
    """A promise as `as_json` wrote it; None where none was kept."""
    if promise is None:
        return None
    kept = orjson.loads(promise)
    return Sold(
        price_id=price_id,
        name=kept["name"],
        unit=kept["unit"],
        credits=kept["credits"],
        amount_minor=kept["amount_minor"],
        currency=currency,
        rights=rights.from_json(kept["rights"]),
    )
