"""What follows from subscriptions as they stand: allowances, features, the next look at them.

Reckoned anew from the rows each time: what was paid for, less what was posted. So messages that
come twice, late or in any order end the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bursar.billing import allowances, cases, entitlements, payments
from bursar.billing.allowances import Allowance, Closing, Period, Rollover
from bursar.billing.entitlements import Grant, Source
from bursar.billing.rights import Right
from bursar.billing.rules import Rules
from bursar.billing.subscriptions import dues, rows
from bursar.billing.subscriptions.dues import Due
from bursar.billing.subscriptions.merge import Read
from bursar.billing.subscriptions.rows import Subscription
from bursar.db.connections import Connection
from bursar.messages import timers

CHECK_TIMER = "subscription.check"
LOOK_AGAIN = timedelta(hours=24)
"""How long a subscription goes unasked about at most, if no message comes."""
LOOK_SOON = timedelta(hours=1)
AFTER_CHANGE = timedelta(minutes=90)
"""How long after something should have happened it is asked about: a provider takes about an hour
from a period's end to the payment."""
RECENT = timedelta(days=100)
"""How long ago something was paid, or ended, that may still have to be posted."""
TRIAL_TIMER = "subscription.trial_ending"
DUNNING_TIMER = "subscription.dunning"
TOLD_BEFORE = timedelta(days=3)
"""How long before its end a trial is told of."""
SEATS = "seats"
RUNNING = ("trialing", "active", "past_due")


def name(row: Subscription) -> str:
    """A subscription's name among timers and cases."""
    return f"{row.provider}:{row.subscription_id}"


async def follow(conn: Connection, read: Sequence[Read], *, at: datetime, rules: Rules) -> None:
    """Give and end what these subscriptions entitle to. `at` is business time."""
    for one in sorted(read, key=lambda one: (one.row.customer_id, one.row.id)):
        paid = dues.reckon(one.row, one.invoices, one.terms)
        await _try(conn, one, at=at)
        await _allow(conn, one.row, paid, at=at, rules=rules)
        await _entitle(conn, one, at=at, rules=rules)
        await _paid_too_late(conn, one, at=at)
        await _look_again(conn, one, paid, at=at)
        await _press(conn, one, at=at, rules=rules)


def is_given_up(row: Subscription, attempts: int, rules: Rules) -> bool:
    """Whether an invoice that is open was tried so often that its subscription is to end."""
    return rules.failures_max is not None and row.live and attempts >= rules.failures_max


async def _press(conn: Connection, one: Read, *, at: datetime, rules: Rules) -> None:
    """Have a trial's end told of, and what nobody pays for ended."""
    row = one.row
    if row.status == "trialing" and row.trial_end is not None:
        due_at = row.trial_end - TOLD_BEFORE
        await timers.schedule(conn, TRIAL_TIMER, name(row), due_at=max(at, due_at), at=at)
    owed = [invoice for invoice in one.invoices if invoice.status == "open"]
    if any(is_given_up(row, invoice.attempts, rules) for invoice in owed):
        await timers.schedule(conn, DUNNING_TIMER, name(row), due_at=at, at=at)


async def _try(conn: Connection, one: Read, *, at: datetime) -> None:
    """Count a trial as its person's, and give what it brings to who has had none before."""
    row, plan = one.row, one.plan
    if row.trial_end is None or row.user_id is None or plan is None:
        return
    first = await rows.begin_trial(conn, row, row.user_id, plan.group, at=at)
    period = Period(row.customer_id, plan.unit, row.subscription_id, "trial")
    if first and plan.trial_credits and row.status == "trialing":
        given = Allowance(
            period=period, target=plan.trial_credits, ends_at=row.trial_end, description="Trial"
        )
        await allowances.grant(conn, [given], at=at)
    if first and plan.trial_credits and not row.live:
        await allowances.extend(conn, [period], ends_at=row.ended_at or at, at=at)


async def _allow(
    conn: Connection, row: Subscription, paid: Sequence[Due], *, at: datetime, rules: Rules
) -> None:
    """Post what was paid for beyond what was given, and end the periods that are over."""
    credited = {(due.unit, due.ends_at) for due in paid if due.credited}
    paid = [due for due in paid if due.target]
    begun = [due for due in paid if due.starts_at <= at]
    greatest = dues.periods(begun)
    if not greatest:
        return
    current = max(greatest, key=lambda due: due.starts_at)
    ends_at = _end(row, current, paid, rules)
    recent = [due for due in begun if max(due.ends_at, due.paid_at) > at - RECENT]
    for due in await _kept(conn, row, recent):
        allowance = Allowance(
            period=_period(row, due),
            target=due.target,
            ends_at=ends_at if due.ends_at == current.ends_at else due.ends_at,
            payment_id=due.payment_id,
        )
        if due.ends_at <= due.paid_at and due.ends_at != current.ends_at:
            # Paid for when the period was over: it comes with the one that runs.
            allowance = replace(allowance, into=_period(row, current), ends_at=ends_at)
        await allowances.grant(conn, [allowance], at=at)
    for due in [due for due in greatest if due.ends_at > at]:
        if (due.unit, due.ends_at) in credited:
            target = Allowance(period=_period(row, due), target=due.target, ends_at=due.ends_at)
            await allowances.lower(conn, target, at=at)
    await allowances.extend(conn, [_period(row, current)], ends_at=ends_at, at=at)
    over = [due for due in greatest if due.starts_at < current.starts_at]
    closings = [
        Closing(_period(row, due), _rollover(row, current, ends_at))
        for due in over
        if due.ends_at + 2 * rules.grace > at
    ]
    await allowances.close(conn, closings, at=at)


async def _kept(conn: Connection, row: Subscription, begun: Sequence[Due]) -> list[Due]:
    """What is due of what the shop still has the money for.

    A refund takes its share of what was given by then; a later month of a year that was paid at
    once comes with the share that was not given back, which no later refund takes.
    """
    later = {due.payment_id for due in begun if due.payment_id and _is_later(due)}
    back = await payments.shares_back(conn, row.customer_id, sorted(later)) if later else {}
    return [_lessened(due, *back.get(due.payment_id or 0, (0, 0))) for due in begun]


def _lessened(due: Due, refunded: int, captured: int) -> Due:
    if not refunded or not _is_later(due):
        return due
    return replace(due, target=due.target * (captured - refunded) // captured, payment_id=None)


def _is_later(due: Due) -> bool:
    """Whether it is of a month that began after its year was paid."""
    return due.starts_at > due.paid_at + timedelta(days=1)


def _end(row: Subscription, current: Due, paid: Sequence[Due], rules: Rules) -> datetime:
    """When the allowance of the latest period that was paid for ends.

    It outlasts its period for a grace, while the next one's payment is to be expected.
    """
    if row.ended_at is not None:
        return min(current.ends_at, row.ended_at)
    if any(due.starts_at == current.ends_at for due in paid):
        # A later month of a year that is paid already.
        return current.ends_at
    goes_on = row.cancel_at is None or row.cancel_at > current.ends_at
    return current.ends_at + (rules.grace if row.status in RUNNING and goes_on else timedelta())


def _rollover(row: Subscription, current: Due, ends_at: datetime) -> Rollover | None:
    if not current.rollover:
        return None
    return Rollover(_period(row, current), ends_at, current.rollover)


def _period(row: Subscription, due: Due) -> Period:
    return Period(row.customer_id, due.unit, row.subscription_id, due.name)


async def _paid_too_late(conn: Connection, one: Read, *, at: datetime) -> None:
    """Have a person look at money that came when its subscription had ended: it brings nothing."""
    row, ended_at = one.row, one.row.ended_at
    late = [
        invoice
        for invoice in one.invoices
        if invoice.status == "paid" and invoice.paid_minor and invoice.reason in ("create", "cycle")
        if ended_at is not None and invoice.paid_at is not None and invoice.paid_at > ended_at
    ]
    openings = [
        cases.Opening(
            kind="review",
            reference=f"invoice:{invoice.provider}:{invoice.invoice_id}",
            customer_id=row.customer_id,
            payment_id=invoice.payment_id,
            amount_minor=invoice.paid_minor,
            currency=invoice.currency,
            summary="An invoice was paid after its subscription had ended. It brought nothing: "
            "refund it, or give what it was paid for by hand.",
            detail={"subscription_id": row.subscription_id, "invoice_id": invoice.invoice_id},
        )
        for invoice in late
    ]
    await cases.open_cases(conn, openings, at=at)


def _is_unpaid(one: Read, at: datetime) -> bool:
    """Whether the period that runs was never to be paid: its invoice is void, as in a pause."""
    final = [invoice for invoice in one.invoices if invoice.status != "draft"]
    # One of a change alone says nothing of the period.
    periods = [i for i in final if any(not line.proration for line in i.lines)]
    newest = periods[-1] if periods else None
    if newest is None or newest.status not in ("void", "uncollectible"):
        return False
    return any(line.period_end > at for line in newest.lines)


async def _entitle(conn: Connection, one: Read, *, at: datetime, rules: Rules) -> None:
    """Give the features of its plan while it runs; while it owes, for a grace."""
    row, plan = one.row, one.plan
    source = Source(row.customer_id, "plan", f"subscription:{row.id}")
    owed_until = row.past_due_at + rules.grace if row.past_due_at else None
    over = row.status not in RUNNING or (owed_until is not None and owed_until <= at)
    if plan is None or over or _is_unpaid(one, at):
        await entitlements.end(conn, [source], at=min(at, row.ended_at or at))
        return
    ends = [end for end in (row.cancel_at, owed_until) if end is not None]
    until = min(ends, default=None)
    grants = [
        Grant(source, _of_seats(right, row), starts_at=row.created_at, ends_at=until)
        for right in plan.rights
    ]
    await entitlements.end_others(conn, source, [right.feature for right in plan.rights], at=at)
    await entitlements.grant(conn, grants, at=at)


def _of_seats(right: Right, row: Subscription) -> Right:
    """A right of so many subscribed to: each brings its seats; all other rights it has once."""
    if right.feature != SEATS or right.amount is None:
        return right
    return replace(right, amount=right.amount * max(1, row.quantity))


async def _look_again(conn: Connection, one: Read, paid: Sequence[Due], *, at: datetime) -> None:
    """Set the time to ask the provider next: soon after something should have happened."""
    row = one.row
    await timers.cancel(conn, CHECK_TIMER, name(row))
    if row.status == "canceled":
        return
    expected = [
        row.period_end + AFTER_CHANGE,
        *(due.starts_at for due in paid if due.target),
        *(i.next_attempt_at + AFTER_CHANGE for i in one.invoices if i.next_attempt_at),
        *(moment + LOOK_SOON for moment in (row.cancel_at, row.resumes_at) if moment),
    ]
    waiting = any(invoice.status in ("draft", "open") for invoice in one.invoices)
    usual = at + (LOOK_SOON if waiting and row.status != "past_due" else LOOK_AGAIN)
    due_at = min([moment for moment in expected if moment > at] + [usual])
    await timers.schedule(conn, CHECK_TIMER, name(row), due_at=due_at, at=at)
