"""Results of POST requests, kept by Idempotency-Key for a day of the sandbox's time.

Owns the saved answers and the set of keys now in use. Never decides what a request does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.errors import StripeError

MAX_KEY = 255
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Saved:
    """The first request's answer."""

    status: int
    body: bytes
    request_id: str


def check_key(key: str) -> None:
    """Raise StripeError for a key that is too long."""
    if len(key) > MAX_KEY:
        raise StripeError(
            f"Idempotency-Key must be at most {MAX_KEY} characters long.",
            kind="idempotency_error",
        )


def in_use(key: str) -> StripeError:
    """Another request with the key is running."""
    return StripeError(
        "There is currently another in-progress request using this Idempotent Key (that probably "
        f"means you submitted twice, and the other request is still going through): {key}. Please "
        "try again later.",
        status=409,
        code="idempotency_key_in_use",
    )


def find(tx: Transaction, key: str, path: str, body: bytes) -> Saved | None:
    """The answer saved under the key. Raises StripeError when the key was for something else."""
    row = tx.execute(
        "SELECT path, fingerprint, status, body, request_id FROM idempotency"
        " WHERE key = ? AND created > ?",
        (key, tx.now - KEPT_SECONDS),
    ).fetchone()
    if row is None:
        return None
    if row[0] != path:
        raise StripeError(
            "Keys for idempotent requests can only be used for the same endpoint they were first "
            f"used for ('{row[0]}' vs '{path}'). Try using a key other than '{key}' if you meant "
            "to execute a different request.",
            kind="idempotency_error",
        )
    if row[1] != _fingerprint(body):
        raise StripeError(
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
            kind="idempotency_error",
        )
    return Saved(row[2], row[3], row[4])


def save(tx: Transaction, key: str, path: str, body: bytes, saved: Saved) -> None:
    """Keep an answer under the key."""
    tx.execute(
        "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key, path, _fingerprint(body), saved.request_id, saved.status, saved.body, tx.now),
    )


def forget_old(tx: Transaction) -> None:
    """Drop what is no longer kept."""
    tx.execute("DELETE FROM idempotency WHERE created <= ?", (tx.now - KEPT_SECONDS,))


def _fingerprint(body: bytes) -> bytes:
    # The order of parameters says nothing, so the same ones in another order are the same request.
    return hashlib.sha256(b"&".join(sorted(body.split(b"&")))).digest()
