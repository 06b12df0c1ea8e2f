"""Cases: what a person must look at, because money is there that no rule may decide about.

Owns the table of cases. One case for one thing, however often it is met; each opening is an event
of ours, so that somebody is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from bursar import errors
from bursar.db.connections import Connection
from bursar.messages import outbox
from bursar.messages.outbox import Event

OPENED = "case.opened"
"""What the event is called that tells of a case."""

CaseKind = Literal[
    "unmatched", "mismatch", "excess", "duplicate", "dead", "unknown", "drift", "review"
]

OPEN = """
insert into cases (kind, reference, customer_id, payment_id, amount_minor, currency, summary,
    detail, opened_at)
values ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9)
on conflict (kind, reference) do update
set state = 'open', summary = excluded.summary, opened_at = excluded.opened_at, resolution = null,
    resolved_at = null
where cases.kind = 'dead' and cases.state = 'resolved'
returning id
"""

FIELDS = """id, kind, reference, state, customer_id, payment_id, amount_minor, currency, summary,
    detail, resolution, opened_at, resolved_at"""

LIST = f"""
select {FIELDS} from cases
where ($1::text is null or state = $1) and ($2::bigint is null or id < $2)
order by id desc limit $3
"""  # noqa: S608 - FIELDS is a constant above

SHOW = f"select {FIELDS} from cases where id = $1"  # noqa: S608 - likewise


RESOLVE = """
update cases set state = 'resolved', resolution = $2, resolved_at = $3,
    customer_id = coalesce($4, customer_id), payment_id = coalesce($5, payment_id)
where id = $1 and state = 'open' returning id
"""

# What a case waited for came about by itself.
CLOSE = """
update cases set state = 'resolved', resolution = $3, resolved_at = $4, customer_id = $5,
    payment_id = $6
where kind = $1 and reference = any ($2) and state = 'open'
"""

OF_EMAIL = f"""
select {FIELDS} from cases
where kind = 'unmatched' and state = 'open' and lower(detail ->> 'email') = lower($1)
order by id
"""  # noqa: S608 - likewise

FIND = f"select {FIELDS} from cases where kind = $1 and reference = $2"  # noqa: S608 - likewise

WAITS = """
select id from cases where kind = $1 and reference = $2 and state = 'open' for update
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A case to open, unless it is there. `reference` names the thing, such as `intent:pi_1`."""

    kind: CaseKind
    reference: str
    summary: str
    customer_id: int | None = None
    payment_id: int | None = None
    amount_minor: int | None = None
    currency: str | None = None
    detail: dict[str, object] | None = None
    quiet: bool = False
    """Shown where cases are shown, and told to nobody."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case as a person reads it."""

    id: int
    kind: str
    reference: str
    state: str
    customer_id: int | None
    payment_id: int | None
    amount_minor: int | None
    currency: str | None
    summary: str
    detail: dict[str, object]
    resolution: str | None
    opened_at: datetime
    resolved_at: datetime | None


async def open_cases(conn: Connection, openings: Sequence[Opening], *, at: datetime) -> None:
    """Open each case once, and tell of those that are new."""
    told: list[Event] = []
    for case in sorted(openings, key=lambda case: (case.kind, case.reference)):
        opened = await conn.fetchval(
            OPEN,
            case.kind,
            case.reference,
            case.customer_id,
            case.payment_id,
            case.amount_minor,
            case.currency,
            case.summary,
            orjson.dumps(case.detail or {}).decode(),
            at,
        )
        if opened is not None and not case.quiet:
            told.append(_opened(opened, case, at))
    await outbox.emit(conn, told, at=at)


def _opened(case_id: int, case: Opening, at: datetime) -> Event:
    data = {
        "id": case_id,
        "kind": case.kind,
        "reference": case.reference,
        "summary": case.summary,
        "customer_id": case.customer_id,
        "payment_id": case.payment_id,
        "amount": case.amount_minor,
        "currency": case.currency,
    }
    # A case of something dead may be opened again: the time tells the openings apart.
    return Event(OPENED, f"{case_id}:{at.isoformat()}", case.customer_id, data)


async def list_cases(
    conn: Connection, *, state: str | None = None, before: int | None = None, limit: int = 50
) -> list[Case]:
    """Cases newest first; `state` is open or resolved."""
    return [_case(dict(row)) for row in await conn.fetch(LIST, state, before, limit)]


async def get_case(conn: Connection, case_id: int) -> Case:
    """Raises NotFound."""
    row = await conn.fetchrow(SHOW, case_id)
    if row is None:
        raise errors.NotFound(f"There is no case {case_id}.")
    return _case(dict(row))


async def resolve(
    conn: Connection,
    case_id: int,
    resolution: str,
    *,
    at: datetime,
    customer_id: int | None = None,
    payment_id: int | None = None,
) -> Case:
    """Close a case. Of many at once one does; the others raise CaseResolved. Raises NotFound."""
    told = resolution, at, customer_id, payment_id
    if await conn.fetchval(RESOLVE, case_id, *told) is None:
        case = await get_case(conn, case_id)
        raise errors.CaseResolved(f"Case {case.id} is resolved: {case.resolution}")
    return await get_case(conn, case_id)


async def close(
    conn: Connection,
    kind: CaseKind,
    references: Sequence[str],
    resolution: str,
    *,
    customer_id: int,
    payment_id: int | None,
    at: datetime,
) -> None:
    """Close the open cases of these things, which a payment has settled."""
    told = resolution, at, customer_id, payment_id
    await conn.execute(CLOSE, kind, list(references), *told)


async def list_of_email(conn: Connection, email: str) -> list[Case]:
    """The open cases of money that somebody with this address paid."""
    return [_case(dict(row)) for row in await conn.fetch(OF_EMAIL, email)]


async def find_case(conn: Connection, kind: CaseKind, reference: str) -> Case | None:
    """The case of a thing, open or not."""
    row = await conn.fetchrow(FIND, kind, reference)
    return _case(dict(row)) if row else None


async def find_waiting(conn: Connection, kind: CaseKind, reference: str) -> int | None:
    """The open case of a thing, locked until the transaction ends."""
    found: int | None = await conn.fetchval(WAITS, kind, reference)
    return found


def _case(fields: dict[str, object]) -> Case:
    fields["detail"] = orjson.loads(str(fields["detail"]))
    return Case(**fields)  # type: ignore[arg-type]
