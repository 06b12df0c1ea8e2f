"""Who may begin a subscription: one of each group lives, and one checkout for it is open.

Asked in the transaction that begins a checkout, with the customer locked, so that of two tabs the
second sees the first. A checkout for something else of the group is closed at the provider before
another is opened; what was paid there meanwhile counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bursar import errors
from bursar.billing import asking, customers, payments, settle
from bursar.billing.orders import Priced
from bursar.billing.payments import Payment
from bursar.billing.rules import USUAL, Rules
from bursar.billing.subscriptions import guard
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.port import Provider


@dataclass(frozen=True, slots=True)
class Admitted:
    """What stands in the way: `same` is an open checkout for the very same, which is returned;
    `others` are open checkouts of the group, which are to be closed."""

    same: Payment | None
    others: Sequence[Payment]


ADMITTED = Admitted(None, ())


async def admit(
    conn: Connection, customer_id: int, provider: str, priced: Priced, *, at: datetime
) -> Admitted:
    """Whether a subscription may begin. Locks the customer. Raises AlreadySubscribed."""
    wanted = priced.subscribes
    if wanted is None:
        return ADMITTED
    await customers.lock(conn, customer_id)
    if not wanted.addon:
        await refuse_second(conn, customer_id, wanted.group)
    open_now = await payments.list_subscribing(
        conn, customer_id, wanted.group, at=at, addons=wanted.addon
    )
    same = next((p for p in open_now if p.provider == provider and _same(p, priced)), None)
    others = [] if wanted.addon else [payment for payment in open_now if payment is not same]
    return Admitted(same, others)


async def refuse_second(conn: Connection, customer_id: int, group: str) -> None:
    """Raise AlreadySubscribed when the customer has a subscription of a group."""
    live = await guard.find_live(conn, customer_id, group)
    if live is not None:
        raise errors.AlreadySubscribed(
            f"This customer has the plan {live.plan!r} ({live.status}). Change it with PATCH "
            "/api/subscription, or cancel it first.",
            subscription_id=live.id,
        )


async def close_others(
    db: Database,
    provider: Provider,
    others: Sequence[Payment],
    group: str,
    *,
    clock: Clock,
    rules: Rules = USUAL,
) -> None:
    """Close open checkouts at the provider, so that nobody pays there any more.

    Raises AlreadySubscribed when one of them was paid just now, and the provider's failures.
    """
    for payment in others:
        if payment.provider == provider.name:
            await _close(db, provider, payment, clock=clock, rules=rules)
    if others:
        async with db.connection() as conn:
            await refuse_second(conn, others[0].customer_id, group)


async def give_way(
    db: Database, provider: Provider, payment: Payment, *, clock: Clock, rules: Rules = USUAL
) -> Payment:
    """Close a checkout that was opened just now, if one for another plan of its group was begun
    after it, or the group's subscription lives by now. Returns it as it stands then.

    Who began after it could not close it, for it was not open yet. Raises the provider's failures.
    """
    group = payment.snapshot.get("plan_group")
    if group is None or payment.snapshot.get("addon"):
        return payment
    async with db.connection() as conn:
        open_now = await payments.list_subscribing(conn, payment.customer_id, group, at=clock.now())
        live = await guard.find_live(conn, payment.customer_id, group)
    newer = [p for p in open_now if p.id > payment.id and p.provider == payment.provider]
    if not newer and (live is None or live.reference == payment.reference):
        return payment
    await _close(db, provider, payment, clock=clock, rules=rules)
    async with db.connection() as conn:
        return await payments.get_payment(conn, payment.customer_id, payment.id)


async def _close(
    db: Database, provider: Provider, payment: Payment, *, clock: Clock, rules: Rules
) -> None:
    """Have nobody pay there any more; what was paid meanwhile is settled."""
    if payment.session_id is None:
        return
    with contextlib.suppress(errors.ProviderRejected):
        await provider.expire_checkout(payment.session_id)
    missing = settle.FactsMissing(payment.session_id, None, payment.reference)
    await asking.take(db, await asking.ask(db, provider, missing), clock=clock, rules=rules)


def _same(payment: Payment, priced: Priced) -> bool:
    """Whether an open checkout is for the very same."""
    snapshot: Any = priced.snapshot()
    told = ("lines", "currency", "subtotal_minor", "discount_minor", "coupon")
    return all(payment.snapshot.get(name) == snapshot.get(name) for name in told)
