"""The rows of subscriptions and invoices. Owns subscriptions, invoices and trials.

A row is what the provider said last, by the number of the question; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from bursar import errors
from bursar.billing.payments import Payment
from bursar.db.connections import Connection
from bursar.providers.recurring import (
    Interval,
    InvoiceFact,
    InvoiceLine,
    InvoiceReason,
    InvoiceStatus,
    SubscriptionStatus,
)

COLUMNS = """customer_id, id, provider, subscription_id, user_id, reference, plan, plan_group,
    addon, price_id, item_id, quantity, amount_minor, currency, interval, interval_count, status,
    raw_status, period_start, period_end, trial_start, trial_end, cancel_at, cancel_at_period_end,
    canceled_at, ended_at, resumes_at, past_due_at, read_number, created_at"""

INVOICE_COLUMNS = """customer_id, id, provider, invoice_id, subscription_id, payment_id, number,
    reason, status, currency, total_minor, due_minor, paid_minor, lines, attempts, next_attempt_at,
    failure, needs_action, url, paid_at, read_number, created_at"""

# Messages are numbered by the same: a question's answer has every message of a lower number in it.
NEXT_READ = "select nextval('inbox_messages_id_seq')"

LOCK = f"""
select {COLUMNS} from subscriptions where provider = $1 and subscription_id = $2 for update
"""  # noqa: S608 - the columns are ours, here and below

INSERT = f"""
insert into subscriptions ({COLUMNS.replace(" id,", "", 1)})
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26, $27, $28, $29)
on conflict (provider, subscription_id) do nothing
returning id
"""  # noqa: S608

SAVE = """
update subscriptions set plan = $3, plan_group = $4, addon = $5, price_id = $6, item_id = $7,
    quantity = $8, amount_minor = $9, currency = $10, interval = $11, interval_count = $12,
    status = $13, raw_status = $14, period_start = $15, period_end = $16, trial_start = $17,
    trial_end = $18, cancel_at = $19, cancel_at_period_end = $20, canceled_at = $21, ended_at = $22,
    resumes_at = $23, past_due_at = $24, read_number = $25
where customer_id = $1 and id = $2
"""

FIND = f"""
select {COLUMNS} from subscriptions where provider = $1 and subscription_id = $2
"""  # noqa: S608

GET = f"select {COLUMNS} from subscriptions where customer_id = $1 and id = $2"  # noqa: S608

LIST = f"""
select {COLUMNS} from subscriptions
where customer_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3
"""  # noqa: S608

LIST_LIVE = f"""
select {COLUMNS} from subscriptions
where customer_id = $1 and status <> 'canceled' and status <> 'incomplete'
order by created_at, id
"""  # noqa: S608

LIST_ALL = f"""
select {COLUMNS} from subscriptions
where ($1::bigint is null or id < $1) and ($2::text is null or status = $2)
order by id desc limit $3
"""  # noqa: S608

PUT_INVOICE = """
insert into invoices as i (customer_id, provider, invoice_id, subscription_id, number, reason,
    status, currency, total_minor, due_minor, paid_minor, lines, attempts, next_attempt_at, failure,
    needs_action, url, paid_at, read_number, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb, $13, $14, $15, $16, $17, $18, $19,
    $20)
on conflict (provider, invoice_id) do update set number = excluded.number, status = excluded.status,
    total_minor = excluded.total_minor, due_minor = excluded.due_minor,
    paid_minor = excluded.paid_minor, lines = excluded.lines, attempts = excluded.attempts,
    next_attempt_at = excluded.next_attempt_at, failure = excluded.failure,
    needs_action = excluded.needs_action, url = excluded.url, paid_at = excluded.paid_at,
    read_number = excluded.read_number
where i.read_number < excluded.read_number
    and (i.status not in ('paid', 'void') or i.status = excluded.status)
"""

TAKEN = "select id from invoices where customer_id = $1 and payment_id = $2"

SET_PAYMENT = "update invoices set payment_id = $3 where customer_id = $1 and id = $2"

LIST_INVOICES = f"""
select {INVOICE_COLUMNS} from invoices where customer_id = $1 and subscription_id = $2
order by created_at, id
"""  # noqa: S608

LATEST_INVOICES = f"""
select {INVOICE_COLUMNS} from invoices
where customer_id = $1 and ($2::bigint is null or subscription_id = $2)
order by created_at desc, id desc limit $3
"""  # noqa: S608

FIND_OPEN = f"""
select {INVOICE_COLUMNS} from invoices
where customer_id = $1 and subscription_id = $2 and status = 'open'
order by created_at desc, id desc limit 1
"""  # noqa: S608

LATEST = 10
"""How many invoices an answer has, the newest, and the one that was asked for."""

TRY = """
insert into trials (user_id, plan_group, customer_id, subscription_id, created_at)
values ($1, $2, $3, $4, $5)
on conflict (user_id, plan_group) do nothing
"""

HAD = """
select customer_id = $3 and subscription_id = $4 as own from trials
where user_id = $1 and plan_group = $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as it was last read. Amounts in minor units, of one of `quantity`."""

    customer_id: int
    id: int
    provider: str
    subscription_id: str
    user_id: str | None
    reference: str | None
    plan: str | None
    plan_group: str | None
    addon: bool
    price_id: str
    item_id: str
    quantity: int
    amount_minor: int
    currency: str
    interval: Interval
    interval_count: int
    status: SubscriptionStatus
    raw_status: str
    period_start: datetime
    period_end: datetime
    trial_start: datetime | None
    trial_end: datetime | None
    cancel_at: datetime | None
    cancel_at_period_end: bool
    canceled_at: datetime | None
    ended_at: datetime | None
    resumes_at: datetime | None
    past_due_at: datetime | None
    """Since when an invoice of it is owed."""
    read_number: int
    created_at: datetime

    @property
    def live(self) -> bool:
        """Whether it runs, or may again: neither ended nor never begun."""
        return self.status not in ("canceled", "incomplete")

    @property
    def renews(self) -> bool:
        """Whether another period is to be expected when this one ends."""
        return self.status in ("trialing", "active", "past_due") and self.cancel_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice of a subscription as it was last read."""

    customer_id: int
    id: int
    provider: str
    invoice_id: str
    subscription_id: int
    payment_id: int | None
    number: str | None
    reason: InvoiceReason
    status: InvoiceStatus
    currency: str
    total_minor: int
    due_minor: int
    paid_minor: int
    lines: tuple[InvoiceLine, ...]
    attempts: int
    next_attempt_at: datetime | None
    failure: str | None
    needs_action: bool
    url: str | None
    paid_at: datetime | None
    read_number: int
    created_at: datetime


async def next_read(conn: Connection) -> int:
    """The number of a question that is about to be asked."""
    return int(await conn.fetchval(NEXT_READ))


async def lock(conn: Connection, provider: str, subscription_id: str) -> Subscription | None:
    """A subscription by the provider's id, locked."""
    row = await conn.fetchrow(LOCK, provider, subscription_id)
    return _subscription(row) if row else None


async def insert(conn: Connection, fields: Mapping[str, Any]) -> int | None:
    """A new row; its id, or None when another transaction made it just now."""
    names = [name.strip() for name in COLUMNS.split(",")]
    values = [fields[name] for name in names if name != "id"]
    made: int | None = await conn.fetchval(INSERT, *values)
    return made


async def save(conn: Connection, row: Subscription) -> None:
    """Write a row back."""
    await conn.execute(
        SAVE,
        row.customer_id,
        row.id,
        row.plan,
        row.plan_group,
        row.addon,
        row.price_id,
        row.item_id,
        row.quantity,
        row.amount_minor,
        row.currency,
        row.interval,
        row.interval_count,
        row.status,
        row.raw_status,
        row.period_start,
        row.period_end,
        row.trial_start,
        row.trial_end,
        row.cancel_at,
        row.cancel_at_period_end,
        row.canceled_at,
        row.ended_at,
        row.resumes_at,
        row.past_due_at,
        row.read_number,
    )


async def find(conn: Connection, provider: str, subscription_id: str) -> Subscription | None:
    """A subscription by the provider's id."""
    row = await conn.fetchrow(FIND, provider, subscription_id)
    return _subscription(row) if row else None


async def get(conn: Connection, customer_id: int, row_id: int) -> Subscription:
    """A subscription of this customer. Raises NotFound, for another's as for none."""
    row = await conn.fetchrow(GET, customer_id, row_id)
    if row is None:
        raise errors.NotFound("There is no such subscription.")
    return _subscription(row)


async def list_for(
    conn: Connection, customer_id: int, *, before: int | None = None, limit: int
) -> list[Subscription]:
    """A customer's subscriptions, newest first, ended ones too."""
    return [_subscription(r) for r in await conn.fetch(LIST, customer_id, before, limit)]


async def list_live(conn: Connection, customer_id: int) -> list[Subscription]:
    """A customer's subscriptions that live, oldest first."""
    return [_subscription(row) for row in await conn.fetch(LIST_LIVE, customer_id)]


async def list_all(
    conn: Connection, *, before: int | None, status: SubscriptionStatus | None, limit: int
) -> list[Subscription]:
    """Everybody's, newest first."""
    return [_subscription(row) for row in await conn.fetch(LIST_ALL, before, status, limit)]


async def put_invoice(
    conn: Connection, row: Subscription, fact: InvoiceFact, *, number: int
) -> None:
    """Store an invoice as it was read, unless it was read later already."""
    await conn.execute(
        PUT_INVOICE,
        row.customer_id,
        row.provider,
        fact.invoice_id,
        row.id,
        fact.number,
        fact.reason,
        fact.status,
        fact.currency,
        fact.total_minor,
        fact.due_minor,
        fact.paid_minor,
        orjson.dumps([asdict(line) for line in fact.lines]).decode(),
        fact.attempts,
        fact.next_attempt_at,
        fact.failure,
        fact.needs_action,
        fact.url,
        fact.paid_at,
        number,
        fact.created_at,
    )


async def is_taken(conn: Connection, payment: Payment) -> bool:
    """Whether a payment is the money of an invoice already."""
    return await conn.fetchval(TAKEN, payment.customer_id, payment.id) is not None


async def set_payment(conn: Connection, invoice: Invoice, payment_id: int) -> None:
    """Remember which payment is this invoice's money."""
    await conn.execute(SET_PAYMENT, invoice.customer_id, invoice.id, payment_id)


async def list_invoices(conn: Connection, row: Subscription) -> list[Invoice]:
    """All invoices of a subscription, oldest first."""
    return [_invoice(r) for r in await conn.fetch(LIST_INVOICES, row.customer_id, row.id)]


async def latest_invoices(
    conn: Connection, customer_id: int, row_id: int | None, *, limit: int
) -> list[Invoice]:
    """The latest invoices of a customer, or of one subscription, newest first."""
    found = await conn.fetch(LATEST_INVOICES, customer_id, row_id, limit)
    return [_invoice(row) for row in found]


async def find_open_invoice(conn: Connection, row: Subscription) -> Invoice | None:
    """The latest invoice of a subscription that waits for its money."""
    found = await conn.fetchrow(FIND_OPEN, row.customer_id, row.id)
    return _invoice(found) if found else None


async def is_read_since(
    conn: Connection, provider: str, subscription_id: str, invoice_id: str | None, number: int
) -> bool:
    """Whether a subscription, and this invoice of it, was asked about after a message came."""
    row = await find(conn, provider, subscription_id)
    if row is None or row.read_number <= number:
        return False
    latest = await latest_invoices(conn, row.customer_id, row.id, limit=LATEST)
    return invoice_id is None or invoice_id in [invoice.invoice_id for invoice in latest]


async def had_trial(conn: Connection, user_id: str, group: str) -> bool:
    """Whether a person has had the trial of a group of plans."""
    return await conn.fetchrow(HAD, user_id, group, 0, 0) is not None


async def begin_trial(
    conn: Connection, row: Subscription, user_id: str, group: str, *, at: datetime
) -> bool:
    """Count this subscription as a person's trial; whether it is, and no other was before."""
    await conn.execute(TRY, user_id, group, row.customer_id, row.id, at)
    return bool(await conn.fetchval(HAD, user_id, group, row.customer_id, row.id))


def _subscription(row: Any) -> Subscription:
    fields = dict(row)
    if isinstance(fields["reference"], UUID):
        fields["reference"] = str(fields["reference"])
    return Subscription(**fields)


def _invoice(row: Any) -> Invoice:
    fields = dict(row)
    lines: Sequence[dict[str, Any]] = orjson.loads(fields.pop("lines"))
    return Invoice(**fields, lines=tuple(_line(line) for line in lines))


def _line(fields: Mapping[str, Any]) -> InvoiceLine:
    times = {name: datetime.fromisoformat(fields[name]) for name in ("period_start", "period_end")}
    return InvoiceLine(**{**fields, **times})
