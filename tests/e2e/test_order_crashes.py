"""The server killed with -9 around the call that captures an order: taken once, credited once."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx2
import pytest

from bursar.access import keys
from orders_world import decisions, held
from worlds import World, eventually, free_port, serving

pytestmark = pytest.mark.timeout(180)

POINTS = ["capture.after_intent", "capture.after_call"]


async def admin_key(world: World) -> str:
    async with world.wiring.db.transaction() as conn:
        _, secret = await keys.create(conn, "admin", at=world.wiring.clock.now())
    return secret


@pytest.mark.parametrize("point", POINTS)
async def test_killed_while_capturing_the_retry_takes_once(world: World, point: str) -> None:
    payment = await held(world)
    settings = world.settings.model_copy(update={"port": free_port()})
    headers = {"Authorization": f"Bearer {await admin_key(world)}", "Idempotency-Key": "one"}

    async def post() -> Any:
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
            return await http.post(
                f"/api/admin/orders/{payment.id}/capture", json={"amount": 1500}, headers=headers
            )

    with serving(settings, crash_at=point, with_worker=False) as dying:
        with pytest.raises(httpx2.TransportError):
            await post()
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    assert await decisions(world, payment) == [("capture", 1500, "pending")]
    with serving(settings, with_worker=False):
        # The dead process's lease lapses; here at once.
        async with world.wiring.db.connection() as conn:
            await conn.execute("update idempotency_keys set lease_until = now()")
        first, again = await post(), await post()
    assert (first.status_code, again.json()) == (200, first.json()), first.text
    assert (first.json()["status"], first.json()["captured"]) == ("completed", 1500)
    intent = world.stripe.v1.payment_intents.retrieve(str(payment.payment_intent_id))
    assert (intent.status, intent.amount_received) == ("succeeded", 1500)
    assert await decisions(world, payment) == [("capture", 1500, "done")]
    assert await world.balance(payment.customer_id) == 30


@pytest.mark.parametrize("point", POINTS)
async def test_killed_while_capturing_and_never_asked_again_a_timer_ends_it(
    world: World, point: str
) -> None:
    payment = await held(world)
    settings = world.settings.model_copy(update={"port": free_port()})
    headers = {"Authorization": f"Bearer {await admin_key(world)}"}
    with serving(settings, crash_at=point, with_worker=False) as dying:
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
            with pytest.raises(httpx2.TransportError):
                await http.post(f"/api/admin/orders/{payment.id}/capture", json={}, headers=headers)
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update timers set due_at = now() where kind = 'order.check'")
    with serving(settings):

        async def done() -> bool:
            return await decisions(world, payment) == [("capture", 5000, "done")]

        await eventually(done)
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 100
