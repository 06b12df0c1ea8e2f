"""The server and its worker killed with -9 at each named point: nothing acknowledged is lost.

The sandbox's deliveries are repeated as a provider repeats them; the process is started again as a
supervisor would. The end is the same as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import httpx2
import orjson
import pytest
import stripe

from bursar.access import keys
from bursar.billing import customers
from bursar.billing.payments import Payment
from bursar.config import Settings
from worlds import WEBHOOK_SECRET, World, eventually, free_port, serving

POINTS = [
    "inbox.after_insert",
    "webhook.after_commit",
    "work.after_claim",
    "work.after_effect",
    "work.before_finish",
    "work.before_commit",
    "work.after_commit",
]


def signed(body: bytes) -> dict[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(
        body.decode(), WEBHOOK_SECRET, int(time.time())
    )
    return {"stripe-signature": header, "content-type": "application/json"}


async def send(settings: Settings, body: bytes) -> int | None:
    """One delivery: the status, or None when nobody answered."""
    async with httpx2.AsyncClient(base_url=settings.own_url, timeout=10) as http:
        try:
            answer = await http.post("/api/stripe/webhook", content=body, headers=signed(body))
        except httpx2.TransportError:
            return None
    return answer.status_code


async def paid_bodies(world: World, payment: Payment) -> list[bytes]:
    await world.pay(payment)
    kinds = ("charge.succeeded", "payment_intent.succeeded", "checkout.session.completed")
    return [
        orjson.dumps(event) for event in await world.events_about(payment) if event["type"] in kinds
    ]


async def settled(world: World) -> bool:
    async with world.wiring.db.connection() as conn:
        return not await conn.fetchval("select exists (select from inbox_queue)")


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_point_the_end_is_right(world: World, point: str) -> None:
    payment = await world.open_checkout()
    bodies = await paid_bodies(world, payment)
    settings = world.settings.model_copy(update={"port": free_port()})
    acknowledged: set[int] = set()
    with serving(settings, crash_at=point) as dying:
        for number, body in enumerate(bodies):
            if await send(settings, body) == 200:
                acknowledged.add(number)
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    async with world.wiring.db.connection() as conn:
        stored = await conn.fetchval("select count(*) from inbox_messages")
    assert stored >= len(acknowledged)
    with serving(settings):
        for number, body in enumerate(bodies):
            if number not in acknowledged:
                assert await send(settings, body) == 200

        async def done() -> bool:
            return await settled(world)

        await eventually(done)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 500)
    assert await world.balance(payment.customer_id) == 5


@pytest.mark.parametrize("point", ["checkout.after_intent", "checkout.after_call"])
async def test_killed_while_opening_a_checkout_the_retry_gets_the_same_one(
    world: World, point: str
) -> None:
    async with world.wiring.db.transaction() as conn:
        await customers.ensure_user(conn, "ada", at=world.wiring.clock.now())
        _, secret = await keys.create(conn, "user", user_id="ada", at=world.wiring.clock.now())
    settings = world.settings.model_copy(update={"port": free_port()})
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "one-purchase"}

    async def post() -> Any:
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
            return await http.post(
                "/api/stripe/checkout-session", json={"package": "starter"}, headers=headers
            )

    with serving(settings, crash_at=point) as dying:
        with pytest.raises(httpx2.TransportError):
            await post()
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    with serving(settings):
        assert (await post()).json()["code"] == "idempotency_key_in_use"
        # The dead process's lease lapses; here at once.
        async with world.wiring.db.connection() as conn:
            await conn.execute("update idempotency_keys set lease_until = now()")
        first, again = await post(), await post()
        assert (first.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert first.json() == again.json()
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select session_id, opening from payments")
    assert [(row["session_id"], row["opening"]) for row in rows] == [
        (first.json()["session_id"], "open")
    ]
    async with world.wiring.db.connection() as conn:
        reference = await conn.fetchval("select reference::text from payments")
    sessions = world.stripe.v1.checkout.sessions.list({"limit": 100}).data
    assert len([s for s in sessions if s.client_reference_id == reference]) == 1


@pytest.mark.parametrize("point", ["refund.after_intent", "refund.after_call"])
async def test_killed_while_refunding_the_retry_gives_back_once(world: World, point: str) -> None:
    payment = await world.open_checkout(amount_minor=1000, currency="usd")
    await world.pay(payment)
    await world.sync(payment)
    async with world.wiring.db.transaction() as conn:
        _, secret = await keys.create(conn, "admin", at=world.wiring.clock.now())
    settings = world.settings.model_copy(update={"port": free_port()})
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "one-refund"}
    body = {"payment_id": payment.id, "amount": 300}

    async def post() -> Any:
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
            return await http.post("/api/stripe/refund", json=body, headers=headers)

    with serving(settings, crash_at=point) as dying:
        with pytest.raises(httpx2.TransportError):
            await post()
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    with serving(settings, with_worker=False):
        async with world.wiring.db.connection() as conn:
            await conn.execute("update idempotency_keys set lease_until = now()")
        first, again = await post(), await post()
    assert (first.status_code, again.json()) == (200, first.json())
    assert (first.json()["status"], first.json()["credits_reversed"]) == ("succeeded", 300)
    intent = str((await world.payment(payment)).payment_intent_id)
    refunded = world.stripe.v1.refunds.list({"payment_intent": intent}).data
    assert [refund.amount for refund in refunded] == [300]
    assert await world.balance(payment.customer_id, "credit") == 700


async def test_one_event_a_thousand_times_in_parallel_grants_once(world: World) -> None:
    payment = await world.open_checkout()
    bodies = await paid_bodies(world, payment)
    completed = bodies[-1]
    settings = world.settings.model_copy(update={"port": free_port()})
    with serving(settings):
        limits = httpx2.Limits(max_connections=50)
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=60, limits=limits) as http:
            headers = signed(completed)
            answers = await asyncio.gather(
                *(
                    http.post("/api/stripe/webhook", content=completed, headers=headers)
                    for _ in range(1000)
                )
            )

        async def done() -> bool:
            return await settled(world)

        await eventually(done)
    assert {answer.status_code for answer in answers} == {200}
    async with world.wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from inbox_messages") == 1
        assert await conn.fetchval("select count(*) from ledger_postings") == 1
    assert await world.balance(payment.customer_id) == 5
