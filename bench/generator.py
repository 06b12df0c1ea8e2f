"""The load: a closed loop of requests over keep-alive connections, in a process of its own.

    python -m bench.generator '{"port": …, "clients": …, "warm": …, "seconds": …, "seed": …,
                                "secret": …}'

They are signed webhooks, or, where `users` says for how many, uses of credits. Each connection
sends its next request when the last one was answered. When time is up nothing more is sent, and
what is in flight is waited for, so that at the end every request sent has its answer. It speaks
just enough HTTP/1.1 for our own server and follows nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from bench.events import EventMaker
from bench.samples import Wrong

ROOT = Path(__file__).resolve().parent.parent
PATH = "/api/stripe/webhook"
USE_PATH = "/api/credits/use"
EVENTS_MAX = 5_000_000
DRAIN_SECONDS = 20.0
START_SECONDS = 60

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to send: seconds of warming up and of counting, over how many connections.

    `secret` signs webhooks; with `users` it is a service's key, and uses of one credit are sent for
    users drawn from bench-1 to bench-`users`.
    """

    port: int
    clients: int
    warm: float
    seconds: float
    seed: int
    secret: str
    users: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. `counted` are the acknowledgements of the `seconds` after warming up."""

    sent: int
    acknowledged: int
    counted: int
    seconds: float
    refused: dict[str, int]
    broken: int
    processor_seconds: float


def parse_answer(data: bytes) -> tuple[int, int] | None:
    """Return the status of an answer and its length in bytes; None while its head is not whole.

    Raises ValueError for what is no HTTP/1.1 or has no Content-Length.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = LENGTH.search(data, 0, end)
    if not data.startswith(b"HTTP/1.1 ") or length is None:
        raise ValueError(f"no answer that this client can read: {data[:end]!r}")
    return int(data[9:12]), end + 4 + int(length[1])


class Load:
    """What all connections share: the events, the clock and the counts."""

    def __init__(self, order: Order) -> None:
        self._maker = EventMaker(order.seed, order.secret)
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nUser-Agent: Stripe/1.0\r\n"
            "Accept: */*\r\nContent-Type: application/json; charset=utf-8\r\n"
        )
        self._counts_from = time.perf_counter() + order.warm
        self._until = self._counts_from + order.seconds
        self.sent = self.acknowledged = self.counted = self.broken = 0
        self.refused: Counter[int] = Counter()

    def next_request(self) -> bytes | None:
        """Make the next request; None when time is up."""
        if self.sent >= EVENTS_MAX or time.perf_counter() >= self._until:
            return None
        self.sent += 1
        return self._request()

    def _request(self) -> bytes:
        body = self._maker.body()
        signature = self._maker.sign(body, int(time.time()))
        head = f"{self._head}Stripe-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def note(self, status: int) -> None:
        """Count an answer; only 200 acknowledges."""
        if status != 200:
            self.refused[status] += 1
            return
        self.acknowledged += 1
        if self._counts_from <= time.perf_counter() < self._until:
            self.counted += 1


class UseLoad(Load):
    """Uses of one credit, each under a key of its own, in place of webhooks."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._users = order.users
        self._random = random.Random(order.seed)  # noqa: S311 - a load, not a secret
        self._head = (
            f"POST {USE_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nAccept: */*\r\n"
            f"Authorization: Bearer {order.secret}\r\nContent-Type: application/json\r\n"
            "Content-Length: 13\r\n"
        )

    def _request(self) -> bytes:
        user, key = self._random.randint(1, self._users), self._random.getrandbits(128)
        head = f"{self._head}Bursar-User: bench-{user}\r\nIdempotency-Key: {key:032x}\r\n\r\n"
        return head.encode() + b'{"amount": 1}'


class Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._data = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, transport: asyncio.WriteTransport, load: Load) -> None:
        """Send the first request."""
        self._transport, self._load = transport, load
        self._send()

    def data_received(self, data: bytes) -> None:
        self._data += data
        found = parse_answer(self._data)
        if found is None:
            return
        status, length = found
        if len(self._data) >= length:
            self._data = self._data[length:]
            self._load.note(status)
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        # Done already, unless the server closed it before time was up.
        if not self.done.done():
            self._load.broken += 1
            self.done.set_result(None)

    def _send(self) -> None:
        request = self._load.next_request()
        if request is not None:
            self._transport.write(request)
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()


async def run(order: Order) -> Outcome:
    """Send until time is up, then wait for the answers that are under way."""
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(Client, "127.0.0.1", order.port) for _ in range(order.clients)
    ]
    load = UseLoad(order) if order.users else Load(order)
    for transport, client in opened:
        client.start(transport, load)
    patience = order.warm + order.seconds + DRAIN_SECONDS
    await asyncio.wait([client.done for _, client in opened], timeout=patience)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Outcome(
        sent=load.sent,
        acknowledged=load.acknowledged,
        counted=load.counted,
        seconds=order.seconds,
        refused={str(status): count for status, count in load.refused.items()},
        broken=load.broken,
        processor_seconds=used.ru_utime + used.ru_stime,
    )


def send(order: Order) -> Outcome:
    """Send from a process of its own. Raises Wrong unless each answer was 200."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.generator", json.dumps(asdict(order))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=order.warm + order.seconds + DRAIN_SECONDS + START_SECONDS,
    )
    if done.returncode:
        raise Wrong(f"the generator failed: {done.stderr[-2000:]}")
    outcome = Outcome(**json.loads(done.stdout))
    if outcome.acknowledged != outcome.sent or outcome.broken:
        raise Wrong(f"not every request was answered with 200: {outcome}")
    return outcome


def main() -> None:
    """Read the order from the command line, print the outcome as JSON."""
    order = Order(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(uvloop.run(run(order)))))


if __name__ == "__main__":
    main()
