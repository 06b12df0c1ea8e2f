"""Sends events to webhook endpoints: in order for each, side by side for all.

Owns which messages are taken and what a 410 means; how one is signed and sent is delivery's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from bursar.billing import cases
from bursar.db.connections import Connection
from bursar.entrypoints.sending import Way
from bursar.messages import delivery, endpoints, outbox
from bursar.messages.addresses import Policy
from bursar.messages.delivery import Courier, Gone, Webhook
from bursar.messages.endpoints import PREFIX
from bursar.messages.outbox import Claimed, DeliveryFailed
from bursar.wiring import Wiring

AT_ONCE = endpoints.ENDPOINTS_MAX
"""As many as there can be endpoints, and each has one at a time: none waits for another."""
GONE = "it answered 410: it wants nothing any more"


def policy_of(wiring: Wiring) -> Policy:
    """Where this deployment may send: a sandbox to this machine too, live money only by https."""
    mode = wiring.settings.mode
    return Policy(loopback=mode == "sandbox", http=mode != "live")


@asynccontextmanager
async def opened(wiring: Wiring, courier: Courier | None = None) -> AsyncIterator[Way]:
    """The way of webhooks, while the block runs."""
    courier = courier or Courier(policy_of(wiring))

    async def deliver(message: Claimed) -> None:
        await _deliver(wiring, courier, message)

    try:
        yield Way(_claim, deliver, AT_ONCE)
    finally:
        await courier.close()


async def _claim(conn: Connection, limit: int, seconds: float) -> list[Claimed]:
    named = await endpoints.list_destinations(conn)
    if not named:
        return []
    return await outbox.claim_in_order(conn, named, limit=limit, lease_seconds=seconds)


async def _deliver(wiring: Wiring, courier: Courier, message: Claimed) -> None:
    async with wiring.db.connection() as conn:
        receiver = await endpoints.find_receiver(conn, message.destination)
    if receiver is None:
        raise DeliveryFailed("the endpoint takes nothing any more", dead=True, alone=True)
    webhook = Webhook(
        url=receiver.url,
        event_id=orjson.loads(message.payload)["id"],
        body=message.payload.encode(),
        secrets=receiver.secrets,
        attempts=message.attempts,
    )
    if message.attempts > len(delivery.RETRY_SECONDS) + 1:
        # Its tries were used up by processes that ended while they sent.
        raise delivery.failed(webhook, f"every try was lost; before: {message.last_error}")
    try:
        await courier.send(webhook)
    except Gone as error:
        await _disable(wiring, message.destination, receiver.url)
        raise DeliveryFailed(GONE, dead=True, alone=True) from error


async def _disable(wiring: Wiring, destination: str, url: str) -> None:
    """Send the endpoint nothing more, and say so once."""
    number, at = int(destination.removeprefix(PREFIX)), wiring.clock.now()
    opening = cases.Opening(
        kind="dead",
        reference=f"webhook-endpoint:{number}",
        summary=f"The webhook endpoint {url[:300]} was disabled: {GONE}.",
    )
    async with wiring.db.transaction() as conn:
        if await endpoints.disable(conn, number, GONE, at=at) is not None:
            await cases.open_cases(conn, [opening], at=at)
