"""Uses of credits: taken once for each client's key, and given back.

Decides causes, and which refusal an outcome of the ledger is; the ledger moves the credits. A
client's Idempotency-Key is the cause itself, so no crash can come between a claim and its effect:
they are one row of one transaction. Never stores answers: the ledger tells them again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bursar import errors, failpoints
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import catalog
from bursar.db import Connection, Database
from bursar.ledger import entries
from bursar.ledger.entries import Cause, GiveBack, GivenBack, Posted, Posting

UNIT_SECONDS = 5.0
"""How long a name of the catalogue is believed; a new default unit counts within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A client's request under its key. `principal` outlives any key; the hash covers the rest."""

    customer_id: int
    principal: str
    key: str
    request_hash: bytes
    description: str | None = None

    def cause(self, purpose: str) -> Cause:
        """The cause that this request is.

        The principal's length stands before it: ids of users may hold any sign, and two requests
        must never meet under one name.
        """
        scope = f"{self.customer_id}:{len(self.principal)}:{self.principal}"
        return Cause("client", f"{scope}:{self.key}", purpose)


@dataclass(frozen=True, slots=True)
class Use:
    """Take `amount` smallest parts of `unit`, by the order of use."""

    request: Request
    unit: str
    amount: int


@dataclass(frozen=True, slots=True)
class Return:
    """Give `amount` of a use back (None: what is left of it), to where it came from."""

    request: Request
    transaction_id: int
    amount: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """What the client is told: the posting, and the spendable balance after it.

    `repeated`: an earlier request under this key did it, and this is its answer.
    """

    transaction_id: int
    balance: int
    repeated: bool


Outcome = Done | errors.Error
"""Of a batch one may be refused and the next may pass, so a refusal is a value here."""


async def use(
    conn: Connection, uses: Sequence[Use], *, at: datetime, refuse_owing: bool = False
) -> list[Outcome]:
    """Take credits, once for each key; the outcomes come in the order given.

    With `refuse_owing` nobody who owes uses any. Refusals are errors.InsufficientCredits and
    errors.CreditsOwed, which leave the key free, and errors.IdempotencyKeyReused.
    """
    postings = [
        Posting(
            customer_id=one.request.customer_id,
            unit=one.unit,
            type="usage",
            amount=-one.amount,
            cause=one.request.cause("use"),
            request_hash=one.request.request_hash,
            description=one.request.description,
        )
        for one in uses
    ]
    posted = await entries.post(conn, postings, at=at, refuse_owing=refuse_owing)
    failpoints.reach("credits.after_post")
    return [_used(one, answer) for one, answer in zip(uses, posted, strict=True)]


def _used(one: Use, posted: Posted) -> Outcome:
    if posted.outcome == "refused":
        return errors.InsufficientCredits(
            f"The balance is {posted.balance}, and this use needs {one.amount} (unit {one.unit}, "
            "in its smallest part)."
        )
    if posted.outcome == "owing":
        return owing(one.unit)
    return _done(posted)


def owing(unit: str) -> errors.CreditsOwed:
    """The refusal of whoever owes credits."""
    return errors.CreditsOwed(
        f"A refund took credits that were spent, and they are owed (unit {unit}). Buy credits: "
        "what is owed is paid first; then this works with the same Idempotency-Key."
    )


async def give_back(
    conn: Connection, returns: Sequence[Return], *, by: Actor, at: datetime
) -> list[Outcome]:
    """Give uses back, once for each key; the outcomes come in the order given.

    The audit log has a line on each that was given back now, and by whom.
    Refusals are errors.NotFound, errors.ReversalExceedsUse and errors.IdempotencyKeyReused.
    """
    wanted = [
        GiveBack(
            customer_id=one.request.customer_id,
            posting_id=one.transaction_id,
            amount=one.amount,
            # Which use is meant is part of the hash, not of the scope: a key stands for one
            # request, whatever its address.
            cause=one.request.cause("give_back"),
            request_hash=one.request.request_hash,
            description=one.request.description,
        )
        for one in returns
    ]
    given = await entries.give_back(conn, wanted, at=at)
    for one, answer in zip(returns, given, strict=True):
        if answer.outcome == "posted":
            await audit_log.record(
                conn,
                by,
                "credits.given_back",
                subject=f"transaction:{one.transaction_id}",
                customer_id=one.request.customer_id,
                reason=one.request.description,
                detail={"transaction_id": answer.posting_id},
            )
    failpoints.reach("credits.after_give_back")
    return [_given_back(answer) for answer in given]


def _given_back(given: GivenBack) -> Outcome:
    if given.outcome == "unknown":
        return errors.NotFound("There is no such use of credits.")
    if given.outcome == "refused":
        message = f"Of this use {given.returnable} can still be given back"
        entry = {"field": "amount", "code": errors.ReversalExceedsUse.code, "message": message}
        return errors.ReversalExceedsUse(f"{message}.", errors=[entry])
    return _done(given)


def _done(answer: Posted | GivenBack) -> Outcome:
    if answer.outcome == "reused":
        return key_reused()
    assert answer.posting_id is not None  # noqa: S101 - it was posted, now or before
    assert answer.balance is not None  # noqa: S101 - likewise
    return Done(answer.posting_id, answer.balance, answer.outcome == "repeated")


def key_reused() -> errors.IdempotencyKeyReused:
    """The refusal of a key that stands for another request already."""
    return errors.IdempotencyKeyReused(
        "This Idempotency-Key was used before with another request. Send a new key."
    )


class KnownUnits:
    """Names of units, believed for a few seconds, so that a busy caller costs no query each time.

    Only names that the catalogue has are kept, and the one that is meant when none is named.
    """

    def __init__(self, db: Database, *, seconds: float = UNIT_SECONDS) -> None:
        self._db = db
        self._seconds = seconds
        self._known: dict[str | None, tuple[float, str]] = {}

    async def get(self, asked: str | None) -> str:
        """The unit's name. Raises errors.UnknownUnit and errors.DatabaseUnavailable."""
        asked_at = time.monotonic()
        known = self._known.get(asked)
        if known is not None and known[0] > asked_at:
            return known[1]
        async with self._db.connection() as conn:
            name = (await catalog.get_unit(conn, asked)).name
        self._known[asked] = (asked_at + self._seconds, name)
        return name
