"""Events: a snapshot of an object, and a webhook owed to each endpoint that listens.

Owns the event object. Never sends anything: `bursar_sandbox.delivery` does, after the commit.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox import deliveries
from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import records
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.version import API_VERSION


def emit(
    tx: Transaction, kind: str, body: dict[str, Any], previous: dict[str, Any] | None = None
) -> str:
    """Record that `kind` happened to the object and owe it to the endpoints; returns the id.

    `previous` holds the former values of what changed, for `*.updated`.
    """
    data: dict[str, Any] = {"object": body}
    if previous is not None:
        data["previous_attributes"] = previous
    listeners = _listeners(tx, kind)
    event: dict[str, Any] = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": tx.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": len(listeners),
        "request": {"id": tx.request_id, "idempotency_key": tx.idempotency_key},
        "type": kind,
    }
    records.insert(tx, event)
    for endpoint_id in listeners:
        deliveries.owe(tx, event["id"], endpoint_id)
    return str(event["id"])


def emit_update(tx: Transaction, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Record `<kind>.updated`, unless nothing changed."""
    previous = changes(before, after)
    if previous:
        emit(tx, f"{after['object']}.updated", after, previous)


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The former values of what differs; nested mappings show only their changed keys."""
    former: dict[str, Any] = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            former[key] = changes(old, new)
        else:
            former[key] = old
    return former


def _listeners(tx: Transaction, kind: str) -> list[str]:
    rows = tx.execute(
        "SELECT id, body FROM objects WHERE object = 'webhook_endpoint' AND deleted = 0"
    ).fetchall()
    listeners = []
    for endpoint_id, text in rows:
        endpoint = orjson.loads(text)
        if endpoint["status"] == "enabled" and (
            "*" in endpoint["enabled_events"] or kind in endpoint["enabled_events"]
        ):
            listeners.append(endpoint_id)
    return listeners
