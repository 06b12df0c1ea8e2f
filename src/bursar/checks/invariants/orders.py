"""Invariants of orders under review: what was held, decided and taken."""

from __future__ import annotations

from bursar.checks.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "captures_fit",
        "Of money that was held for a capture by hand no more was taken than was held.",
        """
        select customer_id, id as payment_id, authorized_minor, captured_minor
        from payments
        where authorized_until is not null and snapshot ->> 'capture_method' = 'manual'
            and (authorized_minor is null or captured_minor > authorized_minor
                and not exists (select from cases c
                    where c.kind = 'excess' and c.reference = 'payment:' || payments.id))
        """,
    ),
    Invariant(
        "decisions_are_what_happened",
        "A decision that is done is what became of the payment: so much taken, or nothing.",
        """
        select d.customer_id, d.payment_id, d.kind, d.amount_minor, p.state, p.captured_minor
        from order_decisions d
        join payments p on p.customer_id = d.customer_id and p.id = d.payment_id
        where d.state = 'done' and case d.kind
            when 'capture' then p.state <> 'completed' or p.captured_minor <> d.amount_minor
            else p.state not in ('canceled', 'expired') end
        """,
    ),
    Invariant(
        "held_money_has_an_end",
        "Of each order that waits it is known when the provider will be asked, or a person is.",
        """
        select p.customer_id, p.id as payment_id, p.authorized_until from payments p
        where p.state = 'authorized'
            and not exists (select from timers t
                where t.kind = 'order.lapse' and t.reference = p.reference::text)
            and not exists (select from cases c
                where c.reference in ('order:' || p.id, 'payment:' || p.id,
                    'timer:order.lapse:' || p.reference))
        """,
    ),
)
