"""Credits that an admin gives, or corrects, by hand: with a reason, once for each key.

Decides pool, type and cause, and which refusal an outcome of the ledger is. A client's
Idempotency-Key is the cause itself, as for uses. The line in the audit log is written in the same
transaction, by the one who posts, never by a repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import catalog, customers, expiry
from bursar.db import Connection
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posted, Posting


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an admin asks for, under a key. Without a unit: the one that has a rate.

    `amount` counts smallest parts of the unit; a grant's is above zero, an adjustment's signed.
    The hash is of the whole request.
    """

    customer_id: int
    unit: str | None
    amount: int
    reason: str
    actor: Actor
    key: str
    request_hash: bytes
    expires_at: datetime | None = None

    def cause(self, purpose: str) -> Cause:
        """The cause that this request is; the principal's length keeps any two apart."""
        principal = self.actor.principal
        name = f"{self.customer_id}:{len(principal)}:{principal}:{self.key}"
        return Cause("client", name, purpose)


@dataclass(frozen=True, slots=True)
class Done:
    """What was posted, and the spendable balance after it; `repeated`: by an earlier request."""

    transaction_id: int
    customer_id: int
    unit: str
    balance: int
    repeated: bool


async def find_customer(
    conn: Connection, *, customer_id: int | None = None, user_id: str | None = None
) -> int:
    """The customer that is named, or the user's own. Raises NotFound."""
    if user_id is not None:
        user = await customers.find_user(conn, user_id)
        if user is None:
            raise errors.NotFound("There is no such user.")
        return user.customer_id
    if not customer_id:
        # Nobody owns what the house has: it is the other side of every posting.
        raise errors.NotFound("There is no such customer.")
    await customers.lock(conn, customer_id)
    return customer_id


async def grant(conn: Connection, wanted: Wanted, *, at: datetime) -> Done:
    """Give bonus credits. Those with an end lie in an account of their own.

    Raises errors.UnknownUnit, errors.IdempotencyKeyReused, and errors.Invalid for an end that has
    passed.
    """
    cause = wanted.cause("grant")
    posting = Posting(
        customer_id=wanted.customer_id,
        unit=(await catalog.get_unit(conn, wanted.unit)).name,
        type="bonus",
        amount=wanted.amount,
        pool="bonus",
        source=f"{cause.kind}:{cause.id}" if wanted.expires_at else "",
        expires_at=wanted.expires_at,
        cause=cause,
        request_hash=wanted.request_hash,
        description=wanted.reason,
    )
    [posted] = await entries.post(conn, [posting], at=at)
    if posted.outcome == "posted" and wanted.expires_at is not None:
        if wanted.expires_at <= at:
            # Asked only of what is new: a repeat after the end still gets its first answer.
            message = "Credits end in the future; send a later time, or none"
            entry = {"field": "expires_at", "code": "time_passed", "message": message}
            raise errors.Invalid(f"expires_at: {message}.", errors=[entry])
        account = expiry.Account(wanted.customer_id, posting.unit, "bonus", posting.source)
        await expiry.schedule(conn, account, ends_at=wanted.expires_at, at=at)
    return await _done(conn, wanted, "credits.granted", posting, posted)


async def adjust(conn: Connection, wanted: Wanted, *, at: datetime) -> Done:
    """Correct a balance: upwards into the purchased credits, which pays debt first; downwards by
    the order of use, all of it or nothing.

    Raises errors.UnknownUnit, errors.IdempotencyKeyReused and errors.InsufficientCredits.
    """
    posting = Posting(
        customer_id=wanted.customer_id,
        unit=(await catalog.get_unit(conn, wanted.unit)).name,
        type="adjustment",
        amount=wanted.amount,
        cause=wanted.cause("adjustment"),
        request_hash=wanted.request_hash,
        description=wanted.reason,
    )
    [posted] = await entries.post(conn, [posting], at=at)
    if posted.outcome == "refused":
        raise errors.InsufficientCredits(
            f"The balance is {posted.balance}, and this takes {-wanted.amount} (unit "
            f"{posting.unit}, in its smallest part). Take less."
        )
    return await _done(conn, wanted, "credits.adjusted", posting, posted)


async def _done(
    conn: Connection, wanted: Wanted, action: str, posting: Posting, posted: Posted
) -> Done:
    if posted.outcome == "reused":
        raise errors.IdempotencyKeyReused(
            "This Idempotency-Key was used before with another request. Send a new key."
        )
    assert posted.posting_id is not None  # noqa: S101 - it was posted, now or before
    if posted.outcome == "posted":
        detail: dict[str, object] = {"unit": posting.unit, "amount": posting.amount}
        if posting.expires_at is not None:
            detail["expires_at"] = posting.expires_at.isoformat()
        await audit_log.record(
            conn,
            wanted.actor,
            action,
            subject=f"transaction:{posted.posting_id}",
            customer_id=wanted.customer_id,
            reason=wanted.reason,
            detail=detail,
        )
    # Which unit is meant when none is named may have changed since an earlier request.
    row = await balances.get_posting(conn, wanted.customer_id, posted.posting_id)
    return Done(
        posted.posting_id,
        wanted.customer_id,
        row.unit,
        posted.balance,
        posted.outcome == "repeated",
    )
