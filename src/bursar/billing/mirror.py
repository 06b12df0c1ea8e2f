"""The mirror: products, prices, coupons and promotion codes as the provider has them.

Owns catalog_mirror. Events keep it, in any order: an older word never overwrites a newer one. Where
events can't tell (two in one second, how often a code was used) a timer reads the thing anew. What
is shown is read here, never at the provider. It decides no price and no discount.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from asyncpg import Record

from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.db.tags import TagCache, announce
from bursar.messages import timers
from bursar.providers.mirrored import CatalogFact, Kind
from bursar.providers.port import Provider

TAG = "catalog"
"""What caches keep the catalogue under; dropped in the transaction that changes the mirror."""
READ_TIMER = "catalog.read"
KINDS: dict[str, Kind] = {
    "product": "product",
    "price": "price",
    "coupon": "coupon",
    "promotion_code": "promotion_code",
}
UNTOLD = ("products",)
"""What no event says: what a coupon is for."""
KINDS_TO_READ = ("coupon", "promotion_code")
"""Events about these leave things out: what a coupon is for, and how often it was used since."""

LOCK = """
select body, told_at, step from catalog_mirror
where provider = $1 and kind = $2 and id = $3 for update
"""

BEGIN = """
insert into catalog_mirror (provider, kind, id, body, gone, told_at, step)
values ($1, $2, $3, '{}', true, 'epoch', -1) on conflict do nothing
"""

CHANGE = """
update catalog_mirror
set body = $4::jsonb, gone = $5, told_at = $6, step = $7, changes = changes + 1
where provider = $1 and kind = $2 and id = $3
"""

# An answer is of the moment when it was asked for: it stands if nothing was told meanwhile.
READ = """
insert into catalog_mirror as m (provider, kind, id, body, gone, told_at, step)
values ($1, $2, $3, $4::jsonb, $5, $6, $7)
on conflict (provider, kind, id) do update set body = excluded.body, gone = excluded.gone,
    step = excluded.step, changes = m.changes + 1
where m.changes = $8
returning id
"""

VERSIONS = """
select kind, id, changes, told_at, gone from catalog_mirror
where provider = $1 and ($2::text is null or kind = $2) and ($3::text is null or id = $3)
"""

ALIVE = """
select kind, id, body from catalog_mirror
where provider = $1 and kind = any ($2) and not gone
order by kind, id
"""

BY_CODE = """
select kind, id, body from catalog_mirror
where provider = $1 and kind = 'promotion_code' and code = upper($2) and not gone
order by (body ->> 'active')::boolean desc, id
"""

ONE = """
select kind, id, body from catalog_mirror
where provider = $1 and kind = $2 and id = $3 and not gone
"""


@dataclass(frozen=True, slots=True)
class Version:
    """Which of its states a thing is in."""

    changes: int
    told_at: datetime
    gone: bool


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that the provider has; `body` as providers.mirrored describes it."""

    kind: str
    id: str
    body: Mapping[str, Any]


async def take(conn: Connection, facts: Sequence[CatalogFact], *, at: datetime) -> None:
    """Bring what events told into the mirror; what they leave open is read by a timer soon."""
    for fact in sorted(facts, key=lambda fact: (fact.provider, fact.kind, fact.id)):
        name = (fact.provider, fact.kind, fact.id)
        await conn.execute(BEGIN, *name)
        known = await conn.fetchrow(LOCK, *name)
        assert known is not None  # noqa: S101 - the insert made it, or met it
        body = orjson.loads(known["body"])
        # What an event leaves out is kept: what a coupon is for never changes.
        kept = {key: body[key] for key in UNTOLD if key in body}
        told = _json(fact.body)
        before = _json({key: value for key, value in body.items() if key not in UNTOLD})
        if fact.kind in KINDS_TO_READ or (fact.at == known["told_at"] and told != before):
            await read_soon(conn, *name, at=at)
        # Two words of one second and one step are told apart by their text: any order ends alike.
        if (fact.at, fact.step, told) > (known["told_at"], known["step"], before):
            merged = {} if fact.gone else {**kept, **fact.body}
            await conn.execute(CHANGE, *name, _json(merged), fact.gone, fact.at, fact.step)
    await announce(conn, [TAG] if facts else [])


async def read_soon(
    conn: Connection, provider: str, kind: str, thing_id: str, *, at: datetime
) -> None:
    """Have a thing read at the provider, as it is then."""
    await timers.schedule(conn, READ_TIMER, f"{provider}/{kind}/{thing_id}", due_at=at, at=at)


async def read_used(
    conn: Connection, provider: str, discounts: Iterable[str], *, at: datetime
) -> None:
    """Have coupons and codes read that were just used, for no event tells how often they were.

    `discounts` are as a checkout's totals name them, such as `coupon:LAUNCH`.
    """
    for kind, _, thing_id in (name.partition(":") for name in discounts):
        await read_soon(conn, provider, kind, thing_id, at=at)
        if kind == "promotion_code":
            row = await conn.fetchrow(ONE, provider, kind, thing_id)
            coupon = orjson.loads(row["body"]).get("coupon") if row else None
            if coupon:
                await read_soon(conn, provider, "coupon", coupon, at=at)


async def read(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: read one thing at the provider. Returns when to look again: at once, if it
    changed while the answer was on its way.

    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown: the timer tries again.
    """
    provider, kind, thing_id = reference.split("/", 2)
    if provider not in providers or kind not in KINDS:
        return None
    async with db.connection() as conn:
        before = await _versions(conn, provider, kind, thing_id)
    fact = await providers[provider].fetch_catalog(KINDS[kind], thing_id)
    async with db.transaction() as conn:
        stored = await _store(conn, fact, before)
        await announce(conn, [TAG])
    return None if stored else clock.now()


async def fill(db: Database, provider: Provider) -> int:
    """Read everything that the provider has; returns how many things that are.

    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown; then all stays as it was.
    """
    async with db.connection() as conn:
        before = await _versions(conn, provider.name, None, None)
    facts = await provider.list_catalog()
    listed = {(fact.kind, fact.id) for fact in facts}
    facts += [
        CatalogFact(provider=provider.name, kind=KINDS[kind], id=thing_id, at=known.told_at)
        for (kind, thing_id), known in before.items()
        if (kind, thing_id) not in listed and not known.gone
    ]
    async with db.transaction() as conn:
        for fact in sorted(facts, key=lambda fact: (fact.kind, fact.id)):
            await _store(conn, fact, before)
        await announce(conn, [TAG])
    return len(listed)


async def remember(conn: Connection, facts: Sequence[CatalogFact]) -> None:
    """Store what the provider just answered of things that the mirror did not have."""
    for fact in facts:
        await _store(conn, fact, {})
    await announce(conn, [TAG] if facts else [])


async def find_codes(conn: Connection, provider: str, code: str) -> list[Thing]:
    """The promotion codes that read so, whatever the case; active ones first."""
    return [_thing(row) for row in await conn.fetch(BY_CODE, provider, code)]


async def find(conn: Connection, provider: str, kind: Kind, thing_id: str) -> Thing | None:
    """One thing by its id at the provider."""
    row = await conn.fetchrow(ONE, provider, kind, thing_id)
    return _thing(row) if row else None


async def list_things(
    conn: Connection, provider: str, kinds: Iterable[Kind] = tuple(KINDS.values())
) -> list[Thing]:
    """Everything of these kinds that the provider has, by kind and id."""
    return [_thing(row) for row in await conn.fetch(ALIVE, provider, list(kinds))]


async def list_cached(db: Database, tags: TagCache, provider: str) -> list[Thing]:
    """Everything that the provider has, from memory while nothing changed."""

    async def load() -> list[Thing]:
        async with db.connection() as conn:
            return await list_things(conn, provider)

    return await tags.get(TAG, provider, load)


async def _versions(
    conn: Connection, provider: str, kind: str | None, thing_id: str | None
) -> dict[tuple[str, str], Version]:
    rows = await conn.fetch(VERSIONS, provider, kind, thing_id)
    return {(r["kind"], r["id"]): Version(r["changes"], r["told_at"], r["gone"]) for r in rows}


async def _store(
    conn: Connection, fact: CatalogFact, before: Mapping[tuple[str, str], Version]
) -> bool:
    """Store an answer unless something was told since `before`; false if it was."""
    known = before.get((fact.kind, fact.id))
    stored = await conn.fetchval(
        READ,
        fact.provider,
        fact.kind,
        fact.id,
        _json(fact.body),
        fact.gone,
        fact.at,
        fact.step,
        known.changes if known else 0,
    )
    return stored is not None


def _thing(row: Record) -> Thing:
    return Thing(row["kind"], row["id"], orjson.loads(row["body"]))


def _json(body: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(body), option=orjson.OPT_SORT_KEYS).decode()
