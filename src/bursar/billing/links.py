"""Payment links: an address at the provider at which anybody buys one price, guests included.

Owns payment_links. One live link for each price; it is reused while the price and what it brings
stand, and ends when the catalogue changes either. What it promised is kept with it, for whoever
still buys by it. Whose a purchase by link is, strangers tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from bursar import errors, failpoints
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import catalog, promises
from bursar.billing.catalog import Pack
from bursar.billing.promises import Sold
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.after_sale import LinkOrder, OpenedLink
from bursar.providers.port import Provider

KEY_REMEMBERED = timedelta(hours=23)
GIVEN_UP_AFTER = timedelta(minutes=10)

# Who comes second waits for the first at the price's key, and finds its row.
BEGIN = """
insert into payment_links (provider, item_key, currency, price_id, reference, created_at, promise)
values ($1, $2, $3, $4, $5, $6, $7::jsonb)
on conflict (provider, price_id) where closed_at is null do nothing
returning reference
"""

LIVE = """
select reference, link_id, url, created_at from payment_links
where provider = $1 and price_id = $2 and closed_at is null
"""

OPENED = """
update payment_links set link_id = $2, url = $3 where reference = $1 and link_id is null
returning closed_at
"""

# A link moves no money: one that was lost is simply made anew under another reference.
RENEW = """
update payment_links set reference = $2, created_at = coalesce($3, created_at)
where reference = $1 and link_id is null
"""

STILL_LIVE = """
select id, link_id, item_key, currency, price_id, promise from payment_links
where provider = $1 and closed_at is null and ($2::text is null or item_key = $2) order by id
"""

CLOSED = "update payment_links set closed_at = $2 where id = $1 and closed_at is null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to sell: exactly one of `package` (in a currency, or its default) and `price_id`."""

    package: str | None = None
    price_id: str | None = None
    currency: str | None = None
    actor: Actor


@dataclass(frozen=True, slots=True)
class Link:
    """An address at which something is sold."""

    url: str
    name: str
    amount_minor: int
    currency: str
    price_id: str


async def open(db: Database, provider: Provider, wanted: Wanted, *, clock: Clock) -> Link:
    """The link of a price, made at the provider on first need.

    Raises UnknownItem, CurrencyNotSold, ProviderUnavailable, ProviderRejected, ProviderUnknown
    (ask again: the same link comes of it).
    """
    async with db.connection() as conn:
        pack = await _pack(conn, provider.name, wanted)
    await close_stale(db, provider, clock=clock, item_key=pack.key)
    async with db.transaction() as conn:
        pack = await _pack(conn, provider.name, wanted)
        reference = await _begin(conn, provider.name, pack, wanted.actor, at=clock.now())
    failpoints.reach("link.after_intent")
    async with db.connection() as conn:
        found = await conn.fetchrow(LIVE, provider.name, pack.provider_price_id)
    if found is None:
        raise errors.ProviderUnavailable("The link was ended just now; ask again.")
    url = found["url"]
    if url is None:
        made = await _make(db, provider, pack, reference, clock.now() - found["created_at"])
        failpoints.reach("link.after_call")
        async with db.transaction() as conn:
            closed_at = await conn.fetchval(OPENED, UUID(reference), made.link_id, made.url)
        if closed_at is not None:
            # The catalogue changed while it was being made.
            await provider.close_link(made.link_id)
            raise errors.ProviderUnavailable("The link was ended just now; ask again.")
        url = made.url
    return Link(url, pack.name, pack.amount_minor, pack.currency, pack.provider_price_id)


async def _make(
    db: Database, provider: Provider, pack: Pack, reference: str, age: timedelta
) -> OpenedLink:
    """Have the link made under its reference, or find it there.

    Where a provider replays its own failure under the key, another reference is taken: a link
    moves no money, and a second one would sell the same.
    """
    try:
        return await provider.create_link(LinkOrder(reference, pack.provider_price_id))
    except errors.ProviderUnknown:
        made = await provider.find_link(reference)
        if made is not None:
            return made
        if age >= GIVEN_UP_AFTER:
            async with db.transaction() as conn:
                await conn.execute(RENEW, UUID(reference), uuid4(), None)
        raise


async def _pack(conn: Connection, provider: str, wanted: Wanted) -> Pack:
    if wanted.price_id is not None:
        pack = await catalog.get_pack_by_price(conn, provider, wanted.price_id)
        if wanted.currency not in (None, pack.currency):
            raise errors.CurrencyNotSold(f"That price is in {pack.currency.upper()}.")
        return pack
    return await catalog.get_pack(conn, provider, wanted.package or "", currency=wanted.currency)


async def _begin(conn: Connection, provider: str, pack: Pack, actor: Actor, *, at: datetime) -> str:
    """Store that a link is to be made, unless it is there; returns the reference that counts."""
    price_id = pack.provider_price_id
    promise = promises.as_json(_promise(pack))
    begun = await conn.fetchval(
        BEGIN, provider, pack.key, pack.currency, price_id, uuid4(), at, promise
    )
    if begun is not None:
        await audit_log.record(
            conn,
            actor,
            "payment_link.created",
            subject=f"price:{price_id}",
            detail={"provider": provider, "package": pack.key, "reference": str(begun)},
        )
        return str(begun)
    live = await conn.fetchrow(LIVE, provider, price_id)
    assert live is not None  # noqa: S101 - the insert met it
    if live["link_id"] is None and at - live["created_at"] >= KEY_REMEMBERED:
        await conn.execute(RENEW, live["reference"], uuid4(), at)
        live = await conn.fetchrow(LIVE, provider, price_id)
        assert live is not None  # noqa: S101 - likewise
    return str(live["reference"])


async def close_stale(
    db: Database, provider: Provider, *, clock: Clock, item_key: str | None = None
) -> list[str]:
    """End the links, of one pack or of all, that promise another thing than is on sale by now.

    Returns the provider's ids of those that ended. Raises the provider's failures: what is not
    ended yet is met again.
    """
    async with db.connection() as conn:
        live = await conn.fetch(STILL_LIVE, provider.name, item_key)
        prices = [row["price_id"] for row in live]
        sold = await promises.list_sold(conn, provider.name, prices)
    ended = []
    for row in live:
        promised = promises.from_json(row["price_id"], row["currency"], row["promise"])
        if promised is not None and _same(promised, sold.get(row["price_id"])):
            continue
        if row["link_id"] is not None:
            await provider.close_link(row["link_id"])
            ended.append(row["link_id"])
        async with db.transaction() as conn:
            await conn.execute(CLOSED, row["id"], clock.now())
    return ended


def _promise(pack: Pack) -> Sold:
    return Sold(
        price_id=pack.provider_price_id,
        name=pack.name,
        unit=pack.unit,
        credits=pack.credits,
        amount_minor=pack.amount_minor,
        currency=pack.currency,
        rights=pack.rights,
    )


def _same(promised: Sold, sold: Sold | None) -> bool:
    """Whether what is on sale is what was promised, by whatever name."""
    return sold is not None and replace(sold, name=promised.name) == promised
