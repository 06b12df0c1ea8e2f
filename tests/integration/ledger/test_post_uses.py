"""A batch of uses, for which the ledger has a faster way, does what they do one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bursar.checks.audit import audit
from bursar.db import Database
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posted, Posting
from people import make_customer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
UNITS = ("credit", "page")

ACCOUNTS = """
select a.customer_id, a.unit, a.pool, regexp_replace(a.source, '.* ', ''), a.balance,
    array_agg(e.amount order by e.id) as amounts,
    array_agg(e.balance_after order by e.id) as afters
from ledger_accounts a join ledger_entries e on e.account_id = a.id
where a.customer_id = any ($1)
group by a.id order by array_position($1, a.customer_id), a.unit, a.pool, a.source
"""
POSTINGS = """
select p.unit, p.amount, p.balance_after, p.description, p.payment_id, p.created_at
from ledger_postings p join ledger_causes c on c.posting_id = p.id
where p.customer_id = any ($1) and p.type = 'usage'
order by array_position($1, p.customer_id), split_part(c.cause_id, ' ', 2)
"""


def use(customer_id: int, amount: int, cause: str, **fields: object) -> Posting:
    return Posting(
        **{  # type: ignore[arg-type]
            "customer_id": customer_id,
            "unit": "credit",
            "type": "usage",
            "amount": -amount,
            "cause": Cause("client", cause, "use"),
            **fields,
        }
    )


def give(chance: random.Random, customer_id: int, number: int, unit: str) -> Posting:
    """Credits of some pool, with an end that is behind, ahead or nowhere."""
    pool = chance.choice(("plan", "bonus", "purchased"))
    ends = chance.choice((None, *(NOW + timedelta(hours=hours) for hours in (-1, 1, 1, 2))))
    return Posting(
        customer_id=customer_id,
        unit=unit,
        type="bonus",
        amount=chance.randint(1, 40),
        cause=Cause("test", f"{customer_id}:{unit}:{number}", "give"),
        pool=pool,  # type: ignore[arg-type]
        source="" if pool == "purchased" else f"s{chance.randint(1, 3)}",
        expires_at=None if pool == "purchased" else ends,
    )


def uses(chance: random.Random, customers: Sequence[int], side: str, size: int) -> list[Posting]:
    """Uses of causes that came before in part, or with another request; at times one is twice."""
    causes = chance.sample(range(size * 2), size)
    if chance.random() < 0.25:
        causes[0] = causes[-1]
    return [
        use(
            chance.choice(customers),
            chance.randint(1, 30),
            f"{side} {cause}",
            unit=chance.choice(UNITS),
            request_hash=chance.choice((b"a", b"a", b"b", None)),
            description=chance.choice((None, "a picture")),
            payment_id=chance.choice((None, 7)),
        )
        for cause in causes
    ]


async def post(db: Database, postings: Sequence[Posting], *, refuse_owing: bool) -> list[Posted]:
    async with db.transaction() as conn:
        return await entries.post(conn, postings, at=NOW, refuse_owing=refuse_owing)


def told(answers: Sequence[Posted]) -> list[tuple[object, ...]]:
    """What was answered, with the number of the first answer that names a posting for its id."""
    ids = [answer.posting_id for answer in answers]
    return [(a.outcome, a.balance, a.posting_id and ids.index(a.posting_id)) for a in answers]


async def books(db: Database, customers: Sequence[int]) -> tuple[list[object], list[object]]:
    """Every account with its entries, and every use, of these customers in their order."""
    async with db.connection() as conn:
        accounts = await conn.fetch(ACCOUNTS, list(customers))
        postings = await conn.fetch(POSTINGS, list(customers))
    return [(customers.index(row[0]), *row[1:]) for row in map(tuple, accounts)], postings  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(12))
async def test_a_batch_does_what_its_uses_do_one_by_one(db: Database, seed: int) -> None:
    sides = {
        side: [await make_customer(db, f"{side}{number}") for number in range(4)]
        for side in ("batch", "singles")
    }
    found = {}
    for side, customers in sides.items():
        chance = random.Random(seed)  # noqa: S311 - the same chances for both sides
        gifts = [
            give(chance, customer, number, unit)
            for customer in customers
            for unit in UNITS
            for number in range(4)
        ]
        owed = use(customers[0], 1000, f"{side} debt", type="refund", pool="purchased")
        answers = []
        for postings in (gifts, [owed]):
            answers += await post(db, postings, refuse_owing=False)
        for _ in range(3):
            refuse_owing = chance.random() < 0.5
            batch = uses(chance, customers, side, 40)
            parts = [batch] if side == "batch" else [[one] for one in batch]
            for part in parts:
                answers += await post(db, part, refuse_owing=refuse_owing)
        found[side] = (told(answers), await books(db, customers))
    assert found["batch"] == found["singles"]
    outcomes = {outcome for outcome, *_ in found["batch"][0]}
    assert {"posted", "refused"} <= outcomes
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_a_batch_meets_what_was_posted_before(db: Database) -> None:
    ada, bob = await make_customer(db, "ada"), await make_customer(db, "bob")
    gifts = [give(random.Random(1), customer, 1, "credit") for customer in (ada, bob)]  # noqa: S311
    await post(db, [replace(g, amount=10, expires_at=None) for g in gifts], refuse_owing=False)
    first = await post(db, [use(ada, 4, "k", request_hash=b"a")], refuse_owing=False)
    batch = [
        use(bob, 1, "new"),
        use(ada, 4, "k", request_hash=b"a"),
        use(ada, 7, "more than is left"),
        use(ada, 6, "all that is left"),
        use(ada, 1, "nothing is left"),
    ]
    answers = await post(db, batch, refuse_owing=False)
    assert [(a.outcome, a.balance) for a in answers] == [
        ("posted", 9), ("repeated", 6), ("refused", 6), ("posted", 0), ("refused", 0)
    ]  # fmt: skip
    assert answers[1].posting_id == first[0].posting_id
    reused = [use(bob, 4, "k", request_hash=b"a"), use(ada, 4, "k"), use(bob, 1, "other")]
    answers = await post(db, reused, refuse_owing=False)
    assert [a.outcome for a in answers] == ["reused", "reused", "posted"]
    async with db.connection() as conn:
        assert await audit(conn) == []
