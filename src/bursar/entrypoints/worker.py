"""The worker: works off what was received and what falls due, in the same loop.

Claim (a lease), translate, fetch what is missing (no transaction open), then one transaction:
effects and finish, if the lease is still ours. Runs inside `serve` or alone; any number at once.
It decides nothing: handlers do.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from bursar import errors, failpoints
from bursar.billing import cases, handlers
from bursar.billing.settle import FactsMissing
from bursar.db.connections import Connection
from bursar.messages import inbox, timers
from bursar.messages.inbox import Claimed
from bursar.messages.timers import Timer
from bursar.providers.port import Facts, Unusable
from bursar.wiring import Wiring

BATCH = 32
AT_ONCE = 6
PAUSE_AFTER_TROUBLE_SECONDS = 1.0

log = structlog.get_logger("bursar.worker")


async def run(wiring: Wiring, *, stop: asyncio.Event) -> None:
    """Work until `stop` is set; what was begun is finished first."""
    log.info("worker started")
    while not stop.is_set():
        try:
            worked = await work_once(wiring)
        except errors.Unavailable as error:
            log.warning("the database does not answer", reason=error.detail)
            await _pause(stop, PAUSE_AFTER_TROUBLE_SECONDS)
            continue
        if not worked:
            await _pause(stop, wiring.settings.worker_poll_seconds)
    log.info("worker stopped")


async def work_once(wiring: Wiring) -> int:
    """Claim what is due and work it off; returns how many messages and timers that were."""
    lease = wiring.settings.worker_lease_seconds
    async with wiring.db.transaction() as conn:
        messages = await inbox.claim(conn, limit=BATCH, lease_seconds=lease)
    if messages:
        failpoints.reach("work.after_claim")
    gate = asyncio.Semaphore(AT_ONCE)

    async def guarded(message: Claimed) -> None:
        async with gate:
            await _work_message(wiring, message)

    await asyncio.gather(*(guarded(message) for message in messages))
    async with wiring.db.transaction() as conn:
        due = await timers.claim(conn, at=wiring.clock.now(), limit=BATCH, lease_seconds=lease)
    for timer in due:
        await _work_timer(wiring, timer)
    return len(messages) + len(due)


async def _work_message(wiring: Wiring, message: Claimed) -> None:
    try:
        await _settle_message(wiring, message)
    except Unusable as error:
        await _quarantine(wiring, message, error)
    except inbox.LeaseLost:
        log.warning("lease lost; another worker has it", message_id=message.id)
    except errors.DatabaseUnavailable:
        raise
    except Exception as error:
        log.exception("message failed", message_id=message.id, attempts=message.attempts)
        await _give_back(wiring, message, error)


async def _settle_message(wiring: Wiring, message: Claimed) -> None:
    provider = wiring.provider(message.provider)
    facts: list[Facts] = [provider.translate(message.payload)]
    fetched = False
    while True:

        async def work(conn: Connection, fetched: bool = fetched) -> None:
            await handlers.handle(conn, message, facts, clock=wiring.clock, fetched=fetched)
            failpoints.reach("work.before_commit")

        try:
            await wiring.db.run(work)
        except FactsMissing as missing:
            # Rolled back: the provider is asked with no transaction open, and all is done again.
            facts.extend(
                await provider.fetch_payment(
                    session_id=missing.session_id,
                    payment_intent_id=missing.payment_intent_id,
                    reference=missing.reference,
                )
            )
            fetched = True
            continue
        failpoints.reach("work.after_commit")
        return


async def _quarantine(wiring: Wiring, message: Claimed, error: Unusable) -> None:
    log.warning("message quarantined", message_id=message.id, reason=str(error))
    try:
        async with wiring.db.transaction() as conn:
            at = wiring.clock.now()
            await inbox.finish(conn, message, "quarantined", at=at, reason=str(error))
    except inbox.LeaseLost:
        log.warning("lease lost; another worker has it", message_id=message.id)


async def _give_back(wiring: Wiring, message: Claimed, error: Exception) -> None:
    reason = f"{getattr(error, 'code', type(error).__name__)}: {error}"
    at = wiring.clock.now()
    async with wiring.db.transaction() as conn:
        if await inbox.fail(conn, message, reason, at=at):
            opening = cases.Opening(
                kind="dead",
                reference=f"message:{message.id}",
                summary=f"{message.type} could not be worked off after {message.attempts} tries: "
                f"{reason[:300]}",
            )
            await cases.open_cases(conn, [opening], at=at)


async def _work_timer(wiring: Wiring, timer: Timer) -> None:
    act = handlers.TIMERS.get(timer.kind)
    try:
        if act is None:
            raise LookupError(f"no handler for timer {timer.kind!r}")
        await act(wiring.db, wiring.providers, timer.reference, wiring.clock)
    except errors.DatabaseUnavailable:
        raise
    except Exception as error:
        log.exception("timer failed", kind=timer.kind, reference=timer.reference)
        pause = timedelta(seconds=timers.retry_seconds(timer.attempts))
        async with wiring.db.transaction() as conn:
            await timers.again(
                conn, timer, due_at=wiring.clock.now() + pause, reason=str(error)[:2000]
            )
        return
    async with wiring.db.transaction() as conn:
        await timers.finish(conn, timer)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
