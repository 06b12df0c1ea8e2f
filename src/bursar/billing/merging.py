"""Merging: what was told of payments, brought into their rows, which stay locked.

Monotone: union by id, maximum of cumulative amounts, ranked states. So duplicates, any order, the
success page, polling and reconciliation all end the same. It posts no credits and opens no case:
settle does, from the merged rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bursar.billing import payment_facts, payments
from bursar.billing.payment_facts import Row
from bursar.db.connections import Connection
from bursar.providers.after_sale import DisputeFact
from bursar.providers.port import PaymentFacts, RefundFact

FIND_REFS = """
select r.provider, r.kind, r.ref, r.customer_id, r.target_id
from unnest($1::text[], $2::text[], $3::text[]) as t (provider, kind, ref)
join provider_refs r using (provider, kind, ref)
where r.target_id is not null
"""

LOCK = f"""
select {payments.COLUMNS} from unnest($1::bigint[], $2::bigint[]) as t (customer_id, id)
join payments p using (customer_id, id)
order by p.customer_id, p.id
for update of p
"""  # noqa: S608 - the columns are a constant


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` made of the facts: the rows they touched, and the facts that fit none.

    `unbound` are payments that some of the latter carry the reference of, without their session
    having named that intent: asking the provider may bind them.
    """

    rows: list[Row]
    unmatched: list[PaymentFacts]
    unbound: list[tuple[Row, PaymentFacts]]
    refunds: dict[int, list[RefundFact]]
    """What was told of refunds, by payment id."""
    disputes: dict[int, list[DisputeFact]]
    """The same of disputes."""
    before: list[Row]
    """The rows as they were, in the order of `rows`."""


async def lock(conn: Connection, customer_id: int, payment_id: int) -> Merged:
    """One payment's row, locked, with nothing new to merge."""
    locked = await conn.fetch(LOCK, [customer_id], [payment_id])
    rows = [payment_facts.row_of(dict(row)) for row in locked]
    return Merged(rows, [], [], {}, {}, rows)


async def merge(conn: Connection, facts: Sequence[PaymentFacts]) -> Merged:
    """Merge facts into the payments they are about, and lock those rows."""
    wanted = [name for fact in facts for name in payment_facts.names(fact)]
    found = await conn.fetch(
        FIND_REFS, [n[0] for n in wanted], [n[1] for n in wanted], [n[2] for n in wanted]
    )
    where = {
        (r["provider"], r["kind"], r["ref"]): (r["customer_id"], r["target_id"]) for r in found
    }
    keys = sorted(set(where.values()))
    locked = await conn.fetch(LOCK, [k[0] for k in keys], [k[1] for k in keys])
    rows = {(r["customer_id"], r["id"]): payment_facts.row_of(dict(r)) for r in locked}
    before = list(rows.values())
    unmatched: list[PaymentFacts] = []
    unbound: list[tuple[Row, PaymentFacts]] = []
    refunds: dict[int, list[RefundFact]] = {}
    disputes: dict[int, list[DisputeFact]] = {}
    # Sessions first: they name the intent that is theirs, by which the others then are found.
    for fact in sorted(facts, key=lambda fact: (fact.session_id is None, fact.reference is None)):
        known = [where[name] for name in payment_facts.names(fact) if name in where]
        fitting = [key for key in known if payment_facts.fits(rows[key], fact)]
        key = next((key for key in fitting if payment_facts.binds(rows[key], fact)), None)
        if key is None:
            unmatched.append(fact)
            if fitting:
                unbound.append((rows[fitting[0]], fact))
            continue
        told = payment_facts.in_currency_of(rows[key], fact)
        rows[key] = payment_facts.merged(rows[key], told)
        refunds.setdefault(key[1], []).extend(fact.refunds)
        disputes.setdefault(key[1], []).extend(told.disputes)
        refs = {
            "session": fact.session_id,
            "intent": fact.payment_intent_id,
            "charge": fact.charge_id,
        }
        await payments.add_refs(conn, fact.provider, refs, *key)
        for name in payment_facts.names(fact):
            where.setdefault(name, key)
    return Merged(list(rows.values()), unmatched, unbound, refunds, disputes, before)
