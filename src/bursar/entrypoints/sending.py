"""Sends what the outbox owes: claim (a lease), deliver (no transaction open), close or put back.

Messages are sent side by side, each on its own: one that is slow or fails holds up no other. A
lease is made longer while its message is being sent, so no two senders have one at a time. It knows
no way of delivering: who calls hands it one, and what others deliver is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from bursar import errors, failpoints
from bursar.billing import cases
from bursar.db.connections import Connection
from bursar.entrypoints.loops import pause
from bursar.messages import outbox
from bursar.messages.outbox import TRIES_MAX, Claimed, DeliveryFailed
from bursar.wiring import Wiring

Deliver = Callable[[Claimed], Awaitable[None]]
Deliveries = Mapping[str, Deliver]
"""How a message is delivered, by destination. An exception means: try again later."""
Claim = Callable[[Connection, int, float], Awaitable[list[Claimed]]]
"""Lends up to so many messages for so many seconds."""

AT_ONCE = 8
"""How many messages are being sent at a time; one that hangs keeps a place of these."""
STOP_SECONDS = 10.0
"""How long the end waits for messages that are being sent; what is cut off is sent again."""
PAUSE_AFTER_TROUBLE_SECONDS = 1.0

log = structlog.get_logger("bursar.sending")


@dataclass(frozen=True, slots=True)
class Way:
    """One way of delivering: which messages it takes, how, and how many at a time."""

    claim: Claim
    deliver: Deliver
    at_once: int = AT_ONCE


def by_name(deliveries: Deliveries) -> Way:
    """The way to destinations that are known by their names."""

    async def claim(conn: Connection, limit: int, seconds: float) -> list[Claimed]:
        return await outbox.claim(conn, list(deliveries), limit=limit, lease_seconds=seconds)

    async def deliver(message: Claimed) -> None:
        await deliveries[message.destination](message)

    return Way(claim, deliver)


async def run(wiring: Wiring, way: Way | Deliveries, *, stop: asyncio.Event) -> None:
    """Send until `stop` is set."""
    way = way if isinstance(way, Way) else by_name(way)
    running: set[asyncio.Task[None]] = set()
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            try:
                claimed = await _claim(wiring, way, way.at_once - len(running))
            except Exception as error:
                log.warning("sending stopped for a moment", reason=str(error))
                await pause(stop, PAUSE_AFTER_TROUBLE_SECONDS)
                continue
            running |= {asyncio.create_task(_send(wiring, way, one)) for one in claimed}
            full = len(running) >= way.at_once
            await asyncio.wait(
                {stopped, *running},
                timeout=None if full else wiring.settings.worker_poll_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            running = {task for task in running if not task.done()}
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS)
    finally:
        for task in (stopped, *running):
            task.cancel()
        await asyncio.gather(stopped, *running, return_exceptions=True)


async def send_once(wiring: Wiring, way: Way | Deliveries) -> int:
    """Send what is due now; returns how many messages that were."""
    way = way if isinstance(way, Way) else by_name(way)
    claimed = await _claim(wiring, way, way.at_once)
    await asyncio.gather(*(_send(wiring, way, message) for message in claimed))
    return len(claimed)


async def _claim(wiring: Wiring, way: Way, free: int) -> list[Claimed]:
    lease = wiring.settings.worker_lease_seconds

    async def work(conn: Connection) -> list[Claimed]:
        return await way.claim(conn, free, lease)

    return await wiring.db.run(work) if free > 0 else []


async def _send(wiring: Wiring, way: Way, message: Claimed) -> None:
    """Deliver one message and say what became of it. Raises nothing: an end that can't be written
    is a lease that ends, and the message is sent again."""
    try:
        failure = await _try(wiring, way.deliver, message)
        failpoints.reach("send.after_delivery")
        if failure is None:
            await _close(wiring, message)
        else:
            await _put_back(wiring, message, failure)
    except errors.Unavailable as error:
        log.warning("end of sending not kept", message_id=message.id, reason=error.detail)
    except Exception as error:
        log.error("sending failed", message_id=message.id, reason=repr(error))


async def _try(wiring: Wiring, deliver: Deliver, message: Claimed) -> DeliveryFailed | None:
    """Deliver, and make the lease longer meanwhile; the failure, None without one."""
    if message.attempts > TRIES_MAX:
        told = f"every try ended the process that made it; before: {message.last_error}"
        return DeliveryFailed(told)
    failpoints.reach("send.before_delivery")
    held = asyncio.create_task(_hold(wiring, message))
    try:
        await deliver(message)
    except DeliveryFailed as failure:
        return failure
    except Exception as error:
        # Whatever a host's function raises is a failed try; its traceback is logged by its caller.
        return DeliveryFailed(f"{type(error).__name__}: {error}")
    finally:
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    return None


def _storable(text: str) -> str:
    """Words of anybody's, without what PostgreSQL can't hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


async def _hold(wiring: Wiring, message: Claimed) -> None:
    """Make the lease longer, again and again, until cancelled."""
    lease = wiring.settings.worker_lease_seconds
    while True:
        await asyncio.sleep(lease / 3)
        try:
            async with wiring.db.transaction() as conn:
                kept = await outbox.extend(conn, message, lease_seconds=lease)
        except errors.Unavailable:
            continue
        if not kept:
            log.warning("lease lost; another sender has it", message_id=message.id)
            return


async def _close(wiring: Wiring, message: Claimed) -> None:
    async with wiring.db.transaction() as conn:
        kept = await outbox.sent(conn, message, at=wiring.clock.now())
    if not kept:
        log.warning("lease lost; it may be delivered twice", message_id=message.id)


async def _put_back(wiring: Wiring, message: Claimed, failure: DeliveryFailed) -> None:
    reason = _storable(str(failure))
    log.warning(
        "delivery failed",
        message_id=message.id,
        destination=message.destination,
        attempts=message.attempts,
        reason=reason[:300],
    )
    opening = cases.Opening(
        kind="dead",
        reference=f"outbox:{message.id}",
        customer_id=message.customer_id,
        summary=f"{message.topic} could not be told to {message.destination}: {reason[:300]}",
        # Word of a case that can't be told must not open a case that can't be told.
        quiet=message.topic == cases.OPENED,
    )
    async with wiring.db.transaction() as conn:
        dead = await outbox.retry_at(
            conn, message, reason, pause_seconds=failure.pause_seconds, dead=failure.dead
        )
        if dead and not failure.alone:
            await cases.open_cases(conn, [opening], at=wiring.clock.now())
