"""Invariants of customers: who they are, and what they were given."""

from __future__ import annotations

from bursar.checks.invariants.invariant import Invariant

INVARIANTS = (
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
    Invariant(
        "customers_have_owners",
        "A personal account has its own user and nobody else; every team has an owner.",
        """
        select c.id as customer_id, c.kind, m.user_id from customers c
        join members m on m.customer_id = c.id
        where c.kind = 'personal' and m.user_id <> c.user_id
        union all
        select c.id, c.kind, null from customers c
        where c.kind = 'team' and not exists (
            select from members m where m.customer_id = c.id and m.role = 'owner')
        """,
    ),
    Invariant(
        "limits_are_counted_by_what_was_granted",
        "What was counted of a feature belongs to a customer who was given it once.",
        """
        select n.customer_id, n.feature, n.used from entitlement_counts n
        where not exists (select from entitlements e
            where e.customer_id = n.customer_id and e.feature = n.feature)
        """,
    ),
)
