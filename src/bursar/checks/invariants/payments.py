"""Invariants of payments: what was paid, credited and taken back."""

from __future__ import annotations

from bursar.checks.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "credits_have_evidence",
        "Purchased credits were given only for a completed payment of that customer, without a "
        "mismatch.",
        """
        select l.customer_id, l.id as posting_id, l.payment_id, p.state, p.mismatch
        from ledger_postings l
        left join payments p on p.customer_id = l.customer_id and p.id = l.payment_id
        where l.type = 'purchase'
            and (p.id is null or p.state <> 'completed' or p.mismatch is not null
                or p.unit is distinct from l.unit)
        """,
    ),
    Invariant(
        "paid_is_credited",
        "A completed payment gave the credits that its snapshot and the sum captured say, once.",
        """
        select p.customer_id, p.id as payment_id, p.credits, coalesce(sum(l.amount), 0) as given
        from payments p
        left join ledger_postings l on l.customer_id = p.customer_id and l.payment_id = p.id
            and l.type = 'purchase'
        where p.state = 'completed' and p.mismatch is null
        group by p.customer_id, p.id
        having coalesce(sum(l.amount), 0) <> case
            when (p.facts #>> '{totals,total_minor}')::bigint > p.captured_minor
            then floor(p.credits::numeric * p.captured_minor
                / (p.facts #>> '{totals,total_minor}')::numeric)
            else p.credits end
        """,
    ),
    Invariant(
        "parts_are_taken_by_hand",
        "Only where capture by hand was asked can a completed payment be less than its total.",
        """
        select customer_id, id as payment_id, captured_minor, facts -> 'totals' as totals
        from payments
        where state = 'completed' and mismatch is null
            and snapshot ->> 'capture_method' = 'automatic'
            and captured_minor < (facts #>> '{totals,total_minor}')::bigint
        """,
    ),
    Invariant(
        "payments_are_what_was_asked",
        "The row of a payment still says what its snapshot says: unit, credits, currency, amount.",
        """
        select customer_id, id as payment_id, credits, amount_minor, currency, unit, snapshot
        from payments
        where kind in ('checkout', 'intent') and (
            unit is distinct from snapshot ->> 'unit'
            or credits is distinct from (snapshot ->> 'credits')::bigint
            or currency is distinct from snapshot ->> 'currency'
            or amount_minor is distinct from (snapshot ->> 'subtotal_minor')::bigint
                - case when snapshot ? 'coupon' then (snapshot ->> 'discount_minor')::bigint
                    else 0 end)
        """,
    ),
    Invariant(
        "payments_are_found",
        "Each payment is found by its number, its reference, its session and its intent.",
        """
        select p.customer_id, p.id as payment_id, n.provider, n.kind, n.ref
        from payments p
        cross join lateral (values
            ('bursar', 'payment', p.id::text), ('bursar', 'reference', p.reference::text),
            (p.provider, 'session', p.session_id), (p.provider, 'intent', p.payment_intent_id)
        ) as n (provider, kind, ref)
        left join provider_refs r on r.provider = n.provider and r.kind = n.kind and r.ref = n.ref
        where n.ref is not null
            and (r.target_id is distinct from p.id or r.customer_id is distinct from p.customer_id)
        """,
    ),
    Invariant(
        "mismatches_are_cases",
        "A payment that is not what was asked has a case, unless it went back whole.",
        """
        select p.customer_id, p.id as payment_id, p.mismatch from payments p
        where p.mismatch is not null and (p.captured_minor = 0
            or p.refunded_minor < p.captured_minor) and not exists (
            select from cases c where c.kind = 'mismatch' and c.reference = 'payment:' || p.id)
        """,
    ),
    Invariant(
        "reversals_fit",
        "Refunds of a payment come to no more than was captured, and its sums are those of its "
        "refunds and disputes.",
        """
        select p.customer_id, p.id as payment_id, p.captured_minor, p.refunded_minor,
            p.disputed_minor,
            coalesce(sum(r.amount_minor) filter (where r.kind = 'refund' and r.state = 'settled'),
                0) as refunded,
            coalesce(sum(r.amount_minor) filter (where r.kind = 'dispute' and not r.inquiry
                and r.state <> 'released'), 0) as disputed
        from payments p
        left join reversals r on r.customer_id = p.customer_id and r.payment_id = p.id
        group by p.customer_id, p.id
        having p.refunded_minor + p.refund_pending_minor > p.captured_minor
            or p.refunded_minor <> least(p.captured_minor, coalesce(sum(r.amount_minor)
                filter (where r.kind = 'refund' and r.state = 'settled'), 0))
            or p.disputed_minor <> least(p.captured_minor, coalesce(sum(r.amount_minor)
                filter (where r.kind = 'dispute' and not r.inquiry and r.state <> 'released'), 0))
        """,
    ),
    Invariant(
        "refunds_take_credits_back",
        "What went back of a payment, by refund or lost dispute, took its share of the credits it "
        "brought, rounded up, but for what of a plan's ended unused.",
        """
        select * from (
            select x.*, case when captured_minor = 0 then 0
                else least(given, ceil(given * least(refunded_minor + lost, captured_minor)
                    / captured_minor)) end as due
            from (
            select p.customer_id, p.id as payment_id, p.refunded_minor, p.captured_minor,
                coalesce(sum(l.amount) filter (where l.type in ('purchase', 'subscription')),
                    0) as given,
                coalesce(-sum(l.amount) filter (where l.type = 'refund'), 0) as taken,
                (select coalesce(sum(r.amount_minor), 0) from reversals r
                    where r.customer_id = p.customer_id and r.payment_id = p.id
                        and r.kind = 'dispute' and r.state = 'settled' and not r.inquiry) as lost,
                (select coalesce(-sum(e.amount), 0) from ledger_entries e
                    join ledger_postings y on y.customer_id = e.customer_id and y.id = e.posting_id
                    where e.customer_id = p.customer_id and y.type = 'expiry' and e.account_id in (
                        select f.account_id from ledger_entries f
                        join ledger_postings g on g.customer_id = f.customer_id
                            and g.id = f.posting_id
                        join ledger_accounts a on a.id = f.account_id
                        where g.customer_id = p.customer_id and g.payment_id = p.id
                            and g.type = 'subscription' and a.pool = 'plan')) as ended
            from payments p
            left join ledger_postings l on l.customer_id = p.customer_id and l.payment_id = p.id
            group by p.customer_id, p.id
            ) x
        ) y
        where taken > due or taken < due - ended
        """,
    ),
    Invariant(
        "held_for_refunds",
        "Credits are held for a payment only while a refund or a dispute of it is pending, and no "
        "more than that would take.",
        """
        select customer_id, source, balance, given, taken, pending from (
            select a.customer_id, a.source, a.balance, p.captured_minor,
                (select coalesce(sum(l.amount) filter (where l.type = 'purchase'), 0)
                    from ledger_postings l
                    where l.customer_id = p.customer_id and l.payment_id = p.id) as given,
                (select coalesce(-sum(l.amount) filter (where l.type = 'refund'), 0)
                    from ledger_postings l
                    where l.customer_id = p.customer_id and l.payment_id = p.id) as taken,
                (select coalesce(sum(r.amount_minor) filter (where r.state = 'pending'), 0)
                    from reversals r where r.customer_id = p.customer_id
                        and r.payment_id = p.id and not r.inquiry) as pending
            from ledger_accounts a
            join payments p on p.customer_id = a.customer_id and a.source = 'payment:' || p.id
            where a.pool = 'held' and a.balance > 0
        ) x
        where pending = 0 or captured_minor = 0 or balance > given - taken
            or balance > ceil(given * pending / captured_minor)
        """,
    ),
)
