"""Features that an admin gives by hand, and takes back; and all that a customer has, by source.

Each is a source of its own, beside plans and packs, with a line in the audit log in the same
transaction. What a plan or a pack gives is not taken here: that follows the money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import entitlements
from bursar.billing.entitlements import Grant, Source, SourceKind
from bursar.billing.rights import Right
from bursar.db import Connection

COLUMNS = "id, customer_id, source_kind, source, feature, amount, per, starts_at, ends_at"

FIND = f"""
select {COLUMNS} from entitlements where customer_id = $1 and source_kind = 'grant' and source = $2
"""  # noqa: S608 - the columns are ours

LOCK = f"""
select {COLUMNS} from entitlements where id = $1 and source_kind = 'grant' for update
"""  # noqa: S608

LIST = f"""
select {COLUMNS} from entitlements where customer_id = $1 and ($2::bigint is null or id < $2)
order by id desc limit $3
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Given:
    """What one source gives a customer; `ends_at` in the past: gave."""

    id: int
    customer_id: int
    source_kind: SourceKind
    source: str
    right: Right
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an admin gives, and why; without `ends_at` until it is taken back."""

    customer_id: int
    right: Right
    ends_at: datetime | None
    reason: str
    actor: Actor


async def give(conn: Connection, wanted: Wanted, *, at: datetime) -> Given:
    """Give a feature. Raises errors.Invalid for an end that has passed."""
    if wanted.ends_at is not None and wanted.ends_at <= at:
        raise errors.Invalid("ends_at has passed; leave it out for a grant without an end.")
    source = Source(wanted.customer_id, "grant", str(uuid4()))
    given = Grant(source, wanted.right, starts_at=at, ends_at=wanted.ends_at)
    await entitlements.grant(conn, [given], at=at)
    made = _given(await conn.fetchrow(FIND, source.customer_id, source.source))
    right = made.right
    await audit_log.record(
        conn,
        wanted.actor,
        "entitlement.granted",
        subject=f"entitlement:{made.id}",
        customer_id=made.customer_id,
        reason=wanted.reason,
        detail={
            "feature": right.feature,
            "amount": right.amount,
            "per": right.per,
            "ends_at": made.ends_at,
        },
    )
    return made


async def take(conn: Connection, grant_id: int, actor: Actor, *, at: datetime) -> Given:
    """End a grant by hand now; one that has ended stays as it is. Raises errors.NotFound."""
    row = await conn.fetchrow(LOCK, grant_id)
    if row is None:
        raise errors.NotFound("There is no such grant.")
    before = _given(row)
    if before.ends_at is not None and before.ends_at <= at:
        return before
    source = Source(before.customer_id, "grant", before.source)
    await entitlements.end(conn, [source], at=at)
    await audit_log.record(
        conn,
        actor,
        "entitlement.ended",
        subject=f"entitlement:{before.id}",
        customer_id=before.customer_id,
        detail={"feature": before.right.feature, "ends_at_before": before.ends_at},
    )
    return _given(await conn.fetchrow(FIND, source.customer_id, source.source))


async def list_given(
    conn: Connection, customer_id: int, *, before: int | None, limit: int
) -> Sequence[Given]:
    """All that a customer has or had, whatever it came from, newest first."""
    return [_given(row) for row in await conn.fetch(LIST, customer_id, before, limit)]


def _given(row: Any) -> Given:
    fields = dict(row)
    right = Right(fields.pop("feature"), fields.pop("amount"), fields.pop("per"))
    return Given(**fields, right=right)
