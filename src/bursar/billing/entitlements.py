"""Entitlements: what a customer may do, how much of it, and how much of that is used up.

Owns entitlements and entitlement_counts. Each source (a plan, a paid pack, a grant by hand) says
its own; of those that run now the one with the greatest number counts, and no number is the
greatest. Counting is one conditional statement, so no crowd passes a limit. It moves no credits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bursar import errors
from bursar.billing.rights import Entitled, Right, entitled, period
from bursar.db import Connection, Database
from bursar.db.tags import TagCache, announce

SourceKind = Literal["plan", "pack", "grant"]

# One that is granted again goes on from its first beginning, unless it had ended in between.
GRANT = """
with made as (
    insert into entitlements as e (customer_id, source_kind, source, feature, amount, per,
        starts_at, ends_at, created_at)
    select g.*, $9 from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[],
        $6::text[], $7::timestamptz[], $8::timestamptz[]) as g
    on conflict (customer_id, source_kind, source, feature) do update
    set amount = excluded.amount, per = excluded.per, ends_at = excluded.ends_at,
        starts_at = case when e.ends_at <= excluded.starts_at then excluded.starts_at
            else least(e.starts_at, excluded.starts_at) end
    where (e.amount, e.per, e.ends_at)
            is distinct from (excluded.amount, excluded.per, excluded.ends_at)
        or e.starts_at > excluded.starts_at
    returning e.customer_id
)
select distinct customer_id from made
"""

END = """
with gone as (
    update entitlements e set ends_at = $4
    from unnest($1::bigint[], $2::text[], $3::text[]) as g (customer_id, source_kind, source)
    where e.customer_id = g.customer_id and e.source_kind = g.source_kind
        and e.source = g.source and (e.ends_at is null or e.ends_at > $4)
    returning e.customer_id
)
select distinct customer_id from gone
"""

# What a plan gave and the next one does not.
END_OTHERS = """
with gone as (
    update entitlements set ends_at = $5
    where customer_id = $1 and source_kind = $2 and source = $3 and feature <> all ($4::text[])
        and (ends_at is null or ends_at > $5)
    returning customer_id
)
select distinct customer_id from gone
"""

RIGHTS = """
select distinct on (feature) feature, amount, per from entitlements
where customer_id = $1 and ($3::text is null or feature = $3) and starts_at <= $2
    and (ends_at is null or ends_at > $2)
order by feature, amount desc nulls first, per
"""

# Sources that give at least as much and follow each other without a gap make one stretch of time.
ENDS = """
select h.feature, upper(span) as ends_at
from unnest($3::text[], $4::bigint[]) as h (feature, amount)
cross join lateral (
    select range_agg(tstzrange(e.starts_at, e.ends_at)) as spans from entitlements e
    where e.customer_id = $1 and e.feature = h.feature
        and (e.amount is null or e.amount >= h.amount)
        and (e.ends_at is null or e.ends_at > e.starts_at)
) as had cross join lateral unnest(had.spans) as span
where span @> $2::timestamptz and not upper_inf(span)
"""

NEXT_CHANGE = """
select min(least(case when starts_at > $2 then starts_at end, case when ends_at > $2 then ends_at
    end))
from entitlements where customer_id = $1
"""

USED = """
select c.feature, c.used
from unnest($2::text[], $3::text[], $4::timestamptz[]) as p (feature, per, period_start)
join entitlement_counts c on c.customer_id = $1 and c.feature = p.feature and c.per = p.per
    and c.period_start = coalesce(p.period_start, '-infinity')
"""

CONSUME = """
insert into entitlement_counts as c (customer_id, feature, per, period_start, used)
select $1, $2, $3, coalesce($4::timestamptz, '-infinity'), $5 where $5::bigint <= $6
on conflict (customer_id, feature, per, period_start) do update set used = c.used + excluded.used
where c.used + excluded.used <= $6
returning used
"""


@dataclass(frozen=True, slots=True)
class Source:
    """From where a customer has something; `source` is the name of a thing of that kind."""

    customer_id: int
    source_kind: SourceKind
    source: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a source gives from `starts_at` on, until `ends_at` if there is an end."""

    source: Source
    right: Right
    starts_at: datetime
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A customer's rights by feature, as they are until `until`."""

    rights: Mapping[str, Right]
    until: datetime | None


def tag(customer_id: int) -> str:
    """The tag under which a customer's rights are kept in memory."""
    return f"entitlements:{customer_id}"


async def grant(conn: Connection, grants: Sequence[Grant], *, at: datetime) -> None:
    """Give, or bring up to date what the same source gave before. `at` is the business time."""
    # One order for everybody: two that grant the same things wait for each other, in a row.
    listed = sorted({(g.source, g.right.feature): g for g in grants}.values(), key=_place)
    if not listed:
        return
    changed = await conn.fetch(
        GRANT,
        [g.source.customer_id for g in listed],
        [g.source.source_kind for g in listed],
        [g.source.source for g in listed],
        [g.right.feature for g in listed],
        [g.right.amount for g in listed],
        [g.right.per for g in listed],
        [g.starts_at for g in listed],
        [g.ends_at for g in listed],
        at,
    )
    await announce(conn, [tag(row["customer_id"]) for row in changed])


async def end(conn: Connection, sources: Sequence[Source], *, at: datetime) -> None:
    """End all that these sources give; what ended before stays as it is."""
    if not sources:
        return
    changed = await conn.fetch(
        END,
        [source.customer_id for source in sources],
        [source.source_kind for source in sources],
        [source.source for source in sources],
        at,
    )
    await announce(conn, [tag(row["customer_id"]) for row in changed])


async def end_others(
    conn: Connection, source: Source, features: Sequence[str], *, at: datetime
) -> None:
    """End what a source gives besides these features."""
    place = (source.customer_id, source.source_kind, source.source)
    changed = await conn.fetch(END_OTHERS, *place, list(features), at)
    await announce(conn, [tag(row["customer_id"]) for row in changed])


async def find(conn: Connection, customer_id: int, feature: str, *, at: datetime) -> Right | None:
    """What a customer has of a feature now; None for nothing."""
    row = await conn.fetchrow(RIGHTS, customer_id, at, feature)
    return Right(**dict(row)) if row else None


async def limit(conn: Connection, customer_id: int, feature: str, *, at: datetime) -> int | None:
    """The number that a customer has of a feature; None when nothing sets one."""
    right = await find(conn, customer_id, feature, at=at)
    return right.amount if right else None


async def check(conn: Connection, customer_id: int, feature: str, *, at: datetime) -> Entitled:
    """Whether a customer may use a feature now."""
    right = await find(conn, customer_id, feature, at=at)
    return await _counted(conn, customer_id, feature, right, at)


async def check_known(
    db: Database, tags: TagCache, customer_id: int, feature: str, *, at: datetime
) -> Entitled:
    """As `check`, with rights from memory; what is used up is asked of the database."""

    async def load() -> Known:
        async with db.connection() as conn:
            rows = await conn.fetch(RIGHTS, customer_id, at, None)
            until = await conn.fetchval(NEXT_CHANGE, customer_id, at)
        return Known({row["feature"]: Right(**dict(row)) for row in rows}, until)

    known = await tags.get(tag(customer_id), "rights", load)
    if known.until is not None and known.until <= at:
        known = await load()
    right = known.rights.get(feature)
    if right is None or not right.amount:
        return entitled(feature, right, 0, at)
    async with db.connection() as conn:
        return await _counted(conn, customer_id, feature, right, at)


async def list_for(conn: Connection, customer_id: int, *, at: datetime) -> list[Entitled]:
    """All that a customer has now, by feature."""
    rights = [Right(**dict(row)) for row in await conn.fetch(RIGHTS, customer_id, at, None)]
    used = await _used(conn, customer_id, rights, at)
    return [entitled(right.feature, right, used.get(right.feature, 0), at) for right in rights]


async def list_ends(
    conn: Connection, customer_id: int, found: Sequence[Entitled], *, at: datetime
) -> dict[str, datetime]:
    """Until when a customer has what `found` says, without a gap; what has no end is not there."""
    names, limits = [each.feature for each in found], [each.limit for each in found]
    rows = await conn.fetch(ENDS, customer_id, at, names, limits)
    return {row["feature"]: row["ends_at"] for row in rows}


async def consume(
    conn: Connection, customer_id: int, feature: str, amount: int, *, at: datetime
) -> Entitled:
    """Use up `amount` of a limit, whole or not at all; what has no limit is not counted.

    Raises NotEntitled and LimitReached.
    """
    right = await find(conn, customer_id, feature, at=at)
    if right is None or right.amount == 0:
        raise errors.NotEntitled(
            f"This customer does not have {feature!r}. Offer a plan or pack that has it."
        )
    if right.amount is None:
        return entitled(feature, right, 0, at)
    span = period(right.per, at)
    counted = (customer_id, feature, span.name, span.start, amount, right.amount)
    used = await conn.fetchval(CONSUME, *counted)
    if used is None:
        now = await _counted(conn, customer_id, feature, right, at)
        anew = f" It begins anew at {span.end:%Y-%m-%dT%H:%M:%SZ}." if span.end else ""
        raise errors.LimitReached(f"{now.left} of {right.amount} {feature!r} are left.{anew}")
    return entitled(feature, right, used, at)


async def _counted(
    conn: Connection, customer_id: int, feature: str, right: Right | None, at: datetime
) -> Entitled:
    used = await _used(conn, customer_id, [right] if right else [], at)
    return entitled(feature, right, used.get(feature, 0), at)


async def _used(
    conn: Connection, customer_id: int, rights: Sequence[Right], at: datetime
) -> dict[str, int]:
    """How much of each limit is used up in its present period."""
    limited = [right for right in rights if right.amount is not None]
    if not limited:
        return {}
    spans = [period(right.per, at) for right in limited]
    names = [right.feature for right in limited]
    rows = await conn.fetch(
        USED, customer_id, names, [s.name for s in spans], [s.start for s in spans]
    )
    return {row["feature"]: row["used"] for row in rows}


def _place(grant: Grant) -> tuple[int, str, str, str]:
    source = grant.source
    return (source.customer_id, source.source_kind, source.source, grant.right.feature)
