"""Invariants of the ledger: postings, balances, holds."""

from __future__ import annotations

from bursar.checks.invariants.invariant import Invariant

INVARIANTS = (
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
            or (x.pool not in ('debt', 'forgiven') and x.balance_after < 0)
            or (x.pool in ('debt', 'forgiven') and x.balance_after > 0)
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
        join ledger_accounts a on a.id = e.account_id
            and a.pool not in ('house', 'debt', 'forgiven')
        where p.type = 'usage'
        group by p.customer_id, coalesce(p.reverses, p.id), e.account_id
        having sum(e.amount) > 0
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
)
