"""Subscriptions that are nobody's: they wait in a case until somebody says whose they are.

One made at the provider for a customer whom we do not know. Its case closes itself once an owner is
found. It gives nothing to anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bursar.billing import cases
from bursar.billing.strangers import LOOK_ONCE_MORE, MATCH_TIMER
from bursar.billing.subscriptions.merge import Read
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.recurring import SubscriptionFact

FOUND = "Its owner was found."


async def wait(conn: Connection, strays: Sequence[SubscriptionFact], *, at: datetime) -> None:
    """Open a case for each that has not ended, and look once more soon: somebody may be verifying
    the address in a transaction that is not seen from here yet."""
    living = [fact for fact in strays if fact.status not in ("canceled", "incomplete")]
    await cases.open_cases(conn, [_case(fact) for fact in living], at=at)
    for fact in living:
        if fact.email:
            due_at = at + LOOK_ONCE_MORE
            await timers.schedule(conn, MATCH_TIMER, _case(fact).reference, due_at=due_at, at=at)


async def close_cases(conn: Connection, read: Sequence[Read], *, at: datetime) -> None:
    """Close the cases of subscriptions that belong to somebody now."""
    for one in read:
        if one.before is None:
            reference = f"{one.row.provider}:subscription:{one.row.subscription_id}"
            await cases.close(
                conn,
                "unmatched",
                [reference],
                FOUND,
                customer_id=one.row.customer_id,
                payment_id=None,
                at=at,
            )


def _case(fact: SubscriptionFact) -> cases.Opening:
    item = fact.items[0]
    return cases.Opening(
        kind="unmatched",
        reference=f"{fact.provider}:subscription:{fact.subscription_id}",
        amount_minor=item.amount_minor * item.quantity,
        currency=fact.currency,
        summary=f"A subscription runs at {fact.provider} for a customer whom Bursar does not know.",
        detail={
            "provider": fact.provider,
            "subscription_id": fact.subscription_id,
            "provider_customer_id": fact.provider_customer_id,
            "email": fact.email,
            "price_id": item.price_id,
        },
    )
