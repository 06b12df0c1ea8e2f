"""A shop for the tests of the pages: the real server in a thread, a real database, the sandbox.

Owns the server's thread and the browser's start. It mocks nothing: what tests want to see they
bring about through the inner rooms, with `call`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import uvicorn

from bursar.access import sessions
from bursar.billing import catalog_file, catalog_push, customers, payments, settle
from bursar.billing.customers import User
from bursar.billing.payments import Payment
from bursar.config import read
from bursar.db import Connection
from bursar.entrypoints import server
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Pool, Posting, PostingType
from bursar.providers.port import PaymentFacts, RefundFact, ReversalState
from bursar.wiring import Wiring, opened

T = TypeVar("T")

SECRET_KEY = "sk_test_pages_of_the_shop"
START_SECONDS = 30
NOBODY = "http://127.0.0.1:9"
"""Where no provider answers."""
CARD = {
    "email": "ada@lovelace.example",
    "expiry": "12 / 34",
    "security_code": "123",
    "name": "Ada Lovelace",
    "country": "US",
    "postal_code": "10115",
}
GOOD = "4242 4242 4242 4242"

CATALOG = """
[units.credit]
name = "Credits"
per_minor = { usd = "1" }
minimum = { usd = 500 }
maximum = { usd = 500000 }

[units.page]
name = "Pages"

[packs.starter]
name = "Starter"
unit = "page"
credits = 5
prices = { usd = 500 }

[packs.basic]
name = "Basic"
unit = "page"
credits = 12
prices = { usd = 1000 }

[packs.pro]
name = "Pro"
unit = "page"
credits = 30
prices = { usd = 2000 }

[packs.enterprise]
name = "Enterprise"
unit = "page"
credits = 100
prices = { usd = 5000 }
"""


def form_of(page: str, part: str) -> dict[str, str]:
    """The hidden fields of the form that has `part` in quotes, as a browser would send them."""
    form = next(f for f in re.findall(r"<form.*?</form>", page, re.S) if f'"{part}"' in f)
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))


def press(browser: httpx.Client, package: str) -> httpx.Response:
    """Press Buy on the price list."""
    return browser.post("/pricing/buy", data=form_of(browser.get("/pricing").text, package))


def pay(url: str, card: str) -> httpx.Response:
    """Fill in the provider's hosted page."""
    with httpx.Client(timeout=30, headers={"origin": url.split("/c/", maxsplit=1)[0]}) as client:
        return client.post(url, data={**CARD, "card_number": card})


def text_of(page: httpx.Response) -> str:
    """A page's words, without its marks."""
    bare = re.sub(r"<(?:script|noscript).*?</(?:script|noscript)>|<[^>]+>", " ", page.text)
    return re.sub(r"\s+", " ", bare.replace("\N{NO-BREAK SPACE}", " "))


@dataclass
class Shop:
    """A running server. `call` runs work on its own loop, with its own wiring."""

    url: str
    wiring: Wiring
    loop: asyncio.AbstractEventLoop

    def call(self, work: Callable[[Wiring], Awaitable[T]]) -> T:
        async def run() -> T:
            return await work(self.wiring)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(START_SECONDS)

    def sell(self, folder: Path, text: str = CATALOG) -> None:
        """Put a catalogue on sale, here and at the sandbox."""
        path = folder / "catalog.toml"
        path.write_text(text, encoding="utf-8")

        async def work(wiring: Wiring) -> None:
            provider = wiring.provider("stripe")
            await catalog_push.push(
                wiring.db, provider, catalog_file.read(path), clock=wiring.clock
            )

        self.call(work)

    def user(self, user_id: str, *, email: str | None = None, name: str | None = None) -> User:
        """A user whom the host app has told us of."""

        async def work(conn: Connection) -> User:
            return await customers.put_user(
                conn, user_id, email=email, email_verified=True, name=name, at=datetime.now(UTC)
            )

        return self.call(lambda wiring: wiring.db.run(work))

    def sign_in_path(self, user_id: str) -> str:
        """A link that signs in once."""

        async def work(conn: Connection) -> str:
            return await sessions.create_link(conn, user_id)

        token = self.call(lambda wiring: wiring.db.run(work))
        return f"/sign-in?token={quote(token)}"

    def post(
        self,
        user: User,
        kind: PostingType,
        amount: int,
        *,
        unit: str = "page",
        pool: Pool = "purchased",
        description: str | None = None,
    ) -> None:
        """A movement of the user's balance."""

        async def work(conn: Connection) -> None:
            posting = Posting(
                customer_id=user.customer_id,
                unit=unit,
                type=kind,
                amount=amount,
                pool=pool,
                cause=Cause("test", f"{datetime.now(UTC)}", "test"),
                description=description,
            )
            posted = await entries.post(conn, [posting], at=datetime.now(UTC))
            assert posted[0].outcome == "posted"

        self.call(lambda wiring: wiring.db.run(work))

    def buy(self, browser: httpx.Client, package: str) -> None:
        """Buy a pack at the sandbox, all the way."""
        back = pay(press(browser, package).headers["location"], GOOD)
        assert "You paid" in browser.get(back.headers["location"]).text

    def payments(self, user: User) -> list[Payment]:
        """A user's payments, the newest first."""

        async def work(conn: Connection) -> list[Payment]:
            return await payments.list_payments(conn, user.customer_id, limit=100)

        return self.call(lambda wiring: wiring.db.run(work))

    def refund(
        self, payment: Payment, amount_minor: int, state: ReversalState = "settled", ref: str = ""
    ) -> None:
        """What the provider tells of a refund that somebody made there. `ref` names it again."""
        at = datetime.now(UTC)
        told = RefundFact(ref or f"re_{at.timestamp()}", None, amount_minor, state, at)
        facts = PaymentFacts(
            provider="stripe",
            at=at,
            payment_intent_id=payment.payment_intent_id,
            refunds=(told,),
        )

        async def work(conn: Connection) -> None:
            settled = await settle.settle(conn, [facts], at=at, fetched=True)
            assert settled.payment_ids == [payment.id]

        self.call(lambda wiring: wiring.db.run(work))

    @contextmanager
    def browser(self, user_id: str | None = None) -> Iterator[httpx.Client]:
        """A client that behaves as a browser does on our own pages; signed in as `user_id`."""
        headers = {"accept": "text/html", "origin": self.url}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
            if user_id is not None:
                assert client.get(self.sign_in_path(user_id)).status_code == 303
            yield client


@contextmanager
def shop_at(database_url: str, **settings: Any) -> Iterator[Shop]:
    """Serve the whole app on a free port until the block ends."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    own_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    given = {
        "database_url": database_url,
        "public_url": own_url,
        "stripe_secret_key": SECRET_KEY,
        "stripe_webhook_secrets": "whsec_pages_of_the_shop",
        "stripe_api_base": NOBODY,
        "shop_name": "Acme Tools",
        **settings,
    }
    started = threading.Event()
    shops: list[Shop] = []
    servers: list[uvicorn.Server] = []

    async def run() -> None:
        async with opened(read(None, **given)) as wiring:
            config = uvicorn.Config(
                server.create(wiring), lifespan="off", log_level="warning", access_log=False
            )
            serving = uvicorn.Server(config)
            serving.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            servers.append(serving)
            shops.append(Shop(own_url, wiring, asyncio.get_running_loop()))
            started.set()
            await serving.serve(sockets=[listening])

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="test-shop")
    thread.start()
    try:
        assert started.wait(START_SECONDS), "the server did not start"
        yield shops[0]
    finally:
        for serving in servers:
            serving.should_exit = True
        thread.join(START_SECONDS)
        listening.close()
