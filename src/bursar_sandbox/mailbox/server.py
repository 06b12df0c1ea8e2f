"""A mail server (RFC 5321) on one port: takes letters, hands each to whoever keeps them.

It speaks EHLO, STARTTLS, AUTH, SIZE, 8BITMIME and SMTPUTF8, and relays nothing. What it does wrong
it does on purpose: see tricks.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from bursar_sandbox.mailbox.tricks import Tricks

SIZE_MAX = 10 * 1024 * 1024
LINE_MAX = 64 * 1024
RECIPIENTS_MAX = 100
IDLE_SECONDS = 300.0
SLOW_SECONDS = 2.0
_PATH = re.compile(r"(?:FROM|TO):\s*<([^<>]*)>(.*)", re.IGNORECASE | re.DOTALL)
_INSIDE = 40
"""How many bytes of a letter come in before a line that is cut inside."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as it came: the envelope, and the bytes inside."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes


class HungUp(Exception):
    """The line is cut."""


@dataclass(slots=True)
class Server:
    """Listens while it is open. `tls` offers STARTTLS, `password` asks for AUTH before letters."""

    keep: Callable[[Letter], None]
    tricks: Tricks = field(default_factory=Tricks)
    tls: ssl.SSLContext | None = None
    password: tuple[str, str] | None = None
    slow_seconds: float = SLOW_SECONDS
    _listening: asyncio.Server | None = None
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        self._listening = await asyncio.start_server(self._talk, host, port, limit=LINE_MAX)
        return int(self._listening.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end every talk."""
        if self._listening is not None:
            self._listening.close()
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        if self._listening is not None:
            await self._listening.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._talks.add(task)
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await _Session(self, reader, writer).run()
        except (HungUp, OSError, EOFError, TimeoutError, ValueError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._talks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()


class _Session:
    """One connection."""

    def __init__(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._signed_in = server.password is None
        self._encrypted = False

    async def run(self) -> None:
        await self._say("220 sandbox.invalid takes letters and delivers none")
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                return
            verb, _, rest = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
            if verb.upper() == "QUIT":
                await self._say("221 goodbye")
                return
            await self._obey(verb.upper(), rest.strip())

    async def _obey(self, verb: str, rest: str) -> None:
        acts = {
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "AUTH": self._auth,
            "STARTTLS": self._starttls,
            "EHLO": self._hello,
            "HELO": self._hello,
        }
        if verb in acts:
            if verb in ("MAIL", "RCPT", "DATA") and not self._signed_in:
                await self._say("530 sign in first")
                return
            await acts[verb](rest)
        elif verb == "RSET":
            self._sender, self._recipients = None, []
            await self._say("250 forgotten")
        elif verb in ("NOOP", "VRFY"):
            await self._say("252 as you say" if verb == "VRFY" else "250 nothing done")
        else:
            await self._say("500 that is no command here")

    async def _hello(self, rest: str) -> None:
        offers = ["PIPELINING", f"SIZE {SIZE_MAX}", "8BITMIME", "SMTPUTF8"]
        if self._server.tls and not self._encrypted:
            offers.append("STARTTLS")
        if self._server.password:
            offers.append("AUTH PLAIN LOGIN")
        lines = ["sandbox.invalid", *offers]
        parts = [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
        await self._say("\r\n".join(parts))

    async def _starttls(self, rest: str) -> None:
        if self._server.tls is None or self._encrypted:
            await self._say("502 not here")
            return
        await self._say("220 go on")
        await self._writer.start_tls(self._server.tls)
        self._encrypted, self._sender, self._recipients = True, None, []

    async def _auth(self, rest: str) -> None:
        way, _, given = rest.partition(" ")
        try:
            if way.upper() == "PLAIN":
                _, user, password = base64.b64decode(given, validate=True).decode().split("\0")
            else:
                user, password = await self._ask("Username:"), await self._ask("Password:")
        except (ValueError, binascii.Error):
            await self._say("501 that can't be read")
            return
        self._signed_in = (user, password) == self._server.password
        await self._say("235 welcome" if self._signed_in else "535 that is not the password")

    async def _ask(self, prompt: str) -> str:
        await self._say(f"334 {base64.b64encode(prompt.encode()).decode()}")
        return base64.b64decode((await self._reader.readline()).strip(), validate=True).decode()

    async def _mail(self, rest: str) -> None:
        found = _PATH.match(rest)
        if found is None:
            await self._say("501 write MAIL FROM:<address>")
            return
        self._sender, self._recipients = found[1], []
        await self._say("250 fine")

    async def _rcpt(self, rest: str) -> None:
        found = _PATH.match(rest)
        if found is None or "@" not in found[1] or self._sender is None:
            await self._say("503 MAIL FROM:<address> comes first, then RCPT TO:<address>")
            return
        address = found[1]
        trick = self._server.tricks.of(address)
        if trick == "refused":
            await self._say("550 5.1.1 nobody has this address")
        elif trick == "greylisted":
            self._server.tricks.played(address)
            await self._say("451 4.7.1 greylisted, come again later")
        elif len(self._recipients) >= RECIPIENTS_MAX:
            await self._say("452 too many recipients")
        else:
            self._recipients.append(address)
            await self._say("250 fine")

    async def _data(self, rest: str) -> None:
        if self._sender is None or not self._recipients:
            await self._say("503 MAIL and RCPT come first")
            return
        self._cut("hangs-up-before")
        await self._say("354 the letter, then a dot alone on a line")
        data = await self._letter()
        if data is None:
            await self._say("552 the letter is too large")
        elif self._find("full"):
            await self._say("552 5.2.2 the box is full")
        else:
            self._server.keep(Letter(self._sender, tuple(self._recipients), data))
            self._cut("hangs-up-after")
            await self._say("250 kept")
        self._sender, self._recipients = None, []

    async def _letter(self) -> bytes | None:
        """The letter without the dots that protect dots; None for one that is too large."""
        if self._find("hangs-up-inside"):
            await self._reader.read(_INSIDE)
            self._cut("hangs-up-inside")
        lines: list[bytes] = []
        size = 0
        while (line := await self._reader.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise EOFError
            size += len(line)
            if size <= SIZE_MAX:
                lines.append(line.removeprefix(b".") if line.startswith(b".") else line)
        return b"".join(lines) if size <= SIZE_MAX else None

    def _find(self, trick: str) -> str | None:
        """The recipient for whom this trick is due."""
        return next((a for a in self._recipients if self._server.tricks.of(a) == trick), None)

    def _cut(self, trick: str) -> None:
        if address := self._find(trick):
            self._server.tricks.played(address)
            raise HungUp

    async def _say(self, text: str) -> None:
        if self._find("slow"):
            await asyncio.sleep(self._server.slow_seconds)
        self._writer.write(text.encode() + b"\r\n")
        await self._writer.drain()
