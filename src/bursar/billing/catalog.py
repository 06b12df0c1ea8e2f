"""The catalogue as it is sold: units of credits, packs, top-ups, and their prices.

Owns the catalogue's tables. `catalog_file` reads catalog.toml, `catalog_push` brings it here and
to a provider; what is looked up at a sale is looked up here, never at the provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import orjson

from bursar import errors
from bursar.billing import rights
from bursar.billing.rights import Right
from bursar.db.connections import Connection
from bursar.providers.mirrored import Tax

ItemKind = Literal["pack", "plan", "topup"]
DEFAULT_CURRENCY = "usd"

PACKS = """
select i.key, i.name, i.unit, u.name as unit_label, u.decimals as unit_decimals, i.credits,
    p.amount_minor, p.currency, i.description, i.position, i.capture_method, p.provider_price_id,
    i.details
from catalog_items i
join catalog_units u on u.unit = i.unit
join catalog_prices p on p.kind = i.kind and p.key = i.key
where i.kind = 'pack' and i.active and p.active and p.recurring is null
    and p.provider = $1 and ($2::text is null or i.key = $2) and p.provider_price_id is not null
    and ($3::text is null or p.provider_price_id = $3)
order by i.position, i.key, p.currency
"""

CURRENCIES_SOLD = """
select distinct p.currency from catalog_prices p
join catalog_items i on i.kind = p.kind and i.key = p.key
where i.active and p.active and p.provider = $1 and p.provider_price_id is not null
    and p.recurring is null
"""

TAX = "select details ->> 'tax' from catalog_items where kind = $1 and key = $2"

SAYS_TAX = """
select exists (select from catalog_prices where provider = $1 and active and tax is not null)
"""

UNITS = "select unit, name, decimals, per_minor, bounds from catalog_units order by unit"

PUT_UNIT = """
insert into catalog_units (unit, name, decimals, per_minor, bounds)
values ($1, $2, $3, $4::jsonb, $5::jsonb)
on conflict (unit) do update set name = excluded.name, per_minor = excluded.per_minor,
    bounds = excluded.bounds, updated_at = now()
where catalog_units.decimals = excluded.decimals
returning unit
"""

PUT_ITEM = """
insert into catalog_items (kind, key, name, description, unit, credits, capture_method, position,
    details)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb)
on conflict (kind, key) do update set name = excluded.name, description = excluded.description,
    unit = excluded.unit, credits = excluded.credits, capture_method = excluded.capture_method,
    position = excluded.position, details = excluded.details, active = true
"""

# What is new gets its rows before its prices are made; it goes on sale with them, not before.
NEW_UNIT = """
insert into catalog_units (unit, name, decimals) values ($1, $2, $3) on conflict do nothing
"""

NEW_ITEM = """
insert into catalog_items (kind, key, name, unit, credits, active)
values ($1, $2, $3, $4, $5, false) on conflict do nothing
"""

RETIRE_ITEMS = """
update catalog_items set active = false
where active and not (kind || ':' || key) = any ($1)
"""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack on sale in one currency: `credits` smallest parts of `unit` for `amount_minor`."""

    key: str
    name: str
    unit: str
    unit_label: str
    unit_decimals: int
    credits: int
    amount_minor: int
    currency: str
    description: str | None
    position: int
    capture_method: str
    provider_price_id: str
    rights: tuple[Right, ...] = ()
    """What it entitles to beside its credits."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of credits. `per_minor` is the rate of the free top-up, by currency."""

    name: str
    label: str
    decimals: int
    per_minor: dict[str, Decimal]
    bounds: dict[str, tuple[int, int]]
    """The least and the greatest top-up in minor units, by currency."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something on sale, as catalog.toml has it."""

    kind: ItemKind
    key: str
    name: str
    description: str | None
    unit: str
    credits: int | None
    capture_method: str
    position: int
    details: Mapping[str, Any] = field(default_factory=dict)
    """What it entitles to (`rights`), and a plan's `group` and `trial_days`."""


async def list_packs(
    conn: Connection, provider: str, *, currency: str | None = None, usual: str | None = None
) -> list[Pack]:
    """The packs on sale, each in one currency: the one asked for, else the buyer's usual one, else
    the default, else its own.

    Raises CurrencyNotSold when a currency is asked for in which no pack is sold.
    """
    packs = [_pack(row) for row in await conn.fetch(PACKS, provider, None, None)]
    if currency is not None:
        asked = [pack for pack in packs if pack.currency == currency]
        if packs and not asked:
            raise errors.CurrencyNotSold(f"No package is sold in {currency.upper()}.")
        return asked
    by_key: dict[str, dict[str, Pack]] = {}
    for pack in packs:
        by_key.setdefault(pack.key, {})[pack.currency] = pack
    return [sold[_chosen(sold, usual)] for sold in by_key.values()]


async def list_currencies(conn: Connection, provider: str) -> list[str]:
    """Every currency in which something is on sale, the default first."""
    found = {row["currency"] for row in await conn.fetch(CURRENCIES_SOLD, provider)}
    return sorted(found, key=lambda currency: (currency != DEFAULT_CURRENCY, currency))


async def get_tax(conn: Connection, kind: ItemKind, key: str) -> Tax | None:
    """Whether an item's price holds its tax, if the catalogue says."""
    found: Tax | None = await conn.fetchval(TAX, kind, key)
    return found


async def says_tax(conn: Connection, provider: str) -> bool:
    """Whether any price on sale says if it holds its tax."""
    found: bool = await conn.fetchval(SAYS_TAX, provider)
    return found


def _chosen(sold: Mapping[str, Pack], usual: str | None) -> str:
    return next((c for c in (usual, DEFAULT_CURRENCY) if c is not None and c in sold), min(sold))


async def get_pack(
    conn: Connection,
    provider: str,
    key: str,
    *,
    currency: str | None = None,
    usual: str | None = None,
) -> Pack:
    """One pack in one currency, chosen as for lists. Raises UnknownItem or CurrencyNotSold."""
    rows = await conn.fetch(PACKS, provider, key, None)
    packs = {row["currency"]: _pack(row) for row in rows}
    if not packs:
        raise errors.UnknownItem(f"There is no package {key!r} on sale.")
    wanted = currency or _chosen(packs, usual)
    if wanted not in packs:
        sold = ", ".join(sorted(packs)).upper()
        raise errors.CurrencyNotSold(f"{key!r} is not sold in {wanted.upper()}; it is in {sold}.")
    return packs[wanted]


async def get_pack_by_price(conn: Connection, provider: str, price_id: str) -> Pack:
    """The pack that a provider's price id sells. Raises UnknownItem."""
    row = await conn.fetchrow(PACKS, provider, None, price_id)
    if row is None:
        raise errors.UnknownItem("The catalogue sells nothing at this price.")
    return _pack(row)


def _pack(row: Any) -> Pack:
    fields = dict(row)
    details = orjson.loads(fields.pop("details"))
    return Pack(**fields, rights=rights.from_json(details.get("rights", ())))


async def list_units(conn: Connection) -> list[Unit]:
    units: list[Unit] = []
    for row in await conn.fetch(UNITS):
        rates: dict[str, str] = orjson.loads(row["per_minor"])
        bounds: dict[str, Sequence[int]] = orjson.loads(row["bounds"])
        units.append(
            Unit(
                row["unit"],
                row["name"],
                row["decimals"],
                {currency: Decimal(rate) for currency, rate in rates.items()},
                {currency: (pair[0], pair[1]) for currency, pair in bounds.items()},
            )
        )
    return units


async def get_unit(conn: Connection, name: str | None) -> Unit:
    """A unit by name; without a name the one that has a rate, else the first.

    Raises UnknownUnit.
    """
    units = await list_units(conn)
    if name is None:
        units.sort(key=lambda unit: not unit.per_minor)
        if units:
            return units[0]
        raise errors.UnknownUnit("The catalogue has no unit yet; run `bursar catalog push`.")
    for unit in units:
        if unit.name == name:
            return unit
    raise errors.UnknownUnit(f"The catalogue has no unit {name!r}.")


async def default_unit(conn: Connection) -> str:
    """The name of the unit that a request means when it names none. Raises UnknownUnit."""
    return (await get_unit(conn, None)).name


async def prepare(conn: Connection, units: Sequence[Unit], items: Sequence[Item]) -> None:
    """Make the rows of what is new, not on sale yet; what is sold now stays as it is."""
    for unit in units:
        await conn.execute(NEW_UNIT, unit.name, unit.label, unit.decimals)
    for item in items:
        await conn.execute(NEW_ITEM, item.kind, item.key, item.name, item.unit, item.credits)


async def put_units(conn: Connection, units: Sequence[Unit]) -> None:
    """Raises CatalogInvalid when a unit's decimals would change under existing balances."""
    for unit in units:
        rates = {currency: str(rate) for currency, rate in unit.per_minor.items()}
        bounds: dict[str, Any] = {currency: list(pair) for currency, pair in unit.bounds.items()}
        stored = await conn.fetchval(
            PUT_UNIT,
            unit.name,
            unit.label,
            unit.decimals,
            orjson.dumps(rates).decode(),
            orjson.dumps(bounds).decode(),
        )
        if stored is None:
            raise errors.CatalogInvalid(
                f"The unit {unit.name!r} exists with other decimals; balances count in its "
                "smallest part, so they can't change. Make a new unit instead."
            )


async def put_items(conn: Connection, items: Sequence[Item]) -> None:
    """Put these on sale, and take everything else off."""
    for item in items:
        await conn.execute(
            PUT_ITEM,
            item.kind,
            item.key,
            item.name,
            item.description,
            item.unit,
            item.credits,
            item.capture_method,
            item.position,
            orjson.dumps(dict(item.details)).decode(),
        )
    await conn.execute(RETIRE_ITEMS, [f"{item.kind}:{item.key}" for item in items])
