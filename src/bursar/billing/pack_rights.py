"""What packs entitle to: given when a pack is paid in full, ended when it is refunded whole.

Reckoned from the payment's rows each time, as credits are, so that doubled and late messages end
the same. A feature has no parts: of an order that was captured in part the credits come in
proportion, the features not at all. The order's snapshot says what was bought, whatever the
catalogue says by now; buying a pack twice over entitles to no more than buying it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bursar.billing import entitlements, rights
from bursar.billing.entitlements import Grant, Source
from bursar.billing.payment_facts import Row, credits_due, paid_in_full
from bursar.db import Connection


async def follow(conn: Connection, rows: Sequence[Row], *, at: datetime) -> None:
    """Give and end what these payments entitle to, as they now stand. `at` is business time."""
    packs = [row for row in rows if row.snapshot.get("rights") and "plan" not in row.snapshot]
    bought = [row for row in packs if credits_due(row) > 0]
    ended = [row for row in bought if 0 < row.captured_minor <= row.refunded_minor]
    given = [
        Grant(_source(row), right, starts_at=at)
        for row in bought
        if paid_in_full(row) and row not in ended
        for right in rights.from_json(row.snapshot["rights"])
    ]
    await entitlements.grant(conn, given, at=at)
    await entitlements.end(conn, [_source(row) for row in ended], at=at)


def _source(row: Row) -> Source:
    return Source(row.customer_id, "pack", row.reference)
