"""The outbox: written with its cause or not at all, lent to one sender at a time, never lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from bursar import config
from bursar.billing import cases
from bursar.db import Connection, Database, open_pool
from bursar.entrypoints import sending
from bursar.messages import outbox
from bursar.messages.outbox import TRIES_MAX, Claimed, Event, Message
from bursar.wiring import Wiring, opened

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAID = Event("payment.completed", "ref-1:500", 7, {"id": 1, "amount": 500})


@pytest.fixture
async def wiring(db: Database) -> AsyncIterator[Wiring]:
    """A wiring without providers: nothing here calls one."""
    settings = config.read(None, database_url=db.url, worker_lease_seconds=1.5)
    async with opened(settings) as wiring:
        yield wiring


async def subscribe(db: Database, *wanted: tuple[str, list[str]]) -> None:
    async with db.transaction() as conn:
        for destination, topics in wanted:
            await outbox.subscribe(conn, destination, topics, at=NOW)


async def emit(db: Database, *events: Event) -> None:
    async with db.transaction() as conn:
        await outbox.emit(conn, events, at=NOW)


async def messages(db: Database) -> list[Message]:
    async with db.connection() as conn:
        return await outbox.list_messages(conn)


async def claim(db: Database, *destinations: str, seconds: float = 60) -> list[Claimed]:
    async with db.transaction() as conn:
        return await outbox.claim(conn, destinations, limit=10, lease_seconds=seconds)


async def make_due(db: Database) -> None:
    async with db.connection() as conn:
        await conn.execute("update outbox_messages set due_at = now()")


async def test_each_destination_that_asks_gets_a_message(db: Database) -> None:
    await subscribe(
        db,
        ("exact", ["payment.completed"]),
        ("family", ["payment.*"]),
        ("all", ["*"]),
        ("both", ["payment.completed", "payment.*"]),
        ("other", ["payment.failed", "credits.*"]),
    )
    await emit(db, PAID)
    found = await messages(db)
    assert sorted(m.destination for m in found) == ["all", "both", "exact", "family"]
    assert {m.event_id for m in found} == {PAID.id}


async def test_nobody_asked_and_nothing_is_written(db: Database) -> None:
    await emit(db, PAID)
    assert await messages(db) == []


async def test_an_event_told_again_is_the_same_message(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await asyncio.gather(*(emit(db, PAID) for _ in range(20)))
    assert len(await messages(db)) == 1
    assert Event("payment.completed", "ref-1:500", None, {}).id == PAID.id
    assert Event("payment.completed", "ref-1:501", 7, {}).id != PAID.id


async def test_a_message_says_what_happened_and_when(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await emit(db, PAID)
    [message] = await claim(db, "host:a")
    assert json.loads(message.payload) == {
        "id": str(PAID.id),
        "type": "payment.completed",
        "created_at": "2026-03-01T12:00:00Z",
        "data": {"id": 1, "amount": 500},
    }


async def test_what_is_undone_leaves_no_message(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))

    async def cause(conn: Connection) -> None:
        await outbox.emit(conn, [PAID], at=NOW)
        raise RuntimeError("the cause failed")

    with pytest.raises(RuntimeError):
        await db.run(cause)
    assert await messages(db) == []


async def test_who_ends_a_subscription_gets_nothing_new(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await emit(db, PAID)
    async with db.transaction() as conn:
        await outbox.unsubscribe(conn, "host:a")
    await emit(db, Event("payment.failed", "x", 7, {}))
    assert [m.topic for m in await messages(db)] == ["payment.completed"]


async def test_topics_asked_for_anew_replace_the_old_ones(db: Database) -> None:
    await subscribe(db, ("host:a", ["payment.*"]))
    await subscribe(db, ("host:a", ["credits.hold_lapsed"]))
    await emit(db, PAID, Event("credits.hold_lapsed", "h", 7, {}))
    assert [m.topic for m in await messages(db)] == ["credits.hold_lapsed"]


async def test_a_sender_gets_only_what_it_can_deliver(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]), ("host:b", ["*"]))
    await emit(db, PAID)
    assert await claim(db) == []
    assert [m.destination for m in await claim(db, "host:b")] == ["host:b"]


async def test_many_senders_never_share_a_message(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await emit(db, *(Event("payment.completed", str(n), 7, {}) for n in range(40)))
    async with await open_pool(db.url) as other:
        lent = await asyncio.gather(*(claim(d, "host:a") for d in [db, other] * 4))
    ids = [message.id for batch in lent for message in batch]
    assert len(ids) == len(set(ids)) == 40


async def test_a_lease_that_ended_is_lent_again_and_the_old_one_closes_nothing(
    db: Database,
) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await emit(db, PAID)
    [old] = await claim(db, "host:a", seconds=0.05)
    assert old.attempts == 1
    await asyncio.sleep(0.1)
    [new] = await claim(db, "host:a")
    assert (new.id, new.attempts) == (old.id, 2)
    async with db.transaction() as conn:
        assert not await outbox.extend(conn, old, lease_seconds=60)
        assert not await outbox.sent(conn, old, at=NOW)
        assert not await outbox.retry_at(conn, old, "late")
        assert await outbox.sent(conn, new, at=NOW)
    [message] = await messages(db)
    assert (message.state, message.sent_at) == ("sent", NOW)
    assert await claim(db, "host:a") == []


async def test_two_senders_at_work_deliver_a_slow_message_once(
    wiring: Wiring, db: Database
) -> None:
    # It takes longer than the lease: the sender keeps it while it works.
    await subscribe(db, ("host:slow", ["*"]))
    await emit(db, PAID)
    at_work, most, calls = 0, 0, 0

    async def slow(message: Claimed) -> None:
        nonlocal at_work, most, calls
        calls, at_work = calls + 1, at_work + 1
        most = max(most, at_work)
        await asyncio.sleep(3)
        at_work -= 1

    stop = asyncio.Event()
    senders = [
        asyncio.create_task(sending.run(wiring, {"host:slow": slow}, stop=stop)) for _ in range(2)
    ]
    while [m.state for m in await messages(db)] != ["sent"]:
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*senders)
    assert (calls, most) == (1, 1)


async def test_a_poison_message_ends_dead_and_visible_while_others_go_on(
    wiring: Wiring, db: Database
) -> None:
    await subscribe(db, ("host:bad", ["payment.*"]), ("host:good", ["payment.*"]))
    await emit(db, PAID)
    good: list[str] = []

    async def fail(message: Claimed) -> None:
        raise ValueError("no \0 such mail server")

    async def work(message: Claimed) -> None:
        good.append(message.destination)

    deliveries = {"host:bad": fail, "host:good": work}
    while await sending.send_once(wiring, deliveries):
        await make_due(db)
    assert good == ["host:good"]
    bad = {m.destination: m for m in await messages(db)}["host:bad"]
    assert (bad.state, bad.attempts) == ("dead", TRIES_MAX)
    assert bad.last_error == "ValueError: no  such mail server"
    async with db.connection() as conn:
        [case] = await cases.list_cases(conn)
    assert (case.kind, case.reference) == ("dead", f"outbox:{bad.id}")
    assert "host:bad" in case.summary


async def test_a_failure_waits_before_its_next_try(wiring: Wiring, db: Database) -> None:
    await subscribe(db, ("host:bad", ["*"]))
    await emit(db, PAID)

    async def fail(message: Claimed) -> None:
        raise ValueError("not now")

    assert await sending.send_once(wiring, {"host:bad": fail}) == 1
    assert await sending.send_once(wiring, {"host:bad": fail}) == 0
    [message] = await messages(db)
    assert (message.state, message.attempts) == ("failed", 1)


async def test_a_message_that_kills_every_sender_is_dead_without_another_try(
    wiring: Wiring, db: Database
) -> None:
    await subscribe(db, ("host:a", ["payment.*"]))
    await emit(db, PAID)
    for _ in range(TRIES_MAX):
        # A sender that died said nothing: its lease just ends.
        assert len(await claim(db, "host:a", seconds=0)) == 1
    calls: list[Claimed] = []

    async def work(message: Claimed) -> None:
        calls.append(message)

    await sending.send_once(wiring, {"host:a": work})
    [message] = await messages(db)
    assert (message.state, calls) == ("dead", [])


async def test_a_dead_message_can_be_sent_again_by_hand(wiring: Wiring, db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await emit(db, PAID)
    async with db.connection() as conn:
        await conn.execute("update outbox_messages set state = 'dead', attempts = 40")
    [dead] = await messages(db)
    async with db.transaction() as conn:
        assert await outbox.retry(conn, [dead.id, dead.id + 1]) == 1
    told: list[str] = []

    async def work(message: Claimed) -> None:
        told.append(message.topic)

    assert await sending.send_once(wiring, {"host:a": work}) == 1
    assert told == ["payment.completed"]


async def test_a_message_at_work_is_not_queued_a_second_time(db: Database) -> None:
    await subscribe(db, ("host:a", ["*"]))
    await emit(db, PAID)
    [message] = await claim(db, "host:a")
    async with db.transaction() as conn:
        assert await outbox.retry(conn, [message.id]) == 0


async def test_one_that_hangs_holds_up_no_other(wiring: Wiring, db: Database) -> None:
    await subscribe(db, ("host:hangs", ["*"]), ("host:b", ["*"]))
    await emit(db, PAID)
    told = asyncio.Event()

    async def hang(message: Claimed) -> None:
        await asyncio.Event().wait()

    async def work(message: Claimed) -> None:
        if message.topic == "payment.failed":
            told.set()

    stop = asyncio.Event()
    deliveries = {"host:hangs": hang, "host:b": work}
    sender = asyncio.create_task(sending.run(wiring, deliveries, stop=stop))
    await asyncio.sleep(0.2)
    await emit(db, Event("payment.failed", "later", 7, {}))
    await asyncio.wait_for(told.wait(), 10)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
