"""Asking the provider how things stand, with no transaction open.

Each question about a subscription has a number, taken before it is asked: of two answers that of
the later question counts, whichever comes first. Writes nothing but that number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bursar.billing import settle
from bursar.billing.rules import USUAL, Rules
from bursar.billing.settle import FactsMissing
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Subscription
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.port import Provider, Told
from bursar.providers.recurring import SubscriptionFact


async def ask(db: Database, provider: Provider, missing: FactsMissing) -> list[Told]:
    """All that the provider knows of what a message was about.

    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown.
    """
    number = await next_read(db)
    if missing.news is not None:
        found = await provider.fetch_subscription(
            subscription_id=missing.news.subscription_id, invoice_id=missing.news.invoice_id
        )
        return numbered([found] if found else [], number)
    told = await provider.fetch_payment(
        session_id=missing.session_id,
        payment_intent_id=missing.payment_intent_id,
        reference=missing.reference,
    )
    return numbered(told, number)


async def read(
    db: Database, provider: Provider, row: Subscription, *, clock: Clock, rules: Rules = USUAL
) -> Subscription:
    """A subscription as the provider has it now, settled.

    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown.
    """
    number = await next_read(db)
    found = await provider.fetch_subscription(subscription_id=row.subscription_id)
    await take(db, numbered([found] if found else [], number), clock=clock, rules=rules)
    async with db.connection() as conn:
        return await rows.get(conn, row.customer_id, row.id)


async def take(db: Database, told: Sequence[Told], *, clock: Clock, rules: Rules = USUAL) -> None:
    """Settle what was answered, in a transaction of its own."""

    async def work(conn: Connection) -> None:
        await settle.settle(conn, told, at=clock.now(), fetched=True, rules=rules)

    await db.run(work)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: ask how a subscription stands. Settling sets the next time itself.

    Raises the provider's failures: the timer tries again.
    """
    name, _, subscription_id = reference.partition(":")
    async with db.connection() as conn:
        row = await rows.find(conn, name, subscription_id)
    if row is not None and name in providers:
        await read(db, providers[name], row, clock=clock, rules=rules)
    return None


async def next_read(db: Database) -> int:
    """The number of a question that is about to be asked."""
    async with db.connection() as conn:
        return await rows.next_read(conn)


def numbered(told: Sequence[Told], number: int) -> list[Told]:
    """The answer to the question of that number."""
    return [
        replace(fact, read=number) if isinstance(fact, SubscriptionFact) else fact for fact in told
    ]
