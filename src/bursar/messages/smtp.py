"""Hands one letter to a mail server (RFC 5321), and knows at each step whether it may have arrived.

A client of its own, because the difference matters: before the end of the data was written a lost
connection means "try again", after it "nobody knows". Every wait has an end. It keeps nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from bursar.messages.outbox import DeliveryFailed

CONNECT_SECONDS = 15.0
REPLY_SECONDS = 60.0
LETTER_SECONDS = 180.0
"""All that comes before the end of the data, whatever the server does with its single answers."""
END_SECONDS = 300.0
"""A server may look for viruses before it takes a letter; who gives up too soon knows nothing."""
REPLY_BYTES_MAX = 16 * 1024
CHUNK_BYTES = 4096
UNKNOWN = "not known whether it arrived"
LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")

Trouble = (OSError, EOFError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server that takes our letters. `tls` is from the start, by STARTTLS, or none."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "off"]
    user: str | None = None
    password: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A letter as it is handed over. `utf8`: an address in it is not ASCII."""

    sender: str
    recipient: str
    data: bytes
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answers to a command."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


def read_url(url: str) -> Relay:
    """`smtp[s]://user:password@host:port` as a relay; `?tls=off` for a plain one in a network of
    one's own. Without TLS nothing goes to another machine unless that is asked for.

    Raises ValueError with what is wrong; it never repeats the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("write smtp://user:password@host:port, or smtps://…")
    if parts.path.strip("/") or parts.query not in ("", "tls=off"):
        raise ValueError("nothing but ?tls=off comes after the port")
    if parts.query and parts.scheme == "smtps":
        raise ValueError("smtps:// and tls=off contradict each other")
    implicit = parts.scheme == "smtps"
    plain = bool(parts.query) or LOOPBACK.fullmatch(parts.hostname)
    user = unquote(parts.username) if parts.username else None
    return Relay(
        host=parts.hostname,
        port=parts.port or (465 if implicit else 587),
        tls="implicit" if implicit else "off" if plain else "starttls",
        user=user,
        password=unquote(parts.password or ""),
    )


async def hand_over(
    relay: Relay,
    envelope: Envelope,
    *,
    ready: Callable[[], Awaitable[bool]],
    trust: ssl.SSLContext | None = None,
) -> None:
    """Have the relay take a letter.

    `ready` is awaited right before the end of the data is written, and says whether it may be:
    from then on the letter may arrive. Raises DeliveryFailed: to be tried again, or dead where the
    server refused it for good or nobody knows whether it took it.
    """
    context = trust or ssl.create_default_context()
    talk: _Talk | None = None
    try:
        async with asyncio.timeout(LETTER_SECONDS):
            talk = await _greeted(relay, context)
            await _written(talk, envelope)
            if not await ready():
                raise DeliveryFailed("another sender has this letter")
            talk.check()
    except Trouble as error:
        await _leave(talk)
        raise DeliveryFailed(f"the mail server was lost: {_words(error)}") from error
    except BaseException:
        await _leave(talk)
        raise
    await _finish(talk)


async def _finish(talk: _Talk) -> None:
    """Write the end of the data. Whatever is lost from here on leaves it open what became of the
    letter."""
    try:
        async with asyncio.timeout(END_SECONDS):
            reply = await talk.ask(b".", seconds=END_SECONDS)
    except (*Trouble, DeliveryFailed) as error:
        raise DeliveryFailed(
            f"{UNKNOWN}: no answer after it was sent ({_words(error)})", dead=True
        ) from error
    finally:
        await _leave(talk)
    if reply.code >= 400 or reply.code < 200:
        raise DeliveryFailed(f"the mail server answered {reply}", dead=reply.code >= 500)


async def _greeted(relay: Relay, context: ssl.SSLContext) -> _Talk:
    """Connected, encrypted and signed in. What is refused here is us, not the letter, so nothing
    here is for good: somebody may mend it."""
    talk = await _Talk.connect(relay, context if relay.tls == "implicit" else None)
    try:
        _expect(await talk.reply(), 220)
        offers = await _hello(talk)
        if relay.tls == "starttls":
            if "STARTTLS" not in offers:
                raise DeliveryFailed(
                    "the mail server offers no STARTTLS; use smtps://, or ?tls=off where the "
                    "network is yours"
                )
            _expect(await talk.ask(b"STARTTLS"), 220)
            await talk.encrypt(context, relay.host)
            offers = await _hello(talk)
        if relay.user is not None:
            await _sign_in(talk, relay, offers)
    except BaseException:
        await _leave(talk)
        raise
    talk.offers = frozenset(offers)
    return talk


async def _hello(talk: _Talk) -> dict[str, str]:
    """The extensions that the server offers."""
    reply = await talk.ask(b"EHLO " + talk.own_name())
    if reply.code >= 500:
        _expect(await talk.ask(b"HELO " + talk.own_name()), 250)
        return {}
    _expect(reply, 250)
    lines = [line.upper().partition(" ") for line in reply.text.split("\n")[1:]]
    return {name: rest for name, _, rest in lines}


async def _sign_in(talk: _Talk, relay: Relay, offers: dict[str, str]) -> None:
    ways = offers.get("AUTH", "").split()
    user, password = str(relay.user).encode(), relay.password.encode()
    if "PLAIN" in ways:
        secret = base64.b64encode(b"\0%s\0%s" % (user, password))
        _expect(await talk.ask(b"AUTH PLAIN " + secret), 235)
    elif "LOGIN" in ways:
        _expect(await talk.ask(b"AUTH LOGIN"), 334)
        _expect(await talk.ask(base64.b64encode(user)), 334)
        _expect(await talk.ask(base64.b64encode(password)), 235)
    else:
        raise DeliveryFailed("the mail server takes no password (AUTH PLAIN or LOGIN)")


async def _written(talk: _Talk, envelope: Envelope) -> None:
    """Everything but the end of the data."""
    options = b""
    if envelope.utf8:
        if "SMTPUTF8" not in talk.offers:
            raise DeliveryFailed(
                "the mail server takes no addresses with such letters (SMTPUTF8)", dead=True
            )
        options = b" SMTPUTF8" + (b" BODY=8BITMIME" if "8BITMIME" in talk.offers else b"")
    _accepted(await talk.ask(b"MAIL FROM:<%s>%s" % (envelope.sender.encode(), options)))
    _accepted(await talk.ask(b"RCPT TO:<%s>" % envelope.recipient.encode()))
    reply = await talk.ask(b"DATA")
    if reply.code != 354:
        raise DeliveryFailed(f"the mail server answered {reply}", dead=reply.code >= 500)
    lines = envelope.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
    await talk.write(b"".join(line + b"\r\n" for line in stuffed))
    talk.check()


def _expect(reply: Reply, code: int) -> None:
    if reply.code != code:
        raise DeliveryFailed(f"the mail server answered {reply}")


def _accepted(reply: Reply) -> None:
    """Of the letter's own addresses: 4xx is for now, 5xx for good."""
    if not 200 <= reply.code < 300:
        raise DeliveryFailed(f"the mail server answered {reply}", dead=reply.code >= 500)


async def _leave(talk: _Talk | None) -> None:
    if talk is not None:
        await talk.close()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


class _Talk:
    """A conversation: lines out, replies in. What came in before encryption counts for nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._held = b""
        self.offers: frozenset[str] = frozenset()

    @classmethod
    async def connect(cls, relay: Relay, context: ssl.SSLContext | None) -> _Talk:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(relay.host, relay.port, ssl=context)
        return cls(reader, writer)

    def own_name(self) -> bytes:
        """Our address as a name: a machine's own name is rarely one that others know."""
        host = str(self._writer.get_extra_info("sockname")[0])
        return f"[IPv6:{host}]".encode() if ":" in host else f"[{host}]".encode()

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Go on under TLS. Raises DeliveryFailed when somebody put words in before it."""
        if self._held:
            raise DeliveryFailed("words came in before encryption that must not")
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._writer.start_tls(context, server_hostname=host)

    async def ask(self, command: bytes, *, seconds: float = REPLY_SECONDS) -> Reply:
        if b"\r" in command or b"\n" in command:
            raise DeliveryFailed("a line break in a command to the mail server", dead=True)
        await self.write(command + b"\r\n")
        return await self.reply(seconds=seconds)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(REPLY_SECONDS):
            await self._writer.drain()

    def check(self) -> None:
        """Raise EOFError when the other side has hung up already."""
        gone = self._reader.at_eof() or self._reader.exception() is not None
        if gone or self._writer.is_closing():
            raise EOFError("it closed the connection")

    async def reply(self, *, seconds: float = REPLY_SECONDS) -> Reply:
        """The next reply, of one line or several."""
        lines: list[str] = []
        async with asyncio.timeout(seconds):
            while True:
                line = await self._line()
                if not re.match(r"[2-5]\d\d([ -]|$)", line):
                    raise DeliveryFailed(f"this is no mail server: it said {line[:80]!r}")
                lines.append(line[4:])
                if line[3:4] != "-":
                    return Reply(int(line[:3]), "\n".join(lines))
                if sum(map(len, lines)) > REPLY_BYTES_MAX:
                    raise DeliveryFailed("the mail server's answer has no end")

    async def _line(self) -> str:
        while b"\n" not in self._held:
            if len(self._held) > REPLY_BYTES_MAX:
                raise DeliveryFailed("the mail server's answer has no end")
            chunk = await self._reader.read(CHUNK_BYTES)
            if not chunk:
                raise EOFError("it closed the connection")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line.rstrip(b"\r").decode("utf-8", "replace")

    async def close(self) -> None:
        """Say goodbye as far as it goes; nothing that fails here matters any more."""
        with contextlib.suppress(Exception):
            self._writer.write(b"QUIT\r\n")
            self._writer.close()
            async with asyncio.timeout(2):
                await self._writer.wait_closed()
