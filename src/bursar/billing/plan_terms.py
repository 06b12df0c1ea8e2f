"""Plans that were paid for some months at once: from when to when each runs, and what it gives.

Owns plan_terms. Terms of one plan stand in a row: who buys again while one runs begins where it
ends. All of a customer's terms of a plan are reckoned anew from their rows each time, so that
doubled and late messages end the same; a term that was refunded whole ends then, and those after
it move up. Moves no credits: those come as any payment's do.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from bursar.billing import customers, entitlements, rights
from bursar.billing.entitlements import Grant, Source
from bursar.billing.payment_facts import Row, paid_as_asked
from bursar.billing.rights import Right
from bursar.db import Connection

# The earliest word of the payment's time counts, as it does in the payment's own row.
PUT = """
insert into plan_terms as t (customer_id, payment_id, reference, plan, months, rights, paid_at,
    ended_at)
values ($1, $2, $3, $4, $5, $6::jsonb, $7, $8)
on conflict (customer_id, payment_id) do update set paid_at = least(t.paid_at, excluded.paid_at),
    ended_at = case when excluded.ended_at is null then null
        else coalesce(t.ended_at, excluded.ended_at) end
"""

LIST = """
select payment_id, reference, plan, months, rights, paid_at, ended_at from plan_terms
where customer_id = $1 and ($2::text is null or plan = $2)
order by plan, paid_at, payment_id
"""


@dataclass(frozen=True, slots=True)
class Term:
    """Months of a plan that a payment bought, and when they run."""

    payment_id: int
    reference: str
    plan: str
    months: int
    rights: tuple[Right, ...]
    starts_at: datetime
    ends_at: datetime


def later(start: datetime, months: int) -> datetime:
    """The same day and time so many months later, in UTC; the month's last day where it has no
    such day."""
    start = start.astimezone(UTC)
    years, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + years, month + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return start.replace(year=year, month=month, day=day)


async def follow(conn: Connection, rows: Sequence[Row], *, at: datetime) -> None:
    """Give and end what these payments' terms entitle to. `at` is business time."""
    bought = [row for row in rows if row.snapshot.get("plan") and paid_as_asked(row)]
    for row in sorted(bought, key=lambda row: (row.customer_id, row.id)):
        # Two purchases of one plan, told of at once, must see each other.
        await customers.lock(conn, row.customer_id)
        await _put(conn, row, at)
        terms = await list_terms(conn, row.customer_id, plan=str(row.snapshot["plan"]))
        given = [term for term in terms if term.starts_at < term.ends_at]
        grants = [
            Grant(_source(row, term), right, starts_at=term.starts_at, ends_at=term.ends_at)
            for term in given
            for right in term.rights
        ]
        await entitlements.grant(conn, grants, at=at)
        void = [_source(row, term) for term in terms if term not in given]
        await entitlements.end(conn, void, at=at)


async def list_terms(conn: Connection, customer_id: int, *, plan: str | None = None) -> list[Term]:
    """A customer's terms of a plan, or of all, in the order in which they run."""
    terms: list[Term] = []
    for row in await conn.fetch(LIST, customer_id, plan):
        before = terms[-1].ends_at if terms and terms[-1].plan == row["plan"] else None
        terms.append(_term(row, before))
    return terms


async def _put(conn: Connection, row: Row, at: datetime) -> None:
    back = 0 < row.captured_minor <= row.refunded_minor
    await conn.execute(
        PUT,
        row.customer_id,
        row.id,
        UUID(row.reference),
        row.snapshot["plan"],
        row.snapshot["months"],
        orjson.dumps(row.snapshot.get("rights", [])).decode(),
        row.completed_at or at,
        at if back else None,
    )


def _term(row: Any, before: datetime | None) -> Term:
    """A term, which begins when it was paid, or where the one before it ends."""
    starts_at = max(row["paid_at"], before) if before else row["paid_at"]
    ends_at = later(starts_at, row["months"])
    if row["ended_at"] is not None:
        # One that was given back before it began has no time at all.
        ends_at = max(starts_at, min(ends_at, row["ended_at"]))
    return Term(
        payment_id=row["payment_id"],
        reference=str(row["reference"]),
        plan=row["plan"],
        months=row["months"],
        rights=rights.from_json(orjson.loads(row["rights"])),
        starts_at=starts_at,
        ends_at=ends_at,
    )


def _source(row: Row, term: Term) -> Source:
    return Source(row.customer_id, "plan", term.reference)
