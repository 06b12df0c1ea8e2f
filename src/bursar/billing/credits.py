"""Credits that payments bring: what the merged facts entitle to, less what was posted.

Decides amounts and causes; the ledger moves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bursar.billing.payment_facts import Row, credits_due
from bursar.db.connections import Connection
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting


async def grant(conn: Connection, rows: Sequence[Row], *, at: datetime) -> int:
    """Post what each payment is still due, once for each sum captured; returns how many posted."""
    due = {row.id: credits_due(row) for row in rows if row.unit is not None}
    due = {payment_id: amount for payment_id, amount in due.items() if amount}
    if not due:
        return 0
    paid = [row for row in rows if row.id in due]
    posted = await entries.posted_for_payments(
        conn, [row.customer_id for row in paid], list(due), types=["purchase"]
    )
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
        for row in paid
        if due[row.id] > posted.get(row.id, 0)
    ]
    made = await entries.post(conn, postings, at=at)
    return sum(answer.outcome == "posted" for answer in made)
