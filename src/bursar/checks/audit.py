"""The audit: every invariant as a query that must return no rows. Reads only; decides nothing.

`bursar audit` runs it on your data; the tests run it after everything that moves money, and show
for each query that it finds the fault that it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar.db.connections import Connection

ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must hold, in a sentence, and the query that finds where it does not."""

    name: str
    claim: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold, with the first offending rows."""

    check: str
    title: str
    rows: list[dict[str, Any]]


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "postings_balance",
        "The entries of each posting sum to zero, in one unit.",
        """
        select e.customer_id, e.posting_id, sum(e.amount) as sum, count(distinct a.unit) as units
        from ledger_entries e join ledger_accounts a on a.id = e.account_id
        group by e.customer_id, e.posting_id
        having sum(e.amount) <> 0 or count(distinct a.unit) <> 1
        """,
    ),
    Invariant(
        "postings_have_entries",
        "Each posting has two entries or more, and each entry a posting and an account.",
        """
        select p.customer_id, p.id as posting_id, 'posting' as thing from ledger_postings p
        left join ledger_entries e on e.customer_id = p.customer_id and e.posting_id = p.id
        group by p.customer_id, p.id having count(e.id) < 2
        union all
        select e.customer_id, e.posting_id, 'entry' from ledger_entries e
        left join ledger_postings p on p.customer_id = e.customer_id and p.id = e.posting_id
        left join ledger_accounts a on a.id = e.account_id
        where p.id is null or a.id is null
        """,
    ),
    Invariant(
        "balances_are_sums",
        "The stored balance of each account is the sum of its entries.",
        """
        select a.id as account_id, a.customer_id, a.balance, coalesce(sum(e.amount), 0) as entries
        from ledger_accounts a left join ledger_entries e on e.account_id = a.id
        where a.balance is not null
        group by a.id having a.balance <> coalesce(sum(e.amount), 0)
        """,
    ),
    Invariant(
        "balances_run_on",
        "Each entry's balance follows from the one before it, and was never below zero (a debt "
        "never above).",
        """
        select * from (
            select e.account_id, e.id as entry_id, e.amount, e.balance_after, a.pool,
                lag(e.balance_after, 1, 0::bigint) over (partition by e.account_id order by e.id)
                    as before
            from ledger_entries e join ledger_accounts a on a.id = e.account_id
            where a.pool <> 'house'
        ) x
        where x.balance_after is distinct from x.before + x.amount
            or (x.pool <> 'debt' and x.balance_after < 0)
            or (x.pool = 'debt' and x.balance_after > 0)
        """,
    ),
    Invariant(
        "entries_stay_home",
        "An entry is on an account of its posting's customer and unit, or on the house's.",
        """
        select e.customer_id, e.id as entry_id, e.account_id, a.customer_id as account_of
        from ledger_entries e
        join ledger_accounts a on a.id = e.account_id
        join ledger_postings p on p.customer_id = e.customer_id and p.id = e.posting_id
        where a.customer_id not in (0, e.customer_id) or a.unit <> p.unit
        """,
    ),
    Invariant(
        "amounts_are_entries",
        "A posting's amount is what its entries moved on the customer's accounts.",
        """
        select p.customer_id, p.id as posting_id, p.amount, coalesce(sum(e.amount), 0) as moved
        from ledger_postings p
        left join ledger_entries e on e.customer_id = p.customer_id and e.posting_id = p.id
            and exists (select from ledger_accounts a
                where a.id = e.account_id and a.pool not in ('house', 'held'))
        where p.type not in ('hold', 'release')
        group by p.customer_id, p.id having p.amount <> coalesce(sum(e.amount), 0)
        """,
    ),
    Invariant(
        "postings_have_one_cause",
        "Each posting has exactly one cause, of the same customer.",
        """
        select p.customer_id, p.id as posting_id, count(c.posting_id) as causes
        from ledger_postings p
        left join ledger_causes c on c.posting_id = p.id and c.customer_id = p.customer_id
        group by p.customer_id, p.id having count(c.posting_id) <> 1
        union all
        select c.customer_id, c.posting_id, 0 from ledger_causes c
        left join ledger_postings p on p.customer_id = c.customer_id and p.id = c.posting_id
        where p.id is null
        """,
    ),
    Invariant(
        "give_backs_fit",
        "What was given back of a use is no more than was used, of the same customer and unit, and "
        "no account got more back than was taken from it.",
        """
        select g.customer_id, g.reverses as use_id, null::bigint as account_id,
            sum(g.amount) as given_back, u.amount as used
        from ledger_postings g
        left join ledger_postings u on u.customer_id = g.customer_id and u.id = g.reverses
            and u.unit = g.unit and u.type = 'usage' and u.reverses is null
        where g.reverses is not null
        group by g.customer_id, g.reverses, u.amount
        having u.amount is null or sum(g.amount) > -u.amount
            or bool_or(g.amount <= 0 or g.type <> 'usage')
        union all
        select p.customer_id, coalesce(p.reverses, p.id), e.account_id,
            sum(e.amount) filter (where p.reverses is not null),
            sum(e.amount) filter (where p.reverses is null)
        from ledger_postings p
        join ledger_entries e on e.customer_id = p.customer_id and e.posting_id = p.id
        join ledger_accounts a on a.id = e.account_id and a.pool not in ('house', 'debt')
        where p.type = 'usage'
        group by p.customer_id, coalesce(p.reverses, p.id), e.account_id
        having sum(e.amount) > 0
        """,
    ),
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
        where kind = 'checkout' and (
            unit is distinct from snapshot ->> 'unit'
            or credits is distinct from (snapshot ->> 'credits')::bigint
            or currency is distinct from snapshot ->> 'currency'
            or amount_minor is distinct from (snapshot ->> 'subtotal_minor')::bigint)
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
        "A payment that is not what was asked has a case.",
        """
        select p.customer_id, p.id as payment_id, p.mismatch from payments p
        where p.mismatch is not null and not exists (
            select from cases c where c.kind = 'mismatch' and c.reference = 'payment:' || p.id)
        """,
    ),
    Invariant(
        "reversals_fit",
        "Refunds of a payment come to no more than was captured, and its sums are theirs.",
        """
        select p.customer_id, p.id as payment_id, p.captured_minor, p.refunded_minor,
            coalesce(sum(r.amount_minor) filter (where r.state = 'settled'), 0) as settled
        from payments p
        left join reversals r on r.customer_id = p.customer_id and r.payment_id = p.id
            and r.kind = 'refund'
        group by p.customer_id, p.id
        having p.refunded_minor + p.refund_pending_minor > p.captured_minor
            or p.refunded_minor <> least(p.captured_minor,
                coalesce(sum(r.amount_minor) filter (where r.state = 'settled'), 0))
        """,
    ),
    Invariant(
        "refunds_take_credits_back",
        "What went back of a payment took its share of the credits it brought, rounded up.",
        """
        select customer_id, payment_id, given, taken, refunded_minor, captured_minor from (
            select p.customer_id, p.id as payment_id, p.refunded_minor, p.captured_minor,
                coalesce(sum(l.amount) filter (where l.type = 'purchase'), 0) as given,
                coalesce(-sum(l.amount) filter (where l.type = 'refund'), 0) as taken
            from payments p
            left join ledger_postings l on l.customer_id = p.customer_id and l.payment_id = p.id
            group by p.customer_id, p.id
        ) x
        where taken <> case when captured_minor = 0 then 0
            else least(given, ceil(given * refunded_minor / captured_minor)) end
        """,
    ),
    Invariant(
        "held_for_refunds",
        "Credits are held for a payment only while a refund of it is pending.",
        """
        select a.customer_id, a.source, a.balance from ledger_accounts a
        join payments p on p.customer_id = a.customer_id and a.source = 'payment:' || p.id
        where a.pool = 'held' and a.balance > 0 and p.refund_pending_minor = 0
        """,
    ),
    Invariant(
        "events_are_stored",
        "Each event key has its message with a state, and each message its key.",
        """
        select k.provider, k.event_key, k.message_id from inbox_keys k
        left join inbox_messages m on m.id = k.message_id
        left join inbox_states s on s.message_id = k.message_id
        where m.id is null or s.message_id is null
        union all
        select m.provider, m.event_key, m.id from inbox_messages m
        left join inbox_keys k on k.message_id = m.id where k.message_id is null
        """,
    ),
    Invariant(
        "open_events_are_queued",
        "A message is in the queue exactly while it is not worked off.",
        """
        select s.message_id, s.state, q.message_id is not null as queued
        from inbox_states s left join inbox_queue q on q.message_id = s.message_id
        where (s.state in ('received', 'processing', 'failed')) <> (q.message_id is not null)
        union all
        select q.message_id, null, true from inbox_queue q
        left join inbox_states s on s.message_id = q.message_id where s.message_id is null
        """,
    ),
    Invariant(
        "dead_events_are_cases",
        "A message that was given up has a case.",
        """
        select s.message_id, s.reason from inbox_states s
        where s.state = 'dead' and not exists (
            select from cases c
            where c.kind = 'dead' and c.reference = 'message:' || s.message_id)
        """,
    ),
    Invariant(
        "users_have_customers",
        "Each user has one personal customer and owns it.",
        """
        select u.id as user_id, c.id as customer_id, m.role from users u
        left join customers c on c.user_id = u.id
        left join members m on m.customer_id = c.id and m.user_id = u.id
        where m.role is distinct from 'owner'
        """,
    ),
    Invariant(
        "holds_fit",
        "What lies in `held` for uses is what open holds reserve, and a hold is its posting.",
        """
        select customer_id, unit, sum(amount) as reserved, sum(balance) as held from (
            select customer_id, unit, amount, 0 as balance from holds where state = 'held'
            union all
            select customer_id, unit, 0, balance from ledger_accounts
            where pool = 'held' and source = ''
        ) x group by customer_id, unit having sum(amount) <> sum(balance)
        union all
        select h.customer_id, h.unit, h.amount, -p.amount from holds h
        join ledger_postings p on p.customer_id = h.customer_id and p.id = h.id
        where p.amount <> -h.amount or p.type <> 'hold' or p.unit <> h.unit
        """,
    ),
    Invariant(
        "holds_close_once",
        "A hold that is closed was released once, whole, and what was captured of it was used; an "
        "open one has neither.",
        """
        select h.customer_id, h.id as hold_id, h.state, h.amount, h.captured,
            coalesce(sum(p.amount) filter (where p.type = 'release'), 0) as released,
            coalesce(-sum(p.amount) filter (where p.type = 'usage'), 0) as used
        from holds h
        left join ledger_postings p on p.customer_id = h.customer_id and p.hold_id = h.id
        group by h.customer_id, h.id
        having coalesce(sum(p.amount) filter (where p.type = 'release'), 0)
                <> case h.state when 'held' then 0 else h.amount end
            or coalesce(-sum(p.amount) filter (where p.type = 'usage'), 0) <> h.captured
            or coalesce(-sum(p.amount) filter (where p.type = 'expiry'), 0)
                > h.amount - h.captured
        """,
    ),
    Invariant(
        "vouchers_fit",
        "A voucher's count is the number of its uses, and each use gave the voucher's credits.",
        """
        select v.id as voucher_id, null as user_id, v.uses, count(u.user_id) as listed
        from vouchers v left join voucher_uses u on u.voucher_id = v.id
        group by v.id having v.uses <> count(u.user_id)
        union all
        select u.voucher_id, u.user_id, v.credits, p.amount from voucher_uses u
        join vouchers v on v.id = u.voucher_id
        left join ledger_postings p on p.customer_id = u.customer_id and p.id = u.posting_id
        where p.amount is distinct from v.credits or p.unit <> v.unit or p.type <> 'bonus'
        """,
    ),
)


async def audit(conn: Connection) -> list[Finding]:
    """Run every invariant; an empty list means that all of them hold."""
    findings: list[Finding] = []
    for invariant in INVARIANTS:
        query = f"select * from ({invariant.sql}) q limit {ROWS_SHOWN}"  # noqa: S608
        rows = await conn.fetch(query)
        if rows:
            findings.append(
                Finding(invariant.name, invariant.claim, [dict(row.items()) for row in rows])
            )
    return findings
