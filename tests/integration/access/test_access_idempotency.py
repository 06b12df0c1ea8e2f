"""Idempotency keys on a real database: one does the work, the others learn of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from bursar import errors
from bursar.access import idempotency
from bursar.access.idempotency import Fresh, Key, Replay, Resumed
from bursar.db import Database

NEVER = datetime.max.replace(tzinfo=UTC)
FRESH = Fresh(NEVER)
"""Claims are compared without their leases."""

ROUTE = "POST /api/stripe/checkout-session"


def key(*, principal: str = "user:ada", name: str = "order-1", body: bytes = b"{}") -> Key:
    return Key(principal, ROUTE, name, idempotency.hash_request(body))


async def claim(db: Database, wanted: Key, **options: float) -> idempotency.Claim:
    async with db.transaction() as conn:
        return await idempotency.claim(conn, wanted, **options)


async def complete(db: Database, wanted: Key, response: bytes) -> None:
    async with db.transaction() as conn:
        await idempotency.complete(conn, wanted, 200, response)


async def test_answer_is_given_again(db: Database) -> None:
    assert await claim(db, key()) == FRESH
    await complete(db, key(), b'{"a": 1}')
    assert await claim(db, key()) == Replay(200, b'{"a": 1}')


async def test_one_of_twenty_at_once_does_the_work(db: Database) -> None:
    results = await asyncio.gather(*(claim(db, key()) for _ in range(20)), return_exceptions=True)
    assert Counter(type(result) for result in results) == {
        Fresh: 1,
        errors.IdempotencyKeyInUse: 19,
    }


async def test_one_of_twenty_at_once_resumes_a_lapsed_lease(db: Database) -> None:
    assert await claim(db, key(), lease_seconds=0) == FRESH
    async with db.transaction() as conn:
        await idempotency.attach(conn, key(), "payment-7")
    results = await asyncio.gather(*(claim(db, key()) for _ in range(20)), return_exceptions=True)
    assert Counter(type(result) for result in results) == {
        Resumed: 1,
        errors.IdempotencyKeyInUse: 19,
    }
    assert Resumed("payment-7", NEVER) in results


async def test_other_request_under_the_key_is_refused_before_and_after_the_answer(
    db: Database,
) -> None:
    assert await claim(db, key(), lease_seconds=0) == FRESH
    with pytest.raises(errors.IdempotencyKeyReused):
        await claim(db, key(body=b'{"amount": 2}'))
    await complete(db, key(), b"{}")
    with pytest.raises(errors.IdempotencyKeyReused):
        await claim(db, key(body=b'{"amount": 2}'))


async def test_scopes_are_apart(db: Database) -> None:
    assert await claim(db, key()) == FRESH
    assert await claim(db, key(principal="user:bob")) == FRESH
    assert await claim(db, key(name="order-2")) == FRESH


async def test_refusal_is_not_kept(db: Database) -> None:
    assert await claim(db, key()) == FRESH
    async with db.transaction() as conn:
        await idempotency.release(conn, key())
    assert await claim(db, key(body=b'{"amount": 2}')) == FRESH


async def test_first_answer_stands_against_a_late_one_and_a_late_release(db: Database) -> None:
    await claim(db, key(), lease_seconds=0)
    await claim(db, key())
    await complete(db, key(), b"first")
    await complete(db, key(), b"late")
    async with db.transaction() as conn:
        await idempotency.release(conn, key())
        with pytest.raises(errors.IdempotencyKeyInUse):
            await idempotency.attach(conn, key(), "late")
    assert await claim(db, key()) == Replay(200, b"first")


async def test_of_two_holders_of_one_key_only_the_first_begins_an_intent(db: Database) -> None:
    assert isinstance(await claim(db, key(), lease_seconds=0), Fresh)
    assert isinstance(await claim(db, key()), Resumed)
    async with db.transaction() as conn:
        await idempotency.attach(conn, key(), "payment-7")
    with pytest.raises(errors.IdempotencyKeyInUse):
        async with db.transaction() as conn:
            await idempotency.attach(conn, key(), "payment-8")


async def test_slow_loser_of_a_lease_neither_drops_nor_suspends_the_claim_after_it(
    db: Database,
) -> None:
    slow = await claim(db, key(), lease_seconds=0)
    assert isinstance(slow, Fresh)
    assert isinstance(await claim(db, key()), Resumed)
    async with db.transaction() as conn:
        await idempotency.release(conn, key(), lease=slow.lease)
        await idempotency.suspend(conn, key(), lease=slow.lease)
    with pytest.raises(errors.IdempotencyKeyInUse):
        await claim(db, key())


async def test_suspended_claim_is_resumed_at_once(db: Database) -> None:
    first = await claim(db, key())
    assert isinstance(first, Fresh)
    async with db.transaction() as conn:
        await idempotency.attach(conn, key(), "payment-7")
        await idempotency.suspend(conn, key(), lease=first.lease)
    assert await claim(db, key()) == Resumed("payment-7", NEVER)


async def test_claim_that_was_undone_leaves_the_key_free(db: Database) -> None:
    async with db.connection() as conn:
        undone = conn.transaction()
        await undone.start()
        assert await idempotency.claim(conn, key()) == FRESH
        await undone.rollback()
    assert await claim(db, key()) == FRESH


async def test_key_is_free_again_after_thirty_days(db: Database) -> None:
    await claim(db, key())
    async with db.transaction() as conn:
        await idempotency.attach(conn, key(), "payment-7")
        await idempotency.complete(conn, key(), 200, b"old")
    await _age(db, 29)
    assert await claim(db, key()) == Replay(200, b"old")
    await _age(db, 2)
    assert await claim(db, key(body=b"other"), lease_seconds=0) == FRESH
    assert await claim(db, key(body=b"other")) == Resumed(None, NEVER)


async def test_old_keys_are_forgotten(db: Database) -> None:
    await claim(db, key())
    await _age(db, 31)
    await claim(db, key(name="order-2"))
    async with db.transaction() as conn:
        await idempotency.forget_old(conn)
        assert await conn.fetchval("select array_agg(key) from idempotency_keys") == ["order-2"]


def test_hash_tells_parts_from_their_joining() -> None:
    assert idempotency.hash_request(b"ab", b"c") != idempotency.hash_request(b"a", b"bc")


async def _age(db: Database, days: int) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            "update idempotency_keys set created_at = created_at - make_interval(days => $1)", days
        )
