"""Money that banks hold for orders under review: what is to be done as its end comes near.

Decides when somebody is told that an authorisation is about to lapse, when the provider is asked
what became of it, and that the provider's own records are to say how an order ended. It moves no
money and calls nobody: captures does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bursar.billing import events, merging, payments
from bursar.billing.payment_facts import Row
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import outbox, timers
from bursar.providers.port import Provider

EXPIRING_TIMER = "order.expiring"
LAPSE_TIMER = "order.lapse"
LABEL_TIMER = "order.label"
AHEAD = timedelta(hours=24)
"""How long before its end an authorisation is announced."""
ASK_AFTER = timedelta(minutes=5)
"""How long after its end the provider is asked, if no message told us."""
WORDS = {"completed": "captured", "canceled": "canceled", "expired": "expired"}
"""What the provider's metadata says of an order, by the state that it ended in."""


async def follow(
    conn: Connection, before: Sequence[Row], rows: Sequence[Row], *, at: datetime
) -> None:
    """Set the timers that follow from what payments have become; each given as it was and is."""
    for was, row in zip(before, rows, strict=True):
        if row.authorized_until is None:
            continue
        until = (row.state, row.authorized_until)
        if row.state == "authorized" and until != (was.state, was.authorized_until):
            for kind, due_at in (
                (EXPIRING_TIMER, row.authorized_until - AHEAD),
                (LAPSE_TIMER, row.authorized_until + ASK_AFTER),
            ):
                await timers.schedule(conn, kind, row.reference, due_at=due_at, at=at)
        elif row.state in WORDS and row.state != was.state:
            for kind in (EXPIRING_TIMER, LAPSE_TIMER):
                await timers.cancel(conn, kind, row.reference)
            await timers.schedule(conn, LABEL_TIMER, row.reference, due_at=at, at=at)


async def announce(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: tell once that an authorisation is about to lapse.

    Returns when to look again, where it ends later than was thought.
    """

    async def work(conn: Connection) -> datetime | None:
        payment = await payments.find_by_reference(conn, reference)
        if payment is None:
            return None
        # Under the lock nobody captures it meanwhile.
        row = (await merging.lock(conn, payment.customer_id, payment.id)).rows[0]
        if row.state != "authorized" or row.authorized_until is None:
            return None
        if clock.now() < row.authorized_until - AHEAD:
            return row.authorized_until - AHEAD
        await outbox.emit(conn, [events.authorization_expiring(row)], at=clock.now())
        return None

    return await db.run(work)
