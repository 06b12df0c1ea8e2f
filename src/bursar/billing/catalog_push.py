"""Brings catalog.toml to the database and to a provider, by lookup key. Safe to repeat.

Owns catalog_prices. A price never changes: a new amount becomes a new price, which takes the
lookup key over, and the old one is archived. Each step is committed before the next call, with the
reference under which the provider is asked, so a push that died goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from bursar.billing import catalog
from bursar.billing.catalog_file import Catalog, FilePrice, product_id
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.port import PriceOrder, ProductOrder, Provider

LIVE = """
select id, amount_minor, provider_price_id from catalog_prices
where provider = $1 and lookup_key = $2 and active
"""

# A row that was begun and has no price yet keeps its reference: the same question is asked again.
BEGUN = """
select reference from catalog_prices
where provider = $1 and lookup_key = $2 and amount_minor = $3 and provider_price_id is null
"""

BEGIN = """
insert into catalog_prices (reference, provider, kind, key, currency, amount_minor, lookup_key,
    provider_product_id, active, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, false, $9)
"""

RETIRE_LIVE = """
update catalog_prices set active = false
where provider = $1 and lookup_key = $2 and active and reference <> $3
"""

GO_LIVE = """
update catalog_prices set active = true, provider_price_id = $2 where reference = $1
"""

RETIRE_GONE = """
update catalog_prices set active = false
where provider = $1 and active and not lookup_key = any ($2)
"""

TO_ARCHIVE = """
select reference, provider_price_id from catalog_prices
where provider = $1 and not active and archived_at is null and provider_price_id is not null
"""

ARCHIVED = "update catalog_prices set archived_at = $2 where reference = $1"

KNOWN = """
select reference from catalog_prices where provider = $1 and provider_price_id = $2
"""


@dataclass(slots=True)
class Pushed:
    """What a push did, as lookup keys."""

    created: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)


async def push(
    db: Database,
    provider: Provider,
    wanted: Catalog,
    *,
    clock: Clock,
    report: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Make database and provider agree with `wanted`. `report` is told of each step in words.

    Raises CatalogInvalid and the provider's failures; what was done until then stands.
    """
    async with db.transaction() as conn:
        await catalog.put_units(conn, wanted.units)
        await catalog.put_items(conn, wanted.items)
    for item in wanted.items:
        metadata = {"bursar_kind": item.kind, "bursar_key": item.key}
        await provider.put_product(
            ProductOrder(product_id(item.kind, item.key), item.name, item.description, metadata)
        )
        report(f"product {item.kind} {item.key}")
    pushed = Pushed()
    for price in wanted.prices:
        made = await _push_price(db, provider, price, clock)
        (pushed.created if made else pushed.unchanged).append(price.lookup_key)
        report(f"price {price.lookup_key}: {'created' if made else 'unchanged'}")
    async with db.transaction() as conn:
        await conn.execute(RETIRE_GONE, provider.name, [p.lookup_key for p in wanted.prices])
        old = await conn.fetch(TO_ARCHIVE, provider.name)
    for row in old:
        await provider.archive_price(row["provider_price_id"])
        async with db.transaction() as conn:
            await conn.execute(ARCHIVED, row["reference"], clock.now())
        pushed.archived.append(row["provider_price_id"])
        report(f"archived {row['provider_price_id']}")
    return pushed


async def _push_price(db: Database, provider: Provider, price: FilePrice, clock: Clock) -> bool:
    """Put one price on sale; true when a new one had to be made at the provider."""
    theirs = await provider.find_price(price.lookup_key)
    same = (
        theirs is not None
        and theirs.amount_minor == price.amount_minor
        and theirs.currency == price.currency
        and theirs.recurring is None
        and theirs.product_id == product_id(price.kind, price.key)
    )
    async with db.transaction() as conn:
        live = await conn.fetchrow(LIVE, provider.name, price.lookup_key)
        if same and theirs and live and live["provider_price_id"] == theirs.price_id:
            return False
        reference: UUID | None = None
        if same and theirs:
            reference = await conn.fetchval(KNOWN, provider.name, theirs.price_id)
        if reference is None:
            reference = await conn.fetchval(
                BEGUN, provider.name, price.lookup_key, price.amount_minor
            )
        if reference is None:
            reference = uuid4()
            await _begin(conn, provider, price, reference, clock)
    if same and theirs:
        price_id = theirs.price_id
    else:
        price_id = await provider.create_price(
            PriceOrder(
                reference=str(reference),
                product_id=product_id(price.kind, price.key),
                lookup_key=price.lookup_key,
                currency=price.currency,
                amount_minor=price.amount_minor,
                recurring=None,
                metadata={"bursar_kind": price.kind, "bursar_key": price.key},
            )
        )
    async with db.transaction() as conn:
        await conn.execute(RETIRE_LIVE, provider.name, price.lookup_key, reference)
        await conn.execute(GO_LIVE, reference, price_id)
    if theirs is not None and not same:
        # The price that lost its lookup key may never have been ours: it is archived by its id.
        await provider.archive_price(theirs.price_id)
    return not same


async def _begin(
    conn: Connection, provider: Provider, price: FilePrice, reference: UUID, clock: Clock
) -> None:
    await conn.execute(
        BEGIN,
        reference,
        provider.name,
        price.kind,
        price.key,
        price.currency,
        price.amount_minor,
        price.lookup_key,
        product_id(price.kind, price.key),
        clock.now(),
    )
