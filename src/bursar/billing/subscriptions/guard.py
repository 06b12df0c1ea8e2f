"""One live subscription of a group for each customer: who has it, and what if there are two.

Opening a second is refused before the provider is called. Two are found anyway when two checkouts
were paid at once, or somebody made one at the provider: a person is told, or by setting the later
one is canceled and refunded. Add-ons may run beside others, and so may what runs at another
provider, or is about to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bursar.billing import cases, customers
from bursar.billing.rules import Rules
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.follow import name
from bursar.billing.subscriptions.merge import Read
from bursar.billing.subscriptions.rows import Subscription
from bursar.db.connections import Connection
from bursar.messages import timers

RESOLVE_TIMER = "subscription.duplicate"
GONE = "One of the two has ended."


async def find_live(conn: Connection, customer_id: int, group: str) -> Subscription | None:
    """The subscription of a group that a customer has, if one lives."""
    live = [row for row in await rows.list_live(conn, customer_id) if _counts(row, group)]
    return live[0] if live else None


async def watch(conn: Connection, read: Sequence[Read], *, at: datetime, rules: Rules) -> None:
    """Open a case for each subscription that is one too many, and close those that are not."""
    touched = {(one.row.customer_id, one.row.plan_group) for one in read if one.row.plan_group}
    for customer_id, group in sorted((c, g) for c, g in touched if g is not None):
        # Of two that are stored at once the second sees the first.
        await customers.lock(conn, customer_id)
        live = [row for row in await rows.list_live(conn, customer_id) if _counts(row, group)]
        firsts: dict[str, Subscription] = {}
        extra = [row for row in live if firsts.setdefault(row.provider, row) is not row]
        await cases.open_cases(conn, [_case(firsts[row.provider], row) for row in extra], at=at)
        if rules.of_duplicates == "cancel":
            for row in extra:
                await timers.schedule(conn, RESOLVE_TIMER, name(row), due_at=at, at=at)
        others = [one.row for one in read if one.row.plan_group == group and one.row not in extra]
        # Whichever of the two has ended: the case bears the name of the later one.
        if not extra:
            everything = await rows.list_for(conn, customer_id, limit=100)
            others += [row for row in everything if row.plan_group == group]
        references = sorted({_reference(row) for row in others})
        await cases.close(
            conn, "duplicate", references, GONE, customer_id=customer_id, payment_id=None, at=at
        )


def is_extra(row: Subscription, live: Sequence[Subscription]) -> bool:
    """Whether a subscription is one too many among all that live, which come oldest first."""
    group = row.plan_group or ""
    of_group = [r for r in live if _counts(r, group) and r.provider == row.provider]
    return row.id in [other.id for other in of_group[1:]]


def _counts(row: Subscription, group: str) -> bool:
    return row.plan_group == group and not row.addon and row.live and row.cancel_at is None


def _reference(row: Subscription) -> str:
    return f"subscription:{name(row)}"


def _case(first: Subscription, row: Subscription) -> cases.Opening:
    return cases.Opening(
        kind="duplicate",
        reference=_reference(row),
        customer_id=row.customer_id,
        amount_minor=row.amount_minor * row.quantity,
        currency=row.currency,
        summary=f"A second subscription ({row.plan}) runs beside {first.plan}: the customer pays "
        "for both. Cancel and refund one of them.",
        detail={
            "provider": row.provider,
            "subscription_id": row.subscription_id,
            "first_subscription_id": first.subscription_id,
            "plan": row.plan,
            "plan_group": row.plan_group,
        },
    )
