"""Credits that payments bring: what the merged facts entitle to, less what was posted.

Decides amounts and causes, and what becomes of credits that a refund takes and nobody has any
more; the ledger moves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from bursar.billing import expiry
from bursar.billing.payment_facts import Row, Sums, credits_due
from bursar.billing.rules import OfSpent
from bursar.db.connections import Connection
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Filled, Posting


async def granted(conn: Connection, rows: Sequence[Row]) -> dict[int, int]:
    """The credits that each payment has brought so far, by payment id."""
    customers, ids = [row.customer_id for row in rows], [row.id for row in rows]
    return await entries.posted_for_payments(
        conn, customers, ids, types=["purchase", "subscription"]
    )


async def grant(
    conn: Connection, rows: Sequence[Row], posted: Mapping[int, int], *, at: datetime
) -> int:
    """Post what each payment is due beyond `posted`, once for each sum captured; returns how many
    were."""
    due = {row.id: credits_due(row) for row in rows if row.unit is not None}
    postings = [
        Posting(
            customer_id=row.customer_id,
            unit=row.unit or "",
            type="purchase",
            amount=due[row.id] - posted.get(row.id, 0),
            cause=Cause("capture", f"{row.reference}:{row.captured_minor}", "grant"),
            payment_id=row.id,
            description=row.snapshot.get("name"),
        )
        for row in rows
        if due.get(row.id, 0) > posted.get(row.id, 0)
    ]
    made = await entries.post(conn, postings, at=at)
    return sum(answer.outcome == "posted" for answer in made)


def to_take_back(granted: int, reversed_minor: int, captured_minor: int) -> int:
    """Credits that go with so much money: its share of those granted, rounded up, at most all."""
    if captured_minor == 0:
        return 0
    return max(0, min(granted, -(-granted * reversed_minor // captured_minor)))


async def take_back(
    conn: Connection, payments: Sequence[Sums], *, at: datetime, of_spent: OfSpent = "debt"
) -> None:
    """Post what refunds and disputes ask for, less what was posted: take, give back, hold, release.

    What they settle is taken from the credits the payment brought, the rest is owed, or forgiven;
    what is pending is held if it is there. The cause counts how far the payment's reversals have
    come, a number that only grows, so that each step posts once.
    """
    concerned = [sums for sums in payments if sums.version and sums.row.unit]
    if not concerned:
        return
    rows = [sums.row for sums in concerned]
    granted_by_id = await granted(conn, rows)
    customers, ids = [row.customer_id for row in rows], [row.id for row in rows]
    taken = await entries.posted_for_payments(conn, customers, ids, types=["refund"])
    held = await entries.posted_for_payments(conn, customers, ids, types=["hold", "release"])
    filled = await _filled(conn, rows)
    postings: list[Posting] = []
    for sums in concerned:
        row, plan = sums.row, filled.get(sums.row.id)
        given = granted_by_id.get(row.id, 0)
        target = to_take_back(given, sums.settled_minor, row.captured_minor)
        to_hold = to_take_back(given, sums.reserved_minor, row.captured_minor) - target
        if plan is not None:
            # What ended unused is gone already, but for what was taken before; what a plan brought
            # is not held back meanwhile.
            gone, had = plan.ended_of(given), -taken.get(row.id, 0)
            target, to_hold = max(target - gone, min(target, had)), 0
        change = -taken.get(row.id, 0) - target
        # Holds go first when they shrink and last when they grow: what is held can be taken.
        held_now = -held.get(row.id, 0)
        if held_now > to_hold:
            postings.append(_reversal(sums, "release", held_now - to_hold))
        if change:
            postings.append(_taken(sums, plan, change, forgive=of_spent == "forgive"))
        if held_now < to_hold:
            postings.append(_reversal(sums, "hold", held_now - to_hold))
    await entries.post(conn, postings, at=at)
    for sums in concerned:
        plan = filled.get(sums.row.id)
        if plan is not None and plan.expires_at is not None:
            # What a refund that failed gives back to a period that is over ends there.
            account = expiry.Account(sums.row.customer_id, sums.row.unit or "", "plan", plan.source)
            await expiry.schedule(conn, account, ends_at=plan.expires_at, at=at)


async def _filled(conn: Connection, rows: Sequence[Row]) -> Mapping[int, Filled]:
    """The accounts that payments of subscriptions filled; others have none."""
    of_plans = [row for row in rows if "subscribes" in row.snapshot]
    if not of_plans:
        return {}
    return await entries.filled_by_payments(
        conn, [row.customer_id for row in of_plans], [row.id for row in of_plans]
    )


def _taken(sums: Sums, plan: Filled | None, change: int, *, forgive: bool) -> Posting:
    """What is taken, or given back, to the account that the payment filled."""
    posting = _reversal(sums, "refund", change)
    if plan is not None:
        posting = replace(posting, pool="plan", source=plan.source)
    return replace(posting, pool="forgiven") if forgive and change < 0 else posting


def _step(sums: Sums) -> str:
    return f"{sums.row.reference}:{sums.row.captured_minor}:{sums.version}"


def _reversal(sums: Sums, kind: Literal["refund", "hold", "release"], amount: int) -> Posting:
    row = sums.row
    return Posting(
        customer_id=row.customer_id,
        unit=row.unit or "",
        type=kind,
        amount=amount,
        cause=Cause("reversal", _step(sums), kind),
        source="" if kind == "refund" else f"payment:{row.id}",
        payment_id=row.id,
        description=row.snapshot.get("name"),
    )
