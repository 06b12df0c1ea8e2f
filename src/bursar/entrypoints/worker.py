"""The worker: works off what was received and what falls due, in the same loop.

Claim (a lease), translate, fetch what is missing (no transaction open), then one transaction:
effects and finish, if the lease is still ours. Runs inside `serve` or alone; any number at once.
It decides nothing: handlers do. What the outbox owes is sent from here as well.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakValueDictionary

import structlog

from bursar import errors, failpoints
from bursar.access import idempotency, limits, sessions
from bursar.billing import asking, cases, handlers
from bursar.billing.settle import FactsMissing
from bursar.billing.subscriptions import follow
from bursar.db.connections import Connection
from bursar.entrypoints import couriers, sending
from bursar.entrypoints.loops import pause
from bursar.entrypoints.sending import Deliveries
from bursar.messages import inbox, timers
from bursar.messages.inbox import Claimed
from bursar.messages.timers import Timer
from bursar.providers.port import Facts, Told, Unusable
from bursar.wiring import Wiring

AT_ONCE = 6
"""How many messages, and how many timers, are worked at once: none is claimed to wait."""
TIMER_ATTEMPTS_MAX = 60
PAUSE_AFTER_TROUBLE_SECONDS = 1.0
TIDY_SECONDS = 3600.0

# Nobody's fault here: the message waits for days before it is given up.
AWAY = (errors.Unavailable, errors.ProviderUnavailable, errors.ProviderUnknown)

log = structlog.get_logger("bursar.worker")


async def run(wiring: Wiring, *, stop: asyncio.Event, deliveries: Deliveries | None = None) -> None:
    """Work until `stop` is set; what was begun is finished first.

    `deliveries` are the host's functions that this process can call.
    Raises errors.Misconfigured for settings of mail that can't be read.
    """
    log.info("worker started")
    async with couriers.opened(wiring, deliveries) as ways:
        # A slow provider may hold up what is due later; it must not hold up what came in.
        await asyncio.gather(
            _loop(wiring, work_messages, stop),
            _loop(wiring, work_timers, stop),
            _loop(wiring, tidy_up, stop, seconds=TIDY_SECONDS),
            *(sending.run(wiring, way, stop=stop) for way in ways),
        )
    log.info("worker stopped")


async def work_once(wiring: Wiring) -> int:
    """Claim what is due and work it off; returns how many messages and timers that were."""
    return await work_messages(wiring) + await work_timers(wiring)


async def work_messages(wiring: Wiring) -> int:
    """Claim some messages that are due and work them off; returns how many."""
    lease = wiring.settings.worker_lease_seconds

    async def claim(conn: Connection) -> list[Claimed]:
        return await inbox.claim(conn, limit=AT_ONCE, lease_seconds=lease)

    messages = await wiring.db.run(claim)
    if messages:
        failpoints.reach("work.after_claim")
    await asyncio.gather(*(_work_message(wiring, message) for message in messages))
    return len(messages)


async def work_timers(wiring: Wiring) -> int:
    """Claim some timers that are due and do what they are for; returns how many."""
    lease, at = wiring.settings.worker_lease_seconds, wiring.clock.now()

    async def claim(conn: Connection) -> list[Timer]:
        return await timers.claim(conn, at=at, limit=AT_ONCE, lease_seconds=lease)

    due = await wiring.db.run(claim)
    await asyncio.gather(*(_work_timer(wiring, timer) for timer in due))
    return len(due)


async def tidy_up(wiring: Wiring) -> int:
    """Forget what has ended: sessions, sign-in links, counts of limits, old idempotency keys."""
    async with wiring.db.transaction() as conn:
        await sessions.forget_ended(conn)
        await limits.forget_ended(conn)
        await idempotency.forget_old(conn)
    return 0


async def _loop(
    wiring: Wiring,
    work: Callable[[Wiring], Awaitable[int]],
    stop: asyncio.Event,
    seconds: float | None = None,
) -> None:
    """Do `work` again and again, at once while there is some. No failure ends the loop: it is the
    only one who would try again."""
    idle = seconds or wiring.settings.worker_poll_seconds
    while not stop.is_set():
        try:
            worked = await work(wiring)
        except Exception as error:
            log.warning("work stopped for a moment", reason=str(error), work=work.__name__)
            await pause(stop, PAUSE_AFTER_TROUBLE_SECONDS)
            continue
        if not worked:
            await pause(stop, idle)


async def _work_message(wiring: Wiring, message: Claimed) -> None:
    try:
        await _settle_message(wiring, message)
    except Unusable as error:
        await _quarantine(wiring, message, error)
    except inbox.LeaseLost:
        log.warning("lease lost; another worker has it", message_id=message.id)
    except errors.DatabaseUnavailable:
        raise
    except AWAY as error:
        log.warning("message waits", message_id=message.id, reason=error.detail)
        await _give_back(wiring, message, error)
    except Exception as error:
        # The trace as text: a renderer that prints frames would print keys and payloads.
        trace = traceback.format_exc()
        log.error("message failed", message_id=message.id, attempts=message.attempts, trace=trace)
        await _give_back(wiring, message, error)


async def _settle_message(wiring: Wiring, message: Claimed) -> None:
    provider = wiring.provider(message.provider)
    said: list[Facts | Told] = [provider.translate(message.payload)]
    missing = await _handle(wiring, message, said, fetched=False)
    if missing is None:
        return
    turn = _turn(missing)
    async with turn.lock:
        # Who had the turn before may have asked for just this.
        if turn.waited:
            missing = await _handle(wiring, message, said, fetched=False)
        if missing is not None:
            # Rolled back: the provider is asked with no transaction open, and all is done again.
            said.extend(await asking.ask(wiring.db, provider, missing))
            await _handle(wiring, message, said, fetched=True)


async def _handle(
    wiring: Wiring, message: Claimed, said: list[Facts | Told], *, fetched: bool
) -> FactsMissing | None:
    """Work a message off in one transaction; or say what must be asked first."""

    async def work(conn: Connection) -> None:
        await handlers.handle(
            conn, message, said, clock=wiring.clock, fetched=fetched, rules=wiring.rules
        )
        failpoints.reach("work.before_commit")

    try:
        await wiring.db.run(work)
    except FactsMissing as missing:
        return missing
    failpoints.reach("work.after_commit")
    return None


@dataclass(frozen=True, slots=True)
class _Turn:
    """Messages about one subscription take turns in a process: the first asks for all of them."""

    lock: asyncio.Lock
    waited: bool


_TURNS: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


def _turn(missing: FactsMissing) -> _Turn:
    name = missing.news.subscription_id if missing.news else None
    lock = _TURNS.setdefault(name, asyncio.Lock()) if name else asyncio.Lock()
    return _Turn(lock, lock.locked())


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
        if await inbox.fail(conn, message, reason, at=at, patient=isinstance(error, AWAY)):
            opening = cases.Opening(
                kind="dead",
                reference=f"message:{message.id}",
                summary=f"{message.type} failed {message.attempts + 1} times: {reason[:300]}",
            )
            await cases.open_cases(conn, [opening], at=at)


async def _work_timer(wiring: Wiring, timer: Timer) -> None:
    act = handlers.timers(wiring.rules).get(timer.kind)
    try:
        if act is None:
            raise LookupError(f"no handler for timer {timer.kind!r}")
        again = await act(wiring.db, wiring.providers, timer.reference, wiring.clock)
    except errors.DatabaseUnavailable:
        raise
    except Exception as error:
        log.warning("timer failed", kind=timer.kind, reference=timer.reference, reason=str(error))
        await _put_off(wiring, timer, error)
        return
    async with wiring.db.transaction() as conn:
        if again is not None:
            await timers.again(conn, timer, due_at=again, reason=None)
        else:
            await timers.finish(conn, timer)


async def _put_off(wiring: Wiring, timer: Timer, error: Exception) -> None:
    """Set a timer that failed anew; past its tries a person is asked instead."""
    now = wiring.clock.now()
    async with wiring.db.transaction() as conn:
        endless = timer.kind == follow.CHECK_TIMER
        if timer.attempts < TIMER_ATTEMPTS_MAX or (endless and timer.attempts > TIMER_ATTEMPTS_MAX):
            due_at = now + timedelta(seconds=timers.retry_seconds(timer.attempts))
            await timers.again(conn, timer, due_at=due_at, reason=str(error)[:2000])
            return
        opening = cases.Opening(
            kind="dead",
            reference=f"timer:{timer.kind}:{timer.reference}",
            summary=f"{timer.kind} failed {timer.attempts} times: {str(error)[:300]}",
        )
        await cases.open_cases(conn, [opening], at=now)
        if endless:
            # Nobody else would ever ask about what lives at the provider.
            again = now + timedelta(seconds=timers.retry_seconds(timer.attempts))
            await timers.again(conn, timer, due_at=again, reason=str(error)[:2000])
            return
        await timers.finish(conn, timer)
