"""Brings catalog.toml to the database and to a provider, by lookup key. Safe to repeat.

Owns catalog_prices. A price never changes: a new amount becomes a new price, which takes the
lookup key over, and the old one is archived. Products and prices are made at the provider first;
then one transaction puts everything on sale together, so that no buyer meets new credits at an old
price. Each price is committed before its call, with the reference under which the provider is
asked, so a push that died goes on where it stopped. Payment links that promise what is not sold any
more end with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from bursar.access import audit_log
from bursar.billing import catalog, links, portal_offers, rights
from bursar.billing.catalog import Item
from bursar.billing.catalog_file import Catalog, FilePrice, product_id, told_features
from bursar.clock import Clock
from bursar.db import Database, deployment
from bursar.db.connections import Connection
from bursar.providers.mirrored import FoundPrice, PriceOrder, ProductOrder
from bursar.providers.port import Provider

# A row that was begun and has no price yet keeps its reference: the same question is asked again.
BEGUN = """
select reference from catalog_prices
where provider = $1 and lookup_key = $2 and amount_minor = $3 and provider_price_id is null
    and tax is not distinct from $4
"""

BEGIN = """
insert into catalog_prices (reference, provider, kind, key, currency, amount_minor, lookup_key,
    provider_product_id, active, created_at, recurring, months, tax)
values ($1, $2, $3, $4, $5, $6, $7, $8, false, $9, $10, $11, $12)
"""

MADE = "update catalog_prices set provider_price_id = $2, archived_at = null where reference = $1"

RETIRE = """
update catalog_prices set active = false
where provider = $1 and active and not reference = any ($2)
"""

GO_LIVE = "update catalog_prices set active = true where reference = any ($1)"

TO_ARCHIVE = """
select provider_price_id from catalog_prices
where provider = $1 and not active and archived_at is null and provider_price_id is not null
"""

ARCHIVED = """
update catalog_prices set archived_at = $3 where provider = $1 and provider_price_id = $2
"""

KNOWN = """
select reference from catalog_prices where provider = $1 and provider_price_id = $2
"""


@dataclass(slots=True)
class Pushed:
    """What a push did, as lookup keys; what was archived, as the provider's ids."""

    created: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What is still to be mended, in words; all else is done."""


async def push(
    db: Database,
    provider: Provider,
    wanted: Catalog,
    *,
    clock: Clock,
    report: Callable[[str], None] = lambda _: None,
    mode: str | None = None,
) -> Pushed:
    """Make database and provider agree with `wanted`. `report` is told of each step in words.

    `mode` is claimed with the first rows, once the provider took the key that goes with it.
    Raises CatalogInvalid, ModeMismatch and the provider's failures. Until all is made, what was
    sold is sold.
    """
    for item in wanted.items:
        name = product_id(item.kind, item.key)
        await provider.put_product(ProductOrder(name, item.name, item.description, _metadata(item)))
        report(f"product {item.kind} {item.key}")
    async with db.transaction() as conn:
        if mode is not None:
            await deployment.claim_mode(conn, mode)
        await catalog.prepare(conn, wanted.units, wanted.items)
    pushed = Pushed()
    references: list[UUID] = []
    strangers: list[str] = []
    for price in wanted.prices:
        theirs = await provider.find_price(price.lookup_key)
        same = theirs is not None and _agrees(theirs, price)
        references.append(await _make(db, provider, price, theirs if same else None, clock))
        (pushed.unchanged if same else pushed.created).append(price.lookup_key)
        if theirs is not None and not same:
            # The price that loses its lookup key may never have been ours.
            strangers.append(theirs.price_id)
        report(f"price {price.lookup_key}: {'unchanged' if same else 'created'}")
    async with db.transaction() as conn:
        await catalog.put_units(conn, wanted.units)
        await catalog.put_items(conn, wanted.items)
        await conn.execute(RETIRE, provider.name, references)
        await conn.execute(GO_LIVE, references)
        told = {"created": pushed.created, "unchanged": len(pushed.unchanged)}
        subject = f"catalog:{provider.name}"
        await audit_log.record(conn, "command", "catalog.pushed", subject=subject, detail=told)
        old = [row["provider_price_id"] for row in await conn.fetch(TO_ARCHIVE, provider.name)]
    # First the portal leaves the old prices, then they go.
    if failed := await portal_offers.put(db, provider):
        pushed.warnings.append(failed)
        report(failed)
    for price_id in dict.fromkeys([*old, *strangers]):
        await provider.archive_price(price_id)
        async with db.transaction() as conn:
            await conn.execute(ARCHIVED, provider.name, price_id, clock.now())
        pushed.archived.append(price_id)
        report(f"archived {price_id}")
    for link_id in await links.close_stale(db, provider, clock=clock):
        report(f"closed payment link {link_id}")
    return pushed


def _metadata(item: Item) -> dict[str, str]:
    """What a product says at the provider, so that whoever reads it there knows the item."""
    named = {"bursar_kind": item.kind, "bursar_key": item.key}
    if item.kind == "topup":
        return named
    return {**named, **told_features(rights.from_json(item.details["rights"]))}


def _agrees(theirs: FoundPrice, price: FilePrice) -> bool:
    return (
        theirs.amount_minor == price.amount_minor
        and theirs.currency == price.currency
        and theirs.recurring == price.recurring
        and theirs.product_id == product_id(price.kind, price.key)
        and price.tax in (None, theirs.tax)
    )


async def _make(
    db: Database, provider: Provider, price: FilePrice, theirs: FoundPrice | None, clock: Clock
) -> UUID:
    """The row of a price that the provider has: theirs if it is the one wanted, else a new one."""
    async with db.transaction() as conn:
        known = theirs and await conn.fetchrow(KNOWN, provider.name, theirs.price_id)
        if known:
            return UUID(str(known["reference"]))
        reference = await conn.fetchval(
            BEGUN, provider.name, price.lookup_key, price.amount_minor, price.tax
        )
        if reference is None:
            reference = uuid4()
            await _begin(conn, provider, price, reference, clock)
    price_id = (
        theirs.price_id
        if theirs
        else await provider.create_price(
            PriceOrder(
                reference=str(reference),
                product_id=product_id(price.kind, price.key),
                lookup_key=price.lookup_key,
                currency=price.currency,
                amount_minor=price.amount_minor,
                recurring=price.recurring,
                metadata={"bursar_kind": price.kind, "bursar_key": price.key},
                tax=price.tax,
            )
        )
    )
    async with db.transaction() as conn:
        await conn.execute(MADE, reference, price_id)
    return UUID(str(reference))


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
        price.recurring,
        price.months,
        price.tax,
    )
