"""The inbox: stored once, lent by lease, closed only by who holds the lease, never lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from bursar.db import Database
from bursar.messages import inbox
from bursar.messages.inbox import Claimed
from bursar.providers.port import Received

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def message(key: str, payload: bytes = b"{}", **fields: str) -> Received:
    known = {"provider": "stripe", "account": "", "mode": "test", "type": "ping", **fields}
    return Received(**known, event_key=key, payload=payload, headers={"x": "y"})  # type: ignore[arg-type]


async def receive(db: Database, *messages: Received) -> int:
    async with db.transaction() as conn:
        return await inbox.receive(conn, messages, at=NOW)


async def claim(db: Database, seconds: float = 60) -> list[Claimed]:
    async with db.transaction() as conn:
        return await inbox.claim(conn, limit=100, lease_seconds=seconds)


async def finish(db: Database, claimed: Claimed) -> None:
    async with db.transaction() as conn:
        await inbox.finish(conn, claimed, "done", at=NOW)


async def state(db: Database, message_id: int) -> str:
    async with db.connection() as conn:
        found = await inbox.find_message(conn, message_id)
    assert found is not None
    return found[0].state


async def test_a_repeat_is_stored_once(db: Database) -> None:
    assert await receive(db, message("evt_1")) == 1
    assert await receive(db, message("evt_1"), message("evt_2"), message("evt_2")) == 1
    assert [m.event_key for m in await claim(db)] == ["evt_1", "evt_2"]


async def test_parallel_repeats_are_stored_once(db: Database) -> None:
    stored = await asyncio.gather(*(receive(db, message("evt_1")) for _ in range(30)))
    assert sum(stored) == 1
    assert len(await claim(db)) == 1


async def test_batches_with_crossed_keys_do_not_deadlock(db: Database) -> None:
    keys = [f"evt_{n}" for n in range(20)]
    batches = [keys if n % 2 else keys[::-1] for n in range(12)]
    stored = await asyncio.gather(*(receive(db, *map(message, batch)) for batch in batches))
    assert sum(stored) == 20


async def test_the_same_id_of_another_account_or_mode_is_another_event(db: Database) -> None:
    stored = await receive(
        db, message("evt_1"), message("evt_1", account="acct_2"), message("evt_1", mode="live")
    )
    assert stored == 3


async def test_bytes_come_back_as_they_were(db: Database) -> None:
    raw = b'\xff\x00{"a": "\\u0000\\ud800"}\n'
    await receive(db, message("evt_1", raw))
    assert (await claim(db))[0].payload == raw


async def test_two_workers_never_hold_one_message(db: Database) -> None:
    await receive(db, *(message(f"evt_{n}") for n in range(50)))
    claims = await asyncio.gather(*(claim(db) for _ in range(5)))
    ids = [m.id for batch in claims for m in batch]
    assert len(ids) == len(set(ids)) == 50


async def test_a_lapsed_lease_is_lent_again_and_the_first_holder_can_not_finish(
    db: Database,
) -> None:
    await receive(db, message("evt_1"))
    first = (await claim(db, seconds=0))[0]
    second = (await claim(db))[0]
    assert (first.id, second.attempts) == (second.id, 0)
    with pytest.raises(inbox.LeaseLost):
        await finish(db, first)
    assert await state(db, second.id) == "processing"
    await finish(db, second)
    assert await state(db, second.id) == "done"
    assert await claim(db) == []


async def test_a_failure_is_tried_again_and_then_dead(db: Database) -> None:
    await receive(db, message("evt_1"))
    for attempt in range(inbox.ATTEMPTS_MAX):
        async with db.transaction() as conn:
            await conn.execute("update inbox_queue set due_at = now()")
        claimed = (await claim(db))[0]
        assert claimed.attempts == attempt
        async with db.transaction() as conn:
            dead = await inbox.fail(conn, claimed, "boom", at=NOW)
        assert dead == (attempt == inbox.ATTEMPTS_MAX - 1)
        assert await state(db, claimed.id) == ("dead" if dead else "failed")
    assert await claim(db) == []


async def test_pauses_grow_to_an_hour() -> None:
    pauses = [inbox.retry_seconds(attempts) for attempts in (0, 1, 5, 30, 30_000)]
    assert pauses[:4] == sorted(pauses[:4])
    assert pauses[-1] <= 3600 * 1.2


async def test_what_waits_for_somebody_else_is_tried_for_days(db: Database) -> None:
    pauses = sum(
        inbox.retry_seconds(attempts) / 1.2 for attempts in range(inbox.PATIENT_ATTEMPTS_MAX)
    )
    assert pauses > 2 * 24 * 3600 * 0.8
    await receive(db, message("evt_1"))
    for _ in range(inbox.ATTEMPTS_MAX + 1):
        async with db.transaction() as conn:
            await conn.execute("update inbox_queue set due_at = now()")
        claimed = (await claim(db))[0]
        async with db.transaction() as conn:
            assert not await inbox.fail(conn, claimed, "away", at=NOW, patient=True)
    assert await state(db, claimed.id) == "failed"


async def test_a_dead_message_can_be_replayed(db: Database) -> None:
    await receive(db, message("evt_1"))
    claimed = (await claim(db))[0]
    await finish(db, claimed)
    async with db.transaction() as conn:
        assert await inbox.replay(conn, [claimed.id, 999]) == 1
    assert [m.attempts for m in await claim(db)] == [0]
