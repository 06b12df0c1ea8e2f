"""Invariants of subscriptions: what was paid for, what it brought, and what still runs."""

from __future__ import annotations

from bursar.checks.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "allowances_come_once",
        "A period of a subscription brought the greatest allowance that was paid for, once.",
        """
        select c.cause_id, sum(p.amount) as given,
            max(split_part(c.purpose, ':', 2)::bigint) as greatest
        from ledger_causes c
        join ledger_postings p on p.customer_id = c.customer_id and p.id = c.posting_id
        where c.kind = 'allowance' and (c.purpose like 'grant:%' or c.purpose like 'back:%')
        group by c.cause_id
        having sum(p.amount) > max(split_part(c.purpose, ':', 2)::bigint)
            or (sum(p.amount) < max(split_part(c.purpose, ':', 2)::bigint)
                and bool_and(c.purpose not like 'back:%'))
        """,
    ),
    Invariant(
        "allowances_were_paid_for",
        "An allowance that bears a payment bears a completed one of an invoice that is paid.",
        """
        select l.customer_id, l.id as posting_id, l.payment_id, p.state, i.status
        from ledger_postings l
        left join payments p on p.customer_id = l.customer_id and p.id = l.payment_id
        left join invoices i on i.customer_id = l.customer_id and i.payment_id = l.payment_id
        where l.type = 'subscription' and l.payment_id is not null
            and (p.state is distinct from 'completed' or i.status is distinct from 'paid')
        """,
    ),
    Invariant(
        "paid_invoices_are_payments",
        "The money of an invoice that was paid is a completed payment of the same sum.",
        """
        select i.customer_id, i.invoice_id, i.due_minor, i.paid_minor, p.id as payment_id, p.state,
            p.captured_minor
        from invoices i
        left join payments p on p.customer_id = i.customer_id and p.id = i.payment_id
        where i.status = 'paid' and i.paid_minor > 0
            and (p.state is distinct from 'completed' or p.captured_minor <> i.paid_minor)
        """,
    ),
    Invariant(
        "one_subscription_of_a_group",
        "Of two live subscriptions of one group a person is told, or one is about to go.",
        """
        select s.customer_id, s.plan_group, s.provider, max(s.id) as later from subscriptions s
        where s.status not in ('canceled', 'incomplete') and not s.addon and s.cancel_at is null
            and s.plan_group is not null
        group by s.customer_id, s.plan_group, s.provider
        having count(*) > 1 and not exists (
            select from subscriptions t
            join cases c on c.kind = 'duplicate'
                and c.reference = 'subscription:' || t.provider || ':' || t.subscription_id
            where t.customer_id = s.customer_id and t.plan_group = s.plan_group)
        """,
    ),
    Invariant(
        "features_end_with_the_subscription",
        "A subscription that has ended gives no features any more.",
        """
        select e.customer_id, e.source, e.feature, e.ends_at, s.ended_at from entitlements e
        join subscriptions s on s.customer_id = e.customer_id
            and e.source_kind = 'plan' and e.source = 'subscription:' || s.id
        where s.status = 'canceled' and s.ended_at is not null
            and (e.ends_at is null or e.ends_at > s.ended_at)
        """,
    ),
    Invariant(
        "what_lives_is_asked_about",
        "A subscription that has not ended has a timer at which the provider is asked about it.",
        """
        select s.customer_id, s.id, s.subscription_id, s.status from subscriptions s
        where s.status <> 'canceled' and not exists (
            select from timers t where t.kind = 'subscription.check'
                and t.reference = s.provider || ':' || s.subscription_id)
        """,
    ),
    Invariant(
        "changes_are_followed",
        "A change of a subscription that nobody answered yet is asked about by a timer.",
        """
        select c.customer_id, c.id, c.kind, c.reference from subscription_changes c
        where c.state = 'pending' and not exists (
            select from timers t
            where t.kind = 'subscription.change' and t.reference = c.reference::text)
        """,
    ),
)
