"""Credits that payments bring: what the merged facts entitle to, less what was posted.

Decides amounts and causes; the ledger moves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bursar.billing.payment_facts import Row, credits_due
from bursar.db.connections import Connection
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting


async def granted(conn: Connection, rows: Sequence[Row]) -> dict[int, int]:
    """The credits that each payment has brought so far, by payment id."""
    customers, ids = [row.customer_id for row in rows], [row.id for row in rows]
    return await entries.posted_for_payments(conn, customers, ids, types=["purchase"])


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
