"""Orders under review as the people who decide see them: money held, until when, for whom.

Reads alone. An order is a payment whose money was held for a capture by hand, whatever has become
of it since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from asyncpg import Record

from bursar import errors
from bursar.billing import order_decisions, payments
from bursar.billing.order_decisions import Decision
from bursar.billing.payments import Payment
from bursar.db.connections import Connection

OrderState = Literal["authorized", "completed", "canceled", "expired"]

# A customer's first order is the one before which no money was taken of them.
ORDERS = f"""
select {payments.COLUMNS}, u.email as user_email, u.name as user_name,
    not exists (select from payments o where o.customer_id = p.customer_id and o.id < p.id
        and o.captured_minor > 0) as first_order,
    (p.facts ->> 'authorized_at')::timestamptz as authorized_at,
    (select count(*) from reversals r
        where r.customer_id = p.customer_id and r.kind = 'dispute') as disputes
from payments p left join users u on u.id = p.user_id
where p.authorized_until is not null
"""  # noqa: S608 - the columns are a constant

OF_THE_CUSTOMER = ("user_email", "user_name", "first_order", "authorized_at", "disputes")

# What waits is listed by its end, the nearest first; what is over, the latest first.
WAITING = f"""
{ORDERS} and p.state = $1
    and ($2::timestamptz is null or (p.authorized_until, p.id) > ($2, $3))
order by p.authorized_until, p.id limit $4
"""

OVER = f"""
{ORDERS} and p.state = $1
    and ($2::timestamptz is null or (p.authorized_until, p.id) < ($2, $3))
order by p.authorized_until desc, p.id desc limit $4
"""

GET = f"{ORDERS} and p.customer_id = $1 and p.id = $2"

COUNT = """
select count(*) from payments where authorized_until is not null and state = 'authorized'
"""


@dataclass(frozen=True, slots=True)
class Order:
    """A payment under review. `disputes` counts all that this customer ever opened."""

    payment: Payment
    user_email: str | None
    user_name: str | None
    first_order: bool
    authorized_at: datetime | None
    """When the bank first held the money."""
    disputes: int
    decision: Decision | None
    """The newest decision, whatever became of it."""

    @property
    def place(self) -> tuple[datetime, int]:
        """By what orders are sorted."""
        assert self.payment.authorized_until is not None  # noqa: S101 - the query says so
        return self.payment.authorized_until, self.payment.id

    @property
    def deciding(self) -> bool:
        """Whether somebody has decided, and the provider has not said yet what became of it."""
        waiting = self.decision is not None and self.decision.open
        return waiting and self.payment.state == "authorized"


async def list_orders(
    conn: Connection,
    state: OrderState = "authorized",
    *,
    beyond: tuple[datetime, int] | None = None,
    limit: int,
) -> list[Order]:
    """Orders in one state, from the one beyond a place on."""
    query = WAITING if state == "authorized" else OVER
    until, payment_id = beyond or (None, None)
    return await _orders(conn, await conn.fetch(query, state, until, payment_id, limit))


async def get_order(conn: Connection, payment_id: int) -> Order:
    """The order of a payment. Raises NotFound for none, and for one that was never held."""
    payment = await payments.find_payment(conn, payment_id)
    rows = await conn.fetch(GET, payment.customer_id, payment.id) if payment else []
    if not rows:
        raise errors.NotFound("There is no such order.")
    return (await _orders(conn, rows))[0]


async def count_waiting(conn: Connection) -> int:
    """How many orders wait for a decision."""
    return int(await conn.fetchval(COUNT))


async def _orders(conn: Connection, rows: Sequence[Record]) -> list[Order]:
    decisions = await order_decisions.latest(
        conn, [row["customer_id"] for row in rows], [row["id"] for row in rows]
    )
    found = []
    for row in rows:
        fields = dict(row)
        more = {name: fields.pop(name) for name in OF_THE_CUSTOMER}
        payment = payments.payment_of(fields)
        found.append(Order(payment=payment, decision=decisions.get(payment.id), **more))
    return found
