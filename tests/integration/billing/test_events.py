"""Our events: told once for each thing that happened, in the transaction in which it did."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bursar.billing import events, settle
from bursar.billing.payments import Payment
from bursar.db import Connection
from bursar.ledger.holds import Hold
from bursar.messages import outbox
from bursar.providers.port import PaymentFacts
from worlds import ROOT, World


async def ask_for_everything(world: World) -> None:
    async with world.wiring.db.transaction() as conn:
        await outbox.subscribe(conn, "host:test", ["*"], at=world.wiring.clock.now())


async def told(world: World) -> list[dict[str, Any]]:
    """What the outbox holds, the oldest first."""
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select payload from outbox_messages order by id")
    return [json.loads(row["payload"]) for row in rows]


async def topics(world: World) -> list[str]:
    return [event["type"] for event in await told(world)]


async def buy(world: World, **wanted: Any) -> Payment:
    payment = await world.open_checkout(**wanted)
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    return await world.payment(payment)


async def fetch(world: World, payment: Payment) -> list[PaymentFacts]:
    """What the provider knows of a payment."""
    return list(
        await world.wiring.provider("stripe").fetch_payment(
            session_id=payment.session_id,
            payment_intent_id=payment.payment_intent_id,
            reference=payment.reference,
        )
    )


async def test_a_purchase_is_told_once_whatever_comes_how_often(world: World) -> None:
    await ask_for_everything(world)
    payment = await buy(world, metadata={"cart": "7"})
    await world.deliver(await world.events_about(payment))
    await world.work()
    await world.sync(payment)
    [event] = await told(world)
    assert event["type"] == "payment.completed"
    assert event["data"] == {
        "id": payment.id,
        "user_id": "ada",
        "customer_id": payment.customer_id,
        "provider": "stripe",
        "kind": "checkout",
        "amount": 500,
        "currency": "usd",
        "status": "completed",
        "captured": 500,
        "refunded": 0,
        "credits": 5,
        "unit": "page",
        "metadata": {"cart": "7"},
    }


async def test_a_declined_card_and_a_second_one_are_both_told(world: World) -> None:
    await ask_for_everything(world)
    payment = await world.open_checkout()
    await world.pay(payment, "tok_chargeDeclined")
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert await topics(world) == ["payment.failed"]
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert await topics(world) == ["payment.failed", "payment.completed"]


async def test_a_session_that_ends_unpaid_is_told(world: World) -> None:
    await ask_for_everything(world)
    payment = await world.open_checkout()
    world.stripe.v1.checkout.sessions.expire(str(payment.session_id))
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert await topics(world) == ["payment.expired"]


async def test_money_held_for_capture_is_told_as_authorized(world: World) -> None:
    await ask_for_everything(world)
    payment = await buy(world, capture_method="manual")
    assert payment.status == "authorized"
    assert await topics(world) == ["payment.authorized"]


async def test_each_refund_is_told_with_the_sum_so_far(world: World) -> None:
    payment = await buy(world)
    await ask_for_everything(world)
    for amount in (200, 300):
        world.stripe.v1.refunds.create(
            {"payment_intent": str(payment.payment_intent_id), "amount": amount}
        )
        charge = world.stripe.v1.payment_intents.retrieve(
            str(payment.payment_intent_id)
        ).latest_charge
        async with world.http() as http:
            found = await http.get("/v1/events", params={"type": "charge.refunded", "limit": 1})
        [event] = found.json()["data"]
        assert event["data"]["object"]["id"] == charge
        await world.deliver([event])
        await world.work()
    refunds = [event for event in await told(world) if event["type"] == "payment.refunded"]
    assert [event["data"]["refunded"] for event in refunds] == [200, 500]
    assert [event["data"]["status"] for event in refunds] == ["partially_refunded", "refunded"]


async def test_what_is_not_paid_as_asked_is_not_told_as_completed(world: World) -> None:
    await ask_for_everything(world)
    payment = await world.open_checkout()
    await world.pay(payment)
    facts = await fetch(world, payment)
    await world.settle(
        [
            replace(fact, totals=replace(fact.totals, discount_minor=100)) if fact.totals else fact
            for fact in facts
        ]
    )
    assert (await world.payment(payment)).mismatch is not None
    assert await topics(world) == ["case.opened"]


async def test_event_and_effect_are_one_transaction(world: World) -> None:
    await ask_for_everything(world)
    payment = await world.open_checkout()
    await world.pay(payment)
    facts = await fetch(world, payment)

    async def die_at_the_end(conn: Connection) -> None:
        await settle.settle(conn, facts, at=world.wiring.clock.now(), fetched=True)
        assert await conn.fetchval("select count(*) from outbox_messages") == 1
        raise RuntimeError("the process died")

    with pytest.raises(RuntimeError):
        await world.wiring.db.run(die_at_the_end)
    assert await told(world) == []
    assert (await world.payment(payment)).status == "pending"
    assert await world.balance(payment.customer_id) == 0
    await world.settle(facts)
    assert await topics(world) == ["payment.completed"]
    assert await world.balance(payment.customer_id) == 5


async def test_nobody_asked_and_settling_writes_nothing(world: World) -> None:
    await buy(world)
    assert await told(world) == []


def test_a_lapsed_hold_says_what_came_back() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    event = events.hold_lapsed(Hold(7, 9, "page", 5, 0, "held", "A job", at, at, None))
    assert (event.topic, event.cause, event.customer_id) == ("credits.hold_lapsed", "7:9", 7)
    assert event.data == {
        "id": 9,
        "customer_id": 7,
        "unit": "page",
        "amount": 5,
        "description": "A job",
        "expires_at": "2026-03-01T12:00:00Z",
    }


def test_every_event_is_documented_and_every_entry_is_an_event() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, re.M)
    assert Counter(entries) == Counter(events.TOPICS)
