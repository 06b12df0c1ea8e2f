"""Posts signed webhooks to their endpoints, and tries again when one doesn't take them.

Owns attempts, waits and signatures; `deliveries` owns what is owed. Each endpoint gets its events
in the order in which they are due, one at a time; a failed one comes again later and holds up
nobody. Signatures and waits follow real time, never the sandbox's clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from contextlib import suppress
from dataclasses import dataclass

import httpx2
import orjson

from bursar_sandbox.recording import Recorder
from bursar_sandbox.store import Store
from bursar_sandbox.stripe import legacy

USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
_LONGEST_SLEEP = 3600.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    id: int
    event_id: str
    url: str
    secret: str
    body: bytes
    attempts: int
    forged: bool


def sign(secret: str, body: bytes, at: int) -> str:
    """The Stripe-Signature header for a body at a time (seconds since 1970)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Deliverer:
    """Sends what is due until it is told to stop."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        retry_seconds: tuple[float, ...],
        answer_seconds: float,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._retry_seconds = retry_seconds
        self._client = httpx2.AsyncClient(timeout=answer_seconds, follow_redirects=False)
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        store.on_owed = self.wake

    def wake(self) -> None:
        """Look at once for what is due; callable from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Send for ever. Cancel it to stop; what is unfinished goes on after the next start."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                for endpoint_id in self._due_endpoints():
                    if endpoint_id not in self._senders:
                        self._senders[endpoint_id] = asyncio.create_task(
                            self._send_all(endpoint_id)
                        )
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._seconds_to_next())
        finally:
            self._loop = None
            for task in self._senders.values():
                task.cancel()
            await asyncio.gather(*self._senders.values(), return_exceptions=True)
            await self._client.aclose()

    async def wait_until_answered(self, event_id: str, seconds: float) -> None:
        """Return when every endpoint owed the event has answered once, or time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._unanswered(event_id):
                    await self._answered.wait()

    def _unanswered(self, event_id: str) -> bool:
        row = self._store.read(
            "SELECT 1 FROM deliveries WHERE event_id = ? AND state = 'pending' AND attempts = 0",
            (event_id,),
        ).fetchone()
        return row is not None

    def _due_endpoints(self) -> list[str]:
        rows = self._store.read(
            "SELECT DISTINCT endpoint_id FROM deliveries WHERE state = 'pending' AND next_at <= ?",
            (time.time(),),
        ).fetchall()
        return [row[0] for row in rows]

    def _seconds_to_next(self) -> float:
        rows = self._store.read(
            "SELECT endpoint_id, min(next_at) FROM deliveries WHERE state = 'pending'"
            " GROUP BY endpoint_id"
        ).fetchall()
        waits = [at - time.time() for endpoint, at in rows if endpoint not in self._senders]
        return min(max(0.0, min(waits, default=_LONGEST_SLEEP)), _LONGEST_SLEEP)

    async def _send_all(self, endpoint_id: str) -> None:
        try:
            while (delivery := self._next(endpoint_id)) is not None:
                status, error = await self._post(delivery)
                self._note(delivery, status, error)
                self._answered.set()
                self._answered = asyncio.Event()
        finally:
            del self._senders[endpoint_id]
            self._wake.set()

    def _next(self, endpoint_id: str) -> Delivery | None:
        row = self._store.read(
            "SELECT d.id, d.event_id, d.attempts, w.body ->> '$.url', w.private ->> '$.secret',"
            " e.body, EXISTS (SELECT 1 FROM forgeries f WHERE f.delivery_id = d.id),"
            " w.body ->> '$.api_version'"
            " FROM deliveries d JOIN objects w ON w.id = d.endpoint_id"
            " JOIN objects e ON e.id = d.event_id"
            " WHERE d.endpoint_id = ? AND d.state = 'pending' AND d.next_at <= ?"
            " ORDER BY d.next_at, d.id LIMIT 1",
            (endpoint_id, time.time()),
        ).fetchone()
        if row is None:
            return None
        event = legacy.told(self._store, orjson.loads(row[5]), row[7])
        body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
        # A forged webhook is right the next time, as if somebody else had sent the first.
        forged = bool(row[6]) and row[2] == 0
        return Delivery(row[0], row[1], row[3], row[4], body, row[2], forged)

    async def _post(self, delivery: Delivery) -> tuple[int, str | None]:
        secret = f"{delivery.secret}_of_somebody_else" if delivery.forged else delivery.secret
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(secret, delivery.body, int(time.time())),
            "User-Agent": USER_AGENT,
        }
        status, error = 0, None
        try:
            answer = await self._client.post(delivery.url, content=delivery.body, headers=headers)
            status = answer.status_code
            if not 200 <= status < 300:
                error = f"answered {status}"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        self._recorder.webhook(delivery.url, status, delivery.body)
        return status, error

    def _note(self, delivery: Delivery, status: int, error: str | None) -> None:
        attempts = delivery.attempts + 1
        state, wait = "delivered", 0.0
        if error is not None:
            left = self._retry_seconds[attempts - 1 : attempts]
            state, wait = ("pending", left[0]) if left else ("failed", 0.0)
        with self._store.transaction() as tx:
            tx.execute(
                "UPDATE deliveries SET state = ?, attempts = ?, next_at = ?, last_status = ?,"
                " last_error = ? WHERE id = ? AND state = 'pending'",
                (state, attempts, time.time() + wait, status or None, error, delivery.id),
            )
            if state == "delivered":
                tx.execute(
                    "UPDATE objects SET body = json_set(body, '$.pending_webhooks',"
                    " (SELECT count(*) FROM deliveries WHERE event_id = ? AND state = 'pending'))"
                    " WHERE id = ?",
                    (delivery.event_id, delivery.event_id),
                )
