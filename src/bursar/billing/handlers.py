"""Which function handles what: the table of contents of everything that happens later.

`handle` is a message's one transaction, `TIMERS` what falls due. Called by the worker alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial

from bursar.billing import (
    authorizations,
    captures,
    checkouts,
    disputes,
    expiry,
    holds,
    intents,
    lapses,
    mirror,
    refunds,
    reversals,
    settle,
    strangers,
    unmatched,
)
from bursar.billing.credits import OfSpent
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import inbox
from bursar.messages.inbox import Claimed
from bursar.providers.mirrored import CatalogFact
from bursar.providers.port import Facts, Ignored, PaymentFacts, Provider

Providers = Mapping[str, Provider]
# A timer's act answers when it wants to be called again, if at all.
Timer = Callable[[Database, Providers, str, Clock], Awaitable[datetime | None]]


async def handle(
    conn: Connection,
    message: Claimed,
    facts: list[Facts],
    *,
    clock: Clock,
    fetched: bool,
    of_spent: OfSpent = "debt",
) -> None:
    """Settle what a message says and close it, in one transaction.

    Raises settle.FactsMissing when the provider must be asked first, inbox.LeaseLost when another
    worker has the message: in both cases nothing of it may stand.
    """
    said = [fact for fact in facts if isinstance(fact, PaymentFacts)]
    at = clock.now()
    if things := [fact for fact in facts if isinstance(fact, CatalogFact)]:
        await mirror.take(conn, things, at=at)
        await inbox.finish(conn, message, "done", at=at)
        return
    if not said:
        reason = next((f.reason for f in facts if isinstance(f, Ignored)), None)
        await inbox.finish(conn, message, "ignored", at=at, reason=reason)
        return
    settled = await settle.settle(conn, said, at=at, fetched=fetched, of_spent=of_spent)
    if settled.payment_ids:
        await inbox.finish(conn, message, "done", at=at, payment_id=settled.payment_ids[0])
    elif settled.stray:
        await inbox.finish(conn, message, "done", at=at, reason="unmatched money: see the cases")
    else:
        await inbox.finish(conn, message, "ignored", at=at, reason="not a payment of ours")


TIMERS: dict[str, Timer] = {
    checkouts.CHECK_TIMER: intents.check,
    holds.LAPSE_TIMER: holds.lapse,
    reversals.CHECK_TIMER: refunds.check,
    expiry.TIMER: expiry.expire,
    captures.CHECK_TIMER: captures.check,
    authorizations.EXPIRING_TIMER: authorizations.announce,
    authorizations.LAPSE_TIMER: lapses.lapse,
    authorizations.LABEL_TIMER: lapses.label,
    reversals.DISPUTE_TIMER: disputes.check,
    strangers.MATCH_TIMER: unmatched.check,
    disputes.ANSWER_TIMER: disputes.check_answer,
    mirror.READ_TIMER: mirror.read,
}


def timers(of_spent: OfSpent) -> dict[str, Timer]:
    """The acts by kind, those that settle payments with the shop's rule for spent credits."""
    return TIMERS | {
        checkouts.CHECK_TIMER: partial(intents.check, of_spent=of_spent),
        reversals.CHECK_TIMER: partial(refunds.check, of_spent=of_spent),
        captures.CHECK_TIMER: partial(captures.check, of_spent=of_spent),
        authorizations.LAPSE_TIMER: partial(lapses.lapse, of_spent=of_spent),
        reversals.DISPUTE_TIMER: partial(disputes.check, of_spent=of_spent),
        strangers.MATCH_TIMER: partial(unmatched.check, of_spent=of_spent),
        disputes.ANSWER_TIMER: partial(disputes.check_answer, of_spent=of_spent),
    }
