"""Allowances: the credits of a plan, one account for each period of a subscription.

Decides what a period is still due, until when it lasts, and what of it moves on; the ledger moves
it. What was paid for, and when a period ends, is the caller's to know. Callers name a subscription
by an id without colons, and a period by any text that is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bursar.billing import customers, expiry
from bursar.db import Connection
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, MoveEnd, Posting


@dataclass(frozen=True, slots=True)
class Period:
    """A subscription's period, as the account in which its credits lie."""

    customer_id: int
    unit: str
    subscription: str
    period: str

    def __post_init__(self) -> None:
        if ":" in self.subscription or not self.subscription or not self.period:
            raise ValueError("a subscription's name has no colon, and a period has a name")

    @property
    def account(self) -> expiry.Account:
        """Where the credits lie."""
        source = f"{self.subscription}:{self.period}"
        return expiry.Account(self.customer_id, self.unit, "plan", source)

    def cause(self, purpose: str) -> Cause:
        """Why something is posted into this period."""
        name = f"{self.customer_id}:{self.unit}:{self.subscription}:{self.period}"
        return Cause("allowance", name, purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a period is to have brought in all: `target` is the greatest that was paid for.

    `ends_at` counts when this is the first that the period gets. What is paid for after the period
    has ended goes `into` another, which must end later. `payment_id` is the money that raised it.
    """

    period: Period
    target: int
    ends_at: datetime
    description: str | None = None
    into: Period | None = None
    payment_id: int | None = None


@dataclass(frozen=True, slots=True)
class Rollover:
    """Where at most `cap` of what is left goes, and when that ends."""

    period: Period
    ends_at: datetime
    cap: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A period that is over; without a rollover everything that is left ends with it."""

    period: Period
    rollover: Rollover | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """What ended with the period, and how much of that went on into the next one."""

    ended: int
    moved: int


async def _lock(conn: Connection, periods: Sequence[Period]) -> None:
    """Keep the customers' balances still, in the order in which everybody locks them."""
    for customer_id in sorted({period.customer_id for period in periods}):
        await customers.lock(conn, customer_id)


async def grant(conn: Connection, allowances: Sequence[Allowance], *, at: datetime) -> list[int]:
    """Post what each period is due beyond what it got; returns how much that was.

    A lower target posts nothing, so changing plans to and fro gains nothing. Neither does a period
    that has ended: nobody could use what it brought.
    """
    wanted: dict[Period, Allowance] = {}
    for one in allowances:
        known = wanted.setdefault(one.period, one)
        if one.target > known.target:
            wanted[one.period] = replace(one, ends_at=known.ends_at)
    await _lock(conn, list(wanted))
    postings = []
    for one in wanted.values():
        due = await _due(conn, one, at=at)
        if due is not None:
            postings.append(due)
            account = (one.into or one.period).account
            await expiry.schedule(conn, account, ends_at=one.ends_at, at=at)
    posted = await entries.post(conn, postings, at=at)
    given = {
        posting.cause.id: posting.amount
        for posting, answer in zip(postings, posted, strict=True)
        if answer.outcome == "posted"
    }
    # A period that is named twice got what it got once.
    return [given.pop(one.period.cause("").id, 0) for one in allowances]


async def lower(conn: Connection, allowance: Allowance, *, at: datetime) -> int:
    """Take back what a running period got beyond its target; returns how much.

    What of it is spent is owed.
    """
    period = allowance.period
    await _lock(conn, [period])
    granted, back = await _got(conn, period)
    over = granted + back - allowance.target
    if over <= 0:
        return 0
    # The sum of what was granted only grows, so each time has a name of its own.
    cause = period.cause(f"back:{granted}:{allowance.target}")
    posting = _subscription(period.account, -over, cause, allowance.ends_at, "Credited back")
    [posted] = await entries.post(conn, [posting], at=at)
    return over if posted.outcome == "posted" else 0


async def _got(conn: Connection, period: Period) -> tuple[int, int]:
    """What a period was granted in all, and what of it was taken back, which is below zero."""
    cause = period.cause("")
    granted = await entries.posted_for_cause(conn, cause.kind, cause.id, purpose="grant:")
    back = await entries.posted_for_cause(conn, cause.kind, cause.id, purpose="back:")
    return granted, back


async def _due(conn: Connection, allowance: Allowance, *, at: datetime) -> Posting | None:
    """The posting that a period still needs, if any; the customer is locked."""
    period, account = allowance.period, (allowance.into or allowance.period).account
    # What was rolled over lies in the same account and is no part of what was paid for.
    granted, back = await _got(conn, period)
    got = granted + back
    # What was taken back once may be paid for again.
    again = f":{-back}" if back else ""
    cause = period.cause(f"grant:{allowance.target}{again}")
    ends_at = await balances.find_end(
        conn, account.customer_id, account.unit, account.pool, account.source
    )
    if allowance.target <= got or (ends_at or allowance.ends_at) <= at:
        return None
    due = _subscription(
        account, allowance.target - got, cause, allowance.ends_at, allowance.description
    )
    return replace(due, payment_id=allowance.payment_id)


def _subscription(
    account: expiry.Account,
    amount: int,
    cause: Cause,
    ends_at: datetime,
    description: str | None = None,
) -> Posting:
    return Posting(
        customer_id=account.customer_id,
        unit=account.unit,
        type="subscription",
        amount=amount,
        pool=account.pool,
        source=account.source,
        expires_at=ends_at,
        cause=cause,
        description=description,
    )


async def extend(
    conn: Connection, periods: Sequence[Period], *, ends_at: datetime, at: datetime
) -> list[datetime | None]:
    """Move the ends of periods, for a grace or an early close; returns the ends that count now.

    A period that has ended stays so. None for one that never got anything.
    """
    accounts = [period.account for period in periods]
    moves = [MoveEnd(a.customer_id, a.unit, a.pool, a.source, ends_at) for a in accounts]
    ends = await entries.move_end(conn, moves, at=at)
    for account, moved in zip(accounts, ends, strict=True):
        if moved is not None and moved > at:
            await expiry.schedule(conn, account, ends_at=moved, at=at)
    return ends


async def close(conn: Connection, closings: Sequence[Closing], *, at: datetime) -> list[Closed]:
    """End periods now, unless they ended before, and move on what each rollover allows, once.

    Whether the timer or this came first makes no difference: what ended is read from the posting
    that wrote it down.
    """
    periods = [closing.period for closing in closings]
    into = [closing.rollover.period for closing in closings if closing.rollover]
    await _lock(conn, [*periods, *into])
    await extend(conn, periods, ends_at=at, at=at)
    ended = await expiry.end(conn, [period.account for period in periods], at=at)
    return [
        Closed(left, await _move_on(conn, closing, left, at=at))
        for closing, left in zip(closings, ended, strict=True)
    ]


async def _move_on(conn: Connection, closing: Closing, left: int, *, at: datetime) -> int:
    """Post what goes on into the next period, unless that is over too; returns how much went."""
    rollover = closing.rollover
    if rollover is None or min(left, rollover.cap) <= 0:
        return 0
    account = rollover.period.account
    known = await balances.find_end(
        conn, account.customer_id, account.unit, account.pool, account.source
    )
    # The cause is the period that it comes from: into whichever next one, it goes on once.
    cause = closing.period.cause("rollover")
    if (known or rollover.ends_at) > at:
        amount = min(left, rollover.cap)
        posting = _subscription(account, amount, cause, rollover.ends_at, "Left over")
        await entries.post(conn, [posting], at=at)
        await expiry.schedule(conn, account, ends_at=rollover.ends_at, at=at)
    return await entries.posted_for_cause(conn, cause.kind, cause.id, purpose=cause.purpose)
