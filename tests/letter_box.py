"""Mail for tests: a mail server in this process, a shop that sends to it, letters to send."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from bursar import config
from bursar.billing import customers, letters
from bursar.db import Database
from bursar.entrypoints import sending, sending_mail
from bursar.messages import outbox
from bursar.messages.outbox import Event, Message
from bursar.wiring import Wiring, opened
from bursar_sandbox.mailbox import Letter, Server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CERTIFICATE = Path(__file__).parent / "certificates" / "server.pem"


@dataclass
class Box:
    """A running mail server and what it took."""

    server: Server
    letters: list[Letter]
    port: int = 0

    @property
    def messages(self) -> list[EmailMessage]:
        """The letters, read."""
        read = [message_from_bytes(one.data, policy=policy.default) for one in self.letters]
        return [message for message in read if isinstance(message, EmailMessage)]

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"


@asynccontextmanager
async def letter_box(**settings: Any) -> AsyncIterator[Box]:
    """A mail server that listens on a free port."""
    found: list[Letter] = []
    server = Server(found.append, **settings)
    box = Box(server, found)
    box.port = await server.open()
    try:
        yield box
    finally:
        await server.close()


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with the tests' certificate, and a client's that trusts it."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(CERTIFICATE)
    return ours, ssl.create_default_context(cafile=CERTIFICATE)


def mail_settings(url: str, database_url: str, **fields: Any) -> config.Settings:
    """Settings of a shop that sends its letters to `url`."""
    given = {
        "database_url": database_url,
        "smtp_url": url,
        "mail_from": "billing@acme.example",
        "shop_name": "Acme Tools",
        "operator_email": "operator@acme.example",
        "receipts": "bursar",
        "worker_lease_seconds": 30.0,
        "worker_poll_seconds": 0.05,
        **fields,
    }
    return config.read(None, **given)


@dataclass
class Post:
    """A wiring that sends letters, and the server that takes them."""

    wiring: Wiring
    box: Box
    refunds: int = field(default=0)

    @property
    def db(self) -> Database:
        return self.wiring.db

    async def user(self, user_id: str, email: str | None, name: str | None = None) -> None:
        async with self.db.transaction() as conn:
            await customers.put_user(
                conn, user_id, email=email, email_verified=True, name=name, at=NOW
            )

    async def owe(self, email: str | None, name: str | None = None) -> None:
        """Have a refund told to a user with this address."""
        self.refunds += 1
        user_id = f"user-{self.refunds}"
        await self.user(user_id, email, name)
        await self.tell(refunded(user_id, self.refunds))

    async def tell(self, *events: Event) -> None:
        async with self.db.transaction() as conn:
            await letters.tell(conn, events, at=NOW)

    async def send(self) -> int:
        """Try what is due; returns how many letters that were."""
        way = sending_mail.way(self.wiring)
        assert way is not None
        return await sending.send_once(self.wiring, way)

    async def make_due(self) -> None:
        async with self.db.connection() as conn:
            await conn.execute("update outbox_messages set due_at = now(), lease_until = null")

    async def messages(self) -> list[Message]:
        async with self.db.connection() as conn:
            return await outbox.list_messages(conn)

    async def cases(self) -> list[str]:
        async with self.db.connection() as conn:
            rows = await conn.fetch("select summary from cases order by id")
        return [row["summary"] for row in rows]


def refunded(user_id: str, number: int = 1, **data: Any) -> Event:
    """The event that money of a payment went back."""
    told = {
        "id": number,
        "user_id": user_id,
        "customer_id": 7,
        "provider": "stripe",
        "kind": "checkout",
        "amount": 1000,
        "currency": "usd",
        "status": "partially_refunded",
        "captured": 1000,
        "refunded": 250,
        "credits": 0,
        "unit": None,
        "metadata": {},
        **data,
    }
    return Event("payment.refunded", f"ref-{number}:1000:1", 7, told)


@asynccontextmanager
async def posting(database_url: str, box: Box, **fields: Any) -> AsyncIterator[Post]:
    """A shop whose letters go to `box`."""
    async with opened(mail_settings(box.url, database_url, **fields)) as wiring:
        await sending_mail.arrange(wiring)
        yield Post(wiring, box)
