"""The deliveries table: which event is owed to which endpoint, and what has become of it.

Owns its rows before and after the sending, and the faults that befall them. Never sends anything:
`delivery` does.
"""

from __future__ import annotations

import time
from typing import Any

from bursar_sandbox.store import Store, Transaction


def owe(tx: Transaction, event_id: str, endpoint_id: str) -> None:
    """Owe the event to the endpoint, as often and as soon as the faults in force allow."""
    for post in tx.store.faults.for_webhook():
        row = tx.execute(
            "INSERT INTO deliveries (event_id, endpoint_id, state, next_at) VALUES (?, ?, ?, ?)",
            (
                event_id,
                endpoint_id,
                "dropped" if post.dropped else "pending",
                time.time() + post.wait_seconds,
            ),
        )
        if post.forged:
            tx.execute("INSERT INTO forgeries VALUES (?)", (row.lastrowid,))
        tx.owed = True


def listed(store: Store, limit: int) -> list[dict[str, Any]]:
    """The latest deliveries, newest first."""
    cursor = store.read(
        "SELECT d.id, d.event_id, e.label AS type, d.endpoint_id, w.body ->> '$.url' AS url,"
        " d.state, d.attempts, d.last_status, d.last_error, d.next_at"
        " FROM deliveries d JOIN objects e ON e.id = d.event_id"
        " JOIN objects w ON w.id = d.endpoint_id ORDER BY d.id DESC LIMIT ?",
        (limit,),
    )
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def resend(store: Store, delivery_id: int) -> bool:
    """Owe the delivery once more, as new and without a fault; False when there is no such one."""
    with store.transaction() as tx:
        changed = tx.execute(
            "UPDATE deliveries SET state = 'pending', attempts = 0, next_at = ? WHERE id = ?"
            " AND EXISTS (SELECT 1 FROM objects WHERE objects.id = endpoint_id AND deleted = 0)",
            (time.time(), delivery_id),
        ).rowcount
        tx.execute("DELETE FROM forgeries WHERE delivery_id = ?", (delivery_id,))
        tx.owed = bool(changed)
    return bool(changed)
