"""Holds: credits reserved for work whose cost is known only afterwards.

Decides causes, who may close a hold, when it lapses, and which refusal an outcome of the ledger is;
the ledger moves the credits. As with uses a client's Idempotency-Key is the cause itself, and the
answers are told again from the ledger, never stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar import errors, failpoints
from bursar.billing import events, uses
from bursar.billing.uses import Request
from bursar.clock import Clock
from bursar.db import Connection, Database
from bursar.ledger import balances, entries
from bursar.ledger import holds as ledger
from bursar.ledger.entries import Posted, Posting
from bursar.ledger.holds import Closed, Closing, Hold
from bursar.messages import outbox, timers
from bursar.providers.port import Provider

LAPSE_TIMER = "hold.lapse"
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=7)

OPENED_BY = """
select cause_id from ledger_causes
where kind = 'client' and purpose = 'hold' and posting_id = $2 and customer_id = $1
"""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Reserve `amount` smallest parts of `unit`, by the order of use, for `lasting`."""

    request: Request
    unit: str
    amount: int
    lasting: timedelta


@dataclass(frozen=True, slots=True)
class Capture:
    """Use `amount` of a hold (None: all of it) and give the rest back."""

    request: Request
    hold_id: int
    amount: int | None


@dataclass(frozen=True, slots=True)
class Release:
    """Give a hold back. `principal` is who asks, as in Request."""

    customer_id: int
    principal: str
    hold_id: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A hold as it was when it was opened, and the spendable balance after that."""

    hold_id: int
    unit: str
    amount: int
    expires_at: datetime
    balance: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Captured:
    """What was used of a hold (`transaction_id`, a use like any other) and what came back."""

    hold_id: int
    transaction_id: int
    captured: int
    returned: int
    balance: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A hold as it stands, and a spendable balance: after its release, or now."""

    hold: Hold
    balance: int


async def open(
    conn: Connection, wanted: Sequence[Reserve], *, at: datetime, refuse_owing: bool = False
) -> list[Opened | errors.Error]:
    """Reserve credits, once for each key, and have each hold lapse in its time.

    With `refuse_owing` nobody who owes reserves any. Refusals are errors.InsufficientCredits and
    errors.CreditsOwed, which leave the key free, and errors.IdempotencyKeyReused.
    """
    for one in wanted:
        if not SHORTEST <= one.lasting <= LONGEST:
            raise ValueError(f"a hold of {one.lasting} is out of bounds")
    postings = [
        Posting(
            customer_id=one.request.customer_id,
            unit=one.unit,
            type="hold",
            amount=-one.amount,
            cause=one.request.cause("hold"),
            expires_at=at + one.lasting,
            request_hash=one.request.request_hash,
            description=one.request.description,
        )
        for one in wanted
    ]
    posted = await entries.post(conn, postings, at=at, refuse_owing=refuse_owing)
    failpoints.reach("hold.after_post")
    return [
        await _opened(conn, one, answer, at) for one, answer in zip(wanted, posted, strict=True)
    ]


async def _opened(
    conn: Connection, one: Reserve, posted: Posted, at: datetime
) -> Opened | errors.Error:
    customer_id = one.request.customer_id
    if posted.outcome == "refused":
        return errors.InsufficientCredits(
            f"The balance is {posted.balance}, and this hold needs {one.amount} (unit {one.unit}, "
            "in its smallest part)."
        )
    if posted.outcome == "owing":
        return uses.owing(one.unit)
    if posted.outcome == "reused":
        return uses.key_reused()
    assert posted.posting_id is not None  # noqa: S101 - it was posted, now or before
    hold = await ledger.find_hold(conn, customer_id, posted.posting_id)
    assert hold is not None  # noqa: S101 - made with its posting
    if posted.outcome == "posted":
        reference = f"{customer_id}:{hold.id}"
        await timers.schedule(conn, LAPSE_TIMER, reference, due_at=hold.expires_at, at=at)
    repeated = posted.outcome == "repeated"
    return Opened(hold.id, hold.unit, hold.amount, hold.expires_at, posted.balance, repeated)


async def capture(
    conn: Connection, wanted: Sequence[Capture], *, at: datetime
) -> list[Captured | errors.Error]:
    """Settle holds, once for each key; what is not captured goes back to where it came from.

    A hold can be settled as long as it is open, also past its end while nobody has had it lapse.
    Refusals are errors.NotFound, errors.Denied (a user's own key can't close what the app's backend
    opened), errors.CaptureExceedsHold, errors.HoldClosed and errors.IdempotencyKeyReused.
    """
    outcomes: list[Captured | errors.Error | None] = []
    closings: list[Closing] = []
    for one in wanted:
        asked = one.request
        hold = await ledger.find_hold(conn, asked.customer_id, one.hold_id)
        refusal = await _refusal(conn, hold, asked.customer_id, asked.principal)
        outcomes.append(refusal)
        if hold is None or refusal is not None:
            continue
        closings.append(
            Closing(
                customer_id=asked.customer_id,
                hold_id=hold.id,
                captured=hold.amount if one.amount is None else one.amount,
                cause=asked.cause("capture"),
                request_hash=asked.request_hash,
                description=asked.description or hold.description,
            )
        )
    closed = iter(await _close(conn, closings, at=at))
    return [
        outcome or _captured(one.hold_id, next(closed))
        for one, outcome in zip(wanted, outcomes, strict=True)
    ]


def _captured(hold_id: int, closed: Closed) -> Captured | errors.Error:
    if closed.outcome == "reused":
        return uses.key_reused()
    if closed.outcome == "refused":
        message = f"This hold reserves {closed.returned}"
        entry = {"field": "amount", "code": errors.CaptureExceedsHold.code, "message": message}
        return errors.CaptureExceedsHold(f"{message}.", errors=[entry])
    if closed.outcome == "closed":
        return _hold_closed()
    assert closed.posting_id is not None  # noqa: S101 - it was posted, now or before
    assert closed.balance is not None  # noqa: S101 - likewise
    return Captured(
        hold_id,
        closed.posting_id,
        closed.captured or 0,
        closed.returned or 0,
        closed.balance,
        closed.outcome == "repeated",
    )


async def release(
    conn: Connection, wanted: Sequence[Release], *, at: datetime
) -> list[Standing | errors.Error]:
    """Give holds back. One that was given back before, or lapsed, answers as it did then.

    Refusals are errors.NotFound, errors.Denied as in `capture`, and errors.HoldClosed for one that
    is settled.
    """
    outcomes = [
        await _refusal(
            conn,
            await ledger.find_hold(conn, one.customer_id, one.hold_id),
            one.customer_id,
            one.principal,
        )
        for one in wanted
    ]
    closings = [
        Closing(customer_id=one.customer_id, hold_id=one.hold_id)
        for one, refusal in zip(wanted, outcomes, strict=True)
        if refusal is None
    ]
    closed = iter(await _close(conn, closings, at=at))
    return [
        refusal or await _released(conn, one, next(closed))
        for one, refusal in zip(wanted, outcomes, strict=True)
    ]


async def _released(conn: Connection, one: Release, closed: Closed) -> Standing | errors.Error:
    hold = await ledger.find_hold(conn, one.customer_id, one.hold_id)
    if hold is None:
        return _no_hold()
    # Giving back is one cause whoever asks, and a settled hold was given back, too, on its way.
    if closed.outcome not in ("posted", "repeated") or hold.state == "settled":
        return _hold_closed()
    assert closed.balance is not None  # noqa: S101 - it was posted, now or before
    return Standing(hold, closed.balance)


async def get(conn: Connection, customer_id: int, hold_id: int, *, at: datetime) -> Standing:
    """A hold of the customer's, with the balance now. Raises errors.NotFound."""
    hold = await ledger.find_hold(conn, customer_id, hold_id)
    if hold is None:
        raise _no_hold()
    there = await balances.balance(conn, customer_id, hold.unit, at=at)
    return Standing(hold, there.spendable)


async def lapse(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: give a hold back whose time is up; returns when to look again, if ever."""
    customer_id, hold_id = (int(part) for part in reference.split(":"))

    async def work(conn: Connection) -> datetime | None:
        at = clock.now()
        hold = await ledger.find_hold(conn, customer_id, hold_id)
        if hold is None or hold.state != "held":
            return None
        if hold.expires_at > at:
            # A clock that was set back must not shorten what was promised.
            return hold.expires_at
        closing = Closing(customer_id=customer_id, hold_id=hold_id, state="lapsed")
        [closed] = await ledger.close(conn, [closing], at=at)
        if closed.outcome == "posted":
            await outbox.emit(conn, [events.hold_lapsed(hold)], at=at)
        failpoints.reach("hold.after_lapse")
        return None

    return await db.run(work)


async def _close(conn: Connection, closings: Sequence[Closing], *, at: datetime) -> list[Closed]:
    closed = await ledger.close(conn, closings, at=at)
    failpoints.reach("hold.after_close")
    for closing, answer in zip(closings, closed, strict=True):
        if answer.outcome == "posted":
            await timers.cancel(conn, LAPSE_TIMER, f"{closing.customer_id}:{closing.hold_id}")
    return closed


async def _refusal(
    conn: Connection, hold: Hold | None, customer_id: int, principal: str
) -> errors.Error | None:
    """Why this principal can't close the hold: it is not there, or somebody else opened it.

    Otherwise whoever is to pay could settle for one credit what costs a hundred.
    """
    if hold is None:
        return _no_hold()
    if not principal.startswith("user:"):
        return None
    opened_by = await conn.fetchval(OPENED_BY, customer_id, hold.id)
    own = f"{customer_id}:{len(principal)}:{principal}:"
    if opened_by is not None and opened_by.startswith(own):
        return None
    return errors.Denied("Somebody else opened this hold: only they, or a service key, close it.")


def _no_hold() -> errors.NotFound:
    return errors.NotFound("There is no such hold.")


def _hold_closed() -> errors.HoldClosed:
    return errors.HoldClosed(
        "This hold is closed already: ask for it by its id to see whether it was settled, released "
        "or lapsed."
    )
