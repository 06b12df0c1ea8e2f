"""Stripe objects in the store: insert, replace, look up, delete.

Owns which of an object's fields lists filter by. Never builds an object and never emits an event.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.errors import no_such

# For each kind: the fields kept in the columns `parent` and `label`.
_KEYS: dict[str, tuple[str | None, str | None]] = {
    "balance_transaction": ("source", "currency"),
    "charge": ("payment_intent", None),
    "checkout.session": ("payment_intent", "status"),
    "customer": (None, "email"),
    "discount": ("subscription", None),
    "dispute": ("charge", "payment_intent"),
    "event": (None, "type"),
    "invoice": (None, "status"),
    "invoice_payment": ("invoice", "status"),
    "invoiceitem": ("invoice", None),
    "payment_method": (None, "type"),
    "price": ("product", "lookup_key"),
    "promotion_code": (None, "code"),
    "radar.early_fraud_warning": ("charge", "payment_intent"),
    "refund": ("charge", "payment_intent"),
    "setup_attempt": ("setup_intent", None),
    "setup_intent": ("payment_method", None),
    "subscription": (None, "status"),
    "subscription_item": ("subscription", None),
}
_NO_KEYS: tuple[None, None] = (None, None)


def filters_of(kind: str) -> dict[str, str]:
    """Which list filters of `kind` are answered by which column."""
    parent, label = _KEYS.get(kind, _NO_KEYS)
    columns = {"customer": "customer"}
    if parent:
        columns[parent] = "parent"
    if label:
        columns[label] = "label"
    return columns


def insert(tx: Transaction, body: dict[str, Any], private: dict[str, Any] | None = None) -> None:
    """Store a new object; it bears the test clock that it is made on, if such objects do."""
    if tx.clock is not None and "test_clock" in body:
        body["test_clock"] = tx.clock
    parent, label = _KEYS.get(body["object"], _NO_KEYS)
    tx.execute(
        "INSERT INTO objects (id, object, created, customer, parent, label, body, private)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            body["id"],
            body["object"],
            body.get("created", tx.now),
            body.get("customer"),
            body.get(parent) if parent else None,
            body.get(label) if label else None,
            orjson.dumps(body).decode(),
            orjson.dumps(private).decode() if private else None,
        ),
    )


def replace(tx: Transaction, body: dict[str, Any]) -> None:
    """Store an object's new state."""
    parent, label = _KEYS.get(body["object"], _NO_KEYS)
    tx.execute(
        "UPDATE objects SET customer = ?, parent = ?, label = ?, body = ? WHERE id = ?",
        (
            body.get("customer"),
            body.get(parent) if parent else None,
            body.get(label) if label else None,
            orjson.dumps(body).decode(),
            body["id"],
        ),
    )


def replace_private(tx: Transaction, object_id: str, private: dict[str, Any]) -> None:
    """Store what is known of an object and never shown."""
    tx.execute(
        "UPDATE objects SET private = ? WHERE id = ?", (orjson.dumps(private).decode(), object_id)
    )


def delete(tx: Transaction, body: dict[str, Any]) -> dict[str, Any]:
    """Leave a tombstone in the object's place and return it."""
    tombstone = {"id": body["id"], "object": body["object"], "deleted": True}
    tx.execute(
        "UPDATE objects SET deleted = 1, customer = NULL, parent = NULL, label = NULL, body = ?,"
        " private = NULL WHERE id = ?",
        (orjson.dumps(tombstone).decode(), body["id"]),
    )
    return tombstone


def get(
    tx: Transaction,
    kind: str,
    object_id: str,
    *,
    param: str = "id",
    in_path: bool = False,
    word: str | None = None,
    deleted: bool = False,
) -> dict[str, Any]:
    """The object of that kind and id. Raises StripeError `resource_missing` otherwise.

    `word` is what Stripe calls the kind in the message; `deleted` accepts a tombstone as well.
    """
    body = tx.find(object_id)
    if body is None or body["object"] != kind or (body.get("deleted") and not deleted):
        raise no_such(word or kind, object_id, param, in_path=in_path)
    return body
