"""The server killed with -9 while it opens a payment intent: the retry gets the same one."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx2
import pytest

from bursar.access import keys
from bursar.billing import customers
from worlds import World, free_port, serving


@pytest.mark.parametrize("point", ["intent.after_intent", "intent.after_call"])
async def test_killed_while_opening_an_intent_the_retry_gets_the_same_one(
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
                "/api/stripe/payment-intent", json={"package": "starter"}, headers=headers
            )

    with serving(settings, crash_at=point) as dying:
        with pytest.raises(httpx2.TransportError):
            await post()
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    with serving(settings, with_worker=False):
        async with world.wiring.db.connection() as conn:
            await conn.execute("update idempotency_keys set lease_until = now()")
        first, again = await post(), await post()
    assert (first.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert first.json() == again.json()
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select payment_intent_id, opening, reference from payments")
    assert [(row["payment_intent_id"], row["opening"]) for row in rows] == [
        (first.json()["payment_intent_id"], "open")
    ]
    reference = str(rows[0]["reference"])
    intents = world.stripe.v1.payment_intents.list({"limit": 100}).data
    made = [intent for intent in intents if reference in intent.metadata.to_dict().values()]
    assert len(made) == 1
