"""A receiver of webhooks for tests: a small HTTP server that answers as it is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def answer(status: int, *headers: str, body: bytes = b"no") -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Got:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        told: dict[str, Any] = orjson.loads(self.body)
        return told

    def verified(self, secret: str) -> bool:
        """Whether a signature is right, as the specification says it: our own few lines."""
        key = base64.b64decode(secret.split("_", 1)[1])
        parts = (self.headers["webhook-id"], self.headers["webhook-timestamp"], self.body.decode())
        made = hmac.digest(key, ".".join(parts).encode(), hashlib.sha256)
        wanted = "v1," + base64.b64encode(made).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What it got, and what it says to the next requests; after those 200."""

    says: list[bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = field(
        default_factory=list
    )
    got: list[Got] = field(default_factory=list)
    port: int = 0
    at_once: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?a=1"

    @property
    def order(self) -> list[int]:
        """The numbers of the events' data, as they came."""
        return [one.event["data"]["number"] for one in self.got]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append(Got(head[0].split(" ")[1], headers, body))
            said = self.says.pop(0) if self.says else OK
            if isinstance(said, bytes):
                writer.write(said)
                await writer.drain()
            else:
                await said(writer)
        except (OSError, EOFError):
            return
        finally:
            self.at_once -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.talk, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
