"""Which function handles what: the table of contents of everything that happens later.

`handle` is a message's one transaction, `TIMERS` what falls due. Called by the worker alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from bursar.billing import (
    asking,
    authorizations,
    captures,
    checkouts,
    disputes,
    dunning,
    expiry,
    holds,
    intents,
    lapses,
    mirror,
    refunds,
    reversals,
    settle,
    strangers,
    subscription_changes,
    unmatched,
)
from bursar.billing.rules import USUAL, Rules
from bursar.billing.subscriptions import follow, guard, rows
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import inbox
from bursar.messages.inbox import Claimed
from bursar.providers.mirrored import CatalogFact
from bursar.providers.port import Facts, Ignored, PaymentFacts, Provider, Told
from bursar.providers.recurring import SubscriptionFact, SubscriptionNews

Providers = Mapping[str, Provider]
NO_SUBSCRIPTION = "the provider has no such subscription"
# A timer's act answers when it wants to be called again, if at all.
Timer = Callable[[Database, Providers, str, Clock], Awaitable[datetime | None]]


async def handle(
    conn: Connection,
    message: Claimed,
    facts: Sequence[Facts | Told],
    *,
    clock: Clock,
    fetched: bool,
    rules: Rules = USUAL,
) -> None:
    """Settle what a message says and close it, in one transaction.

    Raises settle.FactsMissing when the provider must be asked first, inbox.LeaseLost when another
    worker has the message: in both cases nothing of it may stand.
    """
    at = clock.now()
    said = [fact for fact in facts if isinstance(fact, PaymentFacts | SubscriptionFact)]
    news = next((fact for fact in facts if isinstance(fact, SubscriptionNews)), None)
    if news is not None and not fetched:
        if not await _is_known(conn, news, message):
            raise settle.FactsMissing(news=news)
        await inbox.finish(conn, message, "done", at=at, reason="read since it came")
        return
    if things := [fact for fact in facts if isinstance(fact, CatalogFact)]:
        await mirror.take(conn, things, at=at)
        await inbox.finish(conn, message, "done", at=at)
        return
    if not said:
        reason = next((f.reason for f in facts if isinstance(f, Ignored)), NO_SUBSCRIPTION)
        await inbox.finish(conn, message, "ignored", at=at, reason=reason)
        return
    settled = await settle.settle(conn, said, at=at, fetched=fetched, rules=rules)
    if settled.payment_ids:
        await inbox.finish(conn, message, "done", at=at, payment_id=settled.payment_ids[0])
    elif settled.subscriptions:
        await inbox.finish(conn, message, "done", at=at)
    elif settled.stray:
        await inbox.finish(conn, message, "done", at=at, reason="unmatched money: see the cases")
    else:
        await inbox.finish(conn, message, "ignored", at=at, reason="not a payment of ours")


async def _is_known(conn: Connection, news: SubscriptionNews, message: Claimed) -> bool:
    """Whether the provider was asked after this message came: then its answer had it."""
    subscription_id, invoice_id = news.subscription_id, news.invoice_id
    if subscription_id is None:
        return False
    return await rows.is_read_since(conn, news.provider, subscription_id, invoice_id, message.id)


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
    follow.CHECK_TIMER: asking.check,
    follow.DUNNING_TIMER: dunning.give_up,
    follow.TRIAL_TIMER: dunning.announce,
    guard.RESOLVE_TIMER: dunning.resolve,
    subscription_changes.CHECK_TIMER: subscription_changes.check,
}


def timers(rules: Rules) -> dict[str, Timer]:
    """The acts by kind, those that settle payments with the shop's rule for spent credits."""
    return TIMERS | {
        checkouts.CHECK_TIMER: partial(intents.check, rules=rules),
        reversals.CHECK_TIMER: partial(refunds.check, rules=rules),
        captures.CHECK_TIMER: partial(captures.check, rules=rules),
        authorizations.LAPSE_TIMER: partial(lapses.lapse, rules=rules),
        reversals.DISPUTE_TIMER: partial(disputes.check, rules=rules),
        strangers.MATCH_TIMER: partial(unmatched.check, rules=rules),
        disputes.ANSWER_TIMER: partial(disputes.check_answer, rules=rules),
        follow.CHECK_TIMER: partial(asking.check, rules=rules),
        follow.DUNNING_TIMER: partial(dunning.give_up, rules=rules),
        guard.RESOLVE_TIMER: partial(dunning.resolve, rules=rules),
        subscription_changes.CHECK_TIMER: partial(subscription_changes.check, rules=rules),
    }
