"""What happens to subscriptions by themselves: unpaid ones end, one too many goes, trials near
their end are told of.

Works timers that settling sets. Each act looks first whether it is still called for, and each call
is made as if a person had asked for it, so a repetition changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from bursar import errors
from bursar.billing import asking, letters, payments, refunds, subscription_changes
from bursar.billing.rules import USUAL, Rules
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions import follow, guard, news, rows
from bursar.billing.subscriptions.rows import Subscription
from bursar.clock import Clock
from bursar.db import Database
from bursar.providers.port import Provider


async def give_up(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: end a subscription whose invoice was tried too often.

    Raises the provider's failures: the timer tries again.
    """
    row = await _find(db, providers, reference)
    if row is None or not row.live:
        return None
    row = await asking.read(db, providers[row.provider], row, clock=clock, rules=rules)
    async with db.connection() as conn:
        owed = [i for i in await rows.list_invoices(conn, row) if i.status == "open"]
    if not any(follow.is_given_up(row, invoice.attempts, rules) for invoice in owed):
        return None
    await _cancel(db, providers, row, who="dunning", clock=clock, rules=rules)
    return None


async def resolve(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: refund and cancel a subscription that is one too many.

    The refund comes first: what is canceled is not one too many any more. Raises the provider's
    failures: the timer tries again.
    """
    row = await _find(db, providers, reference)
    if row is None or rules.of_duplicates != "cancel":
        return None
    provider = providers[row.provider]
    row = await asking.read(db, provider, row, clock=clock, rules=rules)
    async with db.connection() as conn:
        if not guard.is_extra(row, await rows.list_live(conn, row.customer_id)):
            return None
        invoices = await rows.latest_invoices(conn, row.customer_id, row.id, limit=100)
        # What was had of it beside the other was had: only what still runs is paid for twice.
        runs = [i for i in invoices if any(line.period_end > clock.now() for line in i.lines)]
        ids = [invoice.payment_id for invoice in runs if invoice.payment_id]
        paid = [await payments.get_payment(conn, row.customer_id, one) for one in ids]
    for payment in paid:
        left = payment.captured_minor - payment.refunded_minor - payment.refund_pending_minor
        if payment.state != "completed" or payment.disputed_minor or left <= 0:
            continue
        wanted = refunds.Wanted(
            payment_id=payment.id,
            reason="duplicate",
            force=True,
            requested_by="duplicate",
            rules=rules,
        )
        await refunds.request(db, provider, wanted, clock=clock)
    await _cancel(db, providers, row, who="duplicate", clock=clock, rules=rules)
    return None


async def announce(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: tell that a trial ends soon, if it still does."""
    row = await _find(db, providers, reference)
    if row is None or row.status != "trialing" or row.trial_end is None:
        return None
    due_at, at = row.trial_end - follow.TOLD_BEFORE, clock.now()
    if due_at > at:
        return due_at
    async with db.transaction() as conn:
        await letters.tell(conn, [news.trial_ending(row)], at=at)
    return None


async def _find(
    db: Database, providers: Mapping[str, Provider], reference: str
) -> Subscription | None:
    """The subscription that a timer is about, if its provider can be asked."""
    name, _, subscription_id = reference.partition(":")
    async with db.connection() as conn:
        row = await rows.find(conn, name, subscription_id)
    return row if row is not None and row.provider in providers else None


async def _cancel(
    db: Database,
    providers: Mapping[str, Provider],
    row: Subscription,
    *,
    who: str,
    clock: Clock,
    rules: Rules,
) -> None:
    wanted = Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind="cancel_now",
        requested_by=who,
        rules=rules,
    )
    try:
        await subscription_changes.request(db, providers, wanted, clock=clock)
    except errors.SubscriptionNotChangeable as error:
        # Somebody else changes it at this moment: that comes first.
        raise errors.ProviderUnavailable(str(error)) from error
