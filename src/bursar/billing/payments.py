"""Payments: rows that are merged facts. Owns payments and, with customers, provider_refs.

They are begun before the provider is called and written back by settle; how facts become a row is
merging's, and what follows from it settle's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from asyncpg import Record

from bursar import errors
from bursar.billing import payment_facts
from bursar.billing.payment_facts import Row
from bursar.db.connections import Connection

Opening = Literal["opening", "open", "refused", "unknown"]
Status = Literal[
    "pending",
    "processing",
    "authorized",
    "completed",
    "failed",
    "expired",
    "canceled",
    "partially_refunded",
    "refunded",
    "disputed",
]

COLUMNS = """p.customer_id, p.id, p.reference, p.user_id, p.provider, p.kind, p.opening, p.state,
    p.state_at, p.amount_minor, p.currency, p.captured_minor, p.refunded_minor,
    p.refund_pending_minor, p.disputed_minor, p.unit, p.credits, p.snapshot, p.facts, p.mismatch,
    p.request, p.session_id, p.session_url, p.payment_intent_id, p.receipt_url, p.description,
    p.metadata, p.expires_at, p.created_at, p.completed_at,
    p.authorized_minor, p.authorized_until"""

# The row, and the two names by which anything will find it, are committed together.
INTEND = """
with made as (
    insert into payments (customer_id, reference, user_id, provider, kind, amount_minor, currency,
        unit, credits, snapshot, request, description, metadata, created_at, opening)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11::jsonb, $12, $13::jsonb, $14, $15)
    returning customer_id, id, reference
), refs as (
    insert into provider_refs (provider, kind, ref, customer_id, target_id)
    select 'bursar', 'reference', reference::text, customer_id, id from made
    union all
    select 'bursar', 'payment', id::text, customer_id, id from made
)
select id from made
"""

OPENED = """
update payments set opening = 'open', session_id = $3, session_url = $4, expires_at = $5,
    payment_intent_id = coalesce(payment_intent_id, $6)
where customer_id = $1 and id = $2
"""

ENDED = """
update payments set opening = $3,
    state = case when $3 = 'refused' and state = 'pending' then 'canceled' else state end
where customer_id = $1 and id = $2 and opening <> 'open'
"""

ADD_REFS = """
insert into provider_refs (provider, kind, ref, customer_id, target_id)
select $1, kind, ref, $4, $5 from unnest($2::text[], $3::text[]) as t (kind, ref)
on conflict do nothing
"""

SAVE = """
update payments set state = $3, state_at = $4, captured_minor = $5, facts = $6::jsonb,
    session_id = $7, session_url = $8, payment_intent_id = $9, receipt_url = $10,
    completed_at = $11, mismatch = $12, refunded_minor = $13, refund_pending_minor = $14,
    authorized_minor = $15, authorized_until = $16, disputed_minor = $17
where customer_id = $1 and id = $2
"""

# The cap is in the statement: of many requests at once, those that fit are the ones that pass.
RESERVE = """
update payments set refund_pending_minor = refund_pending_minor + $3
where customer_id = $1 and id = $2 and state = 'completed' and disputed_minor = 0
    and refunded_minor + refund_pending_minor + $3 <= captured_minor
returning true
"""

GET = f"""
select {COLUMNS} from payments p where p.customer_id = $1 and p.id = $2
"""  # noqa: S608 - likewise

FIND_BY_REF = f"""
select {COLUMNS} from provider_refs r
join payments p on p.customer_id = r.customer_id and p.id = r.target_id
where r.provider = $1 and r.kind = $2 and r.ref = $3
"""  # noqa: S608 - likewise

FIND_TARGET = """
select target_id from provider_refs where provider = $1 and kind = $2 and ref = $3
"""

SHARES_BACK = """
select id, least(captured_minor, refunded_minor + disputed_minor) as back, captured_minor
from payments
where customer_id = $1 and id = any ($2) and refunded_minor + disputed_minor > 0
    and captured_minor > 0
"""

# An answer that was lost may have opened one, too.
LIST_SUBSCRIBING = f"""
select {COLUMNS} from payments p
where p.customer_id = $1 and p.kind = 'checkout' and p.snapshot ->> 'plan_group' = $2
    and coalesce((p.snapshot ->> 'addon')::boolean, false) = $4
    and p.state in ('pending', 'failed') and p.opening in ('opening', 'open', 'unknown')
    and (p.expires_at is null or p.expires_at > $3)
order by p.id desc
"""  # noqa: S608 - likewise

LIST = f"""
select {COLUMNS} from payments p
where p.customer_id = $1 and ($2::text is null or p.provider = $2)
    and ($3::bigint is null or p.id < $3)
order by p.id desc
limit $4
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as it stands. Amounts in minor units of `currency`, credits in the unit's parts."""

    id: int
    customer_id: int
    user_id: str | None
    provider: str
    kind: str
    reference: str
    opening: Opening
    state: str
    amount_minor: int
    currency: str
    captured_minor: int
    refunded_minor: int
    refund_pending_minor: int
    disputed_minor: int
    unit: str | None
    credits: int
    session_id: str | None
    session_url: str | None
    payment_intent_id: str | None
    description: str | None
    receipt_url: str | None
    failure: str | None
    mismatch: str | None
    metadata: dict[str, str]
    snapshot: Mapping[str, Any]
    request: Mapping[str, Any]
    expires_at: datetime | None
    created_at: datetime
    completed_at: datetime | None
    authorized_minor: int | None = None
    authorized_until: datetime | None = None
    """What the buyer's bank holds, or held, for a capture by hand, and until when."""

    @property
    def status(self) -> Status:
        """The public status, as everybody is shown it."""
        return payment_facts.public_status(  # type: ignore[return-value]
            self.state,
            captured=self.captured_minor,
            refunded=self.refunded_minor,
            disputed=self.disputed_minor,
        )

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be expected of the buyer."""
        return self.state in ("completed", "expired", "canceled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A payment to begin. `snapshot` is what is asked, `request` what the provider will be told.

    One that others began, by a link or at the provider, is `open` from the first.
    """

    customer_id: int
    reference: UUID
    user_id: str | None
    provider: str
    kind: Literal["checkout", "intent", "link", "invoice", "external"]
    amount_minor: int
    currency: str
    unit: str | None
    credits: int
    snapshot: Mapping[str, Any]
    request: Mapping[str, Any]
    description: str | None
    metadata: Mapping[str, str]
    opening: Opening = "opening"


async def begin(conn: Connection, intent: Intent, *, at: datetime) -> int:
    """Store a payment before the provider is called; returns its id."""
    payment_id: int = await conn.fetchval(
        INTEND,
        intent.customer_id,
        intent.reference,
        intent.user_id,
        intent.provider,
        intent.kind,
        intent.amount_minor,
        intent.currency,
        intent.unit,
        intent.credits,
        _json(intent.snapshot),
        _json(intent.request),
        intent.description,
        _json(intent.metadata),
        at,
        intent.opening,
    )
    return payment_id


async def opened(
    conn: Connection,
    payment: Payment,
    *,
    session_id: str | None,
    session_url: str | None,
    expires_at: datetime,
    payment_intent_id: str | None,
) -> None:
    """Store what the provider opened: a session, or an intent without one."""
    await conn.execute(
        OPENED,
        payment.customer_id,
        payment.id,
        session_id,
        session_url,
        expires_at,
        payment_intent_id,
    )
    refs = {"session": session_id, "intent": payment_intent_id}
    await add_refs(conn, payment.provider, refs, payment.customer_id, payment.id)


async def not_opened(conn: Connection, payment: Payment, opening: Opening) -> None:
    """Store that the provider refused (`refused`, which ends it) or did not answer (`unknown`)."""
    await conn.execute(ENDED, payment.customer_id, payment.id, opening)


async def save(conn: Connection, row: Row) -> None:
    """Write a merged row back."""
    await conn.execute(
        SAVE,
        row.customer_id,
        row.id,
        row.state,
        row.state_at,
        row.captured_minor,
        _json(row.facts),
        row.session_id,
        row.session_url,
        row.payment_intent_id,
        row.receipt_url,
        row.completed_at,
        row.mismatch,
        row.refunded_minor,
        row.refund_pending_minor,
        row.authorized_minor,
        row.authorized_until,
        row.disputed_minor,
    )


async def reserve_refund(conn: Connection, payment: Payment, amount_minor: int) -> bool:
    """Set an amount aside for a refund and lock the payment; false when it is more than is left."""
    reserved = await conn.fetchval(RESERVE, payment.customer_id, payment.id, amount_minor)
    return reserved is not None


async def find_payment(conn: Connection, payment_id: int) -> Payment | None:
    """A payment of any customer's, by its number."""
    row = await conn.fetchrow(FIND_BY_REF, "bursar", "payment", str(payment_id))
    return payment_of(row) if row else None


async def get_payment(conn: Connection, customer_id: int, payment_id: int) -> Payment:
    """A payment of this customer. Raises NotFound, for another's as for none."""
    row = await conn.fetchrow(GET, customer_id, payment_id)
    if row is None:
        raise errors.NotFound("There is no such payment.")
    return payment_of(row)


async def find_by_session(conn: Connection, provider: str, session_id: str) -> Payment | None:
    """The payment that a provider's checkout session is for."""
    row = await conn.fetchrow(FIND_BY_REF, provider, "session", session_id)
    return payment_of(row) if row else None


async def find_by_intent(conn: Connection, provider: str, intent_id: str) -> Payment | None:
    """The payment that a provider's payment intent is for."""
    row = await conn.fetchrow(FIND_BY_REF, provider, "intent", intent_id)
    return payment_of(row) if row else None


async def find_target(conn: Connection, provider: str, kind: str, ref: str) -> int | None:
    """The number of the payment that a provider's id is remembered for."""
    found: int | None = await conn.fetchval(FIND_TARGET, provider, kind, ref)
    return found


async def find_by_reference(conn: Connection, reference: str) -> Payment | None:
    """The payment under our own reference."""
    row = await conn.fetchrow(FIND_BY_REF, "bursar", "reference", reference)
    return payment_of(row) if row else None


async def list_payments(
    conn: Connection,
    customer_id: int,
    *,
    provider: str | None = None,
    before: int | None = None,
    limit: int,
) -> list[Payment]:
    """A customer's payments newest first, from the one below id `before` on."""
    rows = await conn.fetch(LIST, customer_id, provider, before, limit)
    return [payment_of(row) for row in rows]


async def list_subscribing(
    conn: Connection, customer_id: int, group: str, *, at: datetime, addons: bool = False
) -> list[Payment]:
    """A customer's open checkouts for plans of a group, or for its add-ons, newest first."""
    found = await conn.fetch(LIST_SUBSCRIBING, customer_id, group, at, addons)
    return [payment_of(row) for row in found]


async def shares_back(
    conn: Connection, customer_id: int, payment_ids: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """What went back of payments, and of how much, in minor units; those of which nothing did are
    left out."""
    found = await conn.fetch(SHARES_BACK, customer_id, list(payment_ids))
    return {row["id"]: (row["back"], row["captured_minor"]) for row in found}


async def add_refs(
    conn: Connection,
    provider: str,
    refs: Mapping[str, str | None],
    customer_id: int,
    payment_id: int,
) -> None:
    """Remember the provider's ids by which a payment will be found."""
    present = [(kind, ref) for kind, ref in refs.items() if ref]
    if present:
        kinds, names = [p[0] for p in present], [p[1] for p in present]
        await conn.execute(ADD_REFS, provider, kinds, names, customer_id, payment_id)


def payment_of(row: Record | Mapping[str, Any]) -> Payment:
    """A payment from a row of `COLUMNS`."""
    fields: dict[str, Any] = dict(row)
    facts = orjson.loads(fields.pop("facts"))
    fields.pop("state_at")
    fields["reference"] = str(fields["reference"])
    for name in ("snapshot", "request", "metadata"):
        fields[name] = orjson.loads(fields[name])
    return Payment(**fields, failure=facts.get("failure"))


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value)).decode()
