"""A small world for tests: a real sandbox, a database of one's own, and Bursar wired to both.

Everything the sandbox said during a test is checked against the provider's schema when it ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import stripe

from bursar import config
from bursar.billing import catalog_file, catalog_push, checkouts, customers, payments, settle
from bursar.billing.customers import User
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from bursar.checks.audit import audit
from bursar.config import Settings
from bursar.db.connections import Connection
from bursar.entrypoints import worker
from bursar.ledger import balances
from bursar.messages import inbox
from bursar.providers.port import PaymentFacts
from bursar.wiring import Wiring, opened
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from stripe_schema import recorded, schema_or_skip

ROOT = Path(__file__).parent.parent
SECRET_KEY = "sk_test_bursar_tests"
WEBHOOK_SECRET = "whsec_bursar_tests"
EVENTS = [
    "checkout.session.completed",
    "checkout.session.expired",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.succeeded",
]


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Path]]:
    """The session's sandbox and the file in which it records what it says."""
    folder = tmp_path_factory.mktemp("sandbox")
    record = folder / "record.jsonl"
    record.touch()
    with Sandbox(home=folder, record=record, retry_seconds=(0.3, 0.6, 1.2, 2.4, 4.8)) as sandbox:
        yield sandbox, record


@pytest.fixture
def sandbox(sandbox_process: tuple[Sandbox, Path], tmp_path: Path) -> Iterator[Sandbox]:
    """The sandbox; what it says during the test must agree with the provider's schema.

    A test that moves its clock leaves an empty one to the next, which begins in real time again.
    """
    running, record = sandbox_process
    begin = record.stat().st_size
    yield running
    if control_client.ahead(running.base_url):
        control_client.reset(running.base_url)
    with record.open("rb") as file:
        file.seek(begin)
        said = file.read()
    if said:
        part = tmp_path / "said.jsonl"
        part.write_bytes(said)
        assert recorded.problems(part, schema_or_skip()) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_for(sandbox: Sandbox, database_url: str, **fields: Any) -> Settings:
    """Settings of a deployment on this sandbox and this database, whatever the environment."""
    return config.read(
        None,
        database_url=database_url,
        sandbox=True,
        stripe_api_base=sandbox.base_url,
        stripe_secret_key=SECRET_KEY,
        stripe_webhook_secrets=(WEBHOOK_SECRET,),
        worker_poll_seconds=0.05,
        **fields,
    )


@dataclass
class World:
    """Bursar, wired to a sandbox and a database. No server: tests call the rooms, or serve it."""

    wiring: Wiring
    sandbox: Sandbox
    stripe: stripe.StripeClient

    @property
    def settings(self) -> Settings:
        return self.wiring.settings

    async def user(self, user_id: str) -> User:
        async with self.wiring.db.transaction() as conn:
            return await customers.ensure_user(conn, user_id, at=self.wiring.clock.now())

    async def resume_checkout(self, user_id: str, reference: str) -> Payment:
        """Go on with a checkout whose outcome is open, as a client's next try does."""
        user = await self.user(user_id)
        order = Order(customer_id=user.customer_id, user=user, success_url="", cancel_url="")
        provider = self.wiring.provider("stripe")
        return await checkouts.open(
            self.wiring.db, provider, order, clock=self.wiring.clock, resume=reference
        )

    async def sync(self, payment: Payment) -> Payment:
        """Look at a payment as the success page does."""
        provider = self.wiring.provider("stripe")
        return await checkouts.sync(self.wiring.db, provider, payment, clock=self.wiring.clock)

    async def settle(self, facts: Sequence[PaymentFacts]) -> None:
        async def work(conn: Connection) -> None:
            await settle.settle(conn, facts, at=self.wiring.clock.now(), fetched=True)

        await self.wiring.db.run(work)

    async def open_checkout(self, user_id: str = "ada", **wanted: Any) -> Payment:
        """A hosted checkout of the Starter pack, or of what is wanted."""
        async with self.wiring.db.transaction() as conn:
            user = await customers.ensure_user(conn, user_id, at=self.wiring.clock.now())
        if not {"package", "plan", "price_id", "amount_minor"} & set(wanted):
            wanted["package"] = "starter"
        order = Order(
            customer_id=user.customer_id,
            user=user,
            success_url="http://127.0.0.1:8000/checkout/success?session_id={CHECKOUT_SESSION_ID}",
            cancel_url="http://127.0.0.1:8000/pricing",
            **wanted,
        )
        return await checkouts.open(
            self.wiring.db, self.wiring.provider("stripe"), order, clock=self.wiring.clock
        )

    async def pay(self, payment: Payment, card: str = "tok_visa") -> None:
        """Pay a session as the official command line does, without a browser."""
        page = f"/v1/payment_pages/{payment.session_id}"
        async with self.http() as http:
            made = await http.post(
                "/v1/payment_methods", data={"type": "card", "card[token]": card}
            )
            assert made.status_code == 200, made.text
            method = made.json()["id"]
            paid = await http.post(f"{page}/confirm", data={"payment_method": method})
        assert paid.status_code in (200, 402), paid.text

    def http(self) -> httpx2.AsyncClient:
        """A plain client of the sandbox's API."""
        return httpx2.AsyncClient(
            base_url=self.sandbox.base_url,
            headers={"Authorization": f"Bearer {SECRET_KEY}"},
            timeout=30,
        )

    async def events_about(self, payment: Payment) -> list[dict[str, Any]]:
        """The sandbox's events that carry a payment's reference, the oldest first."""
        async with self.http() as http:
            answer = await http.get("/v1/events", params={"limit": 100})
        events = answer.json()["data"]
        return [
            event for event in reversed(events) if payment.reference in orjson.dumps(event).decode()
        ]

    async def deliver(self, events: Sequence[dict[str, Any]]) -> None:
        """Put events through the front door: signed, verified, stored."""
        provider = self.wiring.provider("stripe")
        for event in events:
            body = orjson.dumps(event)
            header = stripe.WebhookSignature.generate_signature_header(
                body.decode(), WEBHOOK_SECRET, int(time.time())
            )
            received = provider.verify(
                body, {"stripe-signature": header, "content-type": "application/json"}
            )
            async with self.wiring.db.transaction() as conn:
                await inbox.receive(conn, [received], at=self.wiring.clock.now())

    async def work(self) -> None:
        """Work off everything that is due."""
        while await worker.work_once(self.wiring):
            pass

    async def payment(self, payment: Payment) -> Payment:
        async with self.wiring.db.connection() as conn:
            return await payments.get_payment(conn, payment.customer_id, payment.id)

    async def balance(self, customer_id: int, unit: str = "page") -> int:
        async with self.wiring.db.connection() as conn:
            at = self.wiring.clock.now()
            return (await balances.balance(conn, customer_id, unit, at=at)).spendable

    async def assert_audit_clean(self) -> None:
        async with self.wiring.db.connection() as conn:
            found = await audit(conn)
        assert found == [], found


def stripe_client(sandbox: Sandbox) -> stripe.StripeClient:
    """The provider's official library, pointed at the sandbox."""
    return stripe.StripeClient(
        SECRET_KEY, base_addresses={"api": sandbox.base_url}, max_network_retries=0
    )


@pytest.fixture
async def world(sandbox: Sandbox, database_url: str) -> AsyncIterator[World]:
    """A world with the catalogue pushed, audited when the test ends."""
    settings = settings_for(sandbox, database_url)
    async with opened(settings) as wiring:
        wanted = catalog_file.read(ROOT / "catalog.toml")
        await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
        here = World(wiring, sandbox, stripe_client(sandbox))
        yield here
        await here.assert_audit_clean()


@contextmanager
def serving(
    settings: Settings,
    *,
    with_worker: bool = True,
    workers: int = 1,
    crash_at: str = "",
    **environ: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """The real server as a process of its own, ready; stopped in the end if it still runs."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))},
        "DATABASE_URL": str(settings.database_url),
        "BURSAR_SANDBOX": "1",
        "BURSAR_PORT": str(settings.port),
        "BURSAR_WORKER_LEASE_SECONDS": "1",
        "BURSAR_WORKER_POLL_SECONDS": "0.05",
        "BURSAR_LIMIT_CHECKOUT": "off",
        "STRIPE_API_BASE": settings.stripe_base,
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_WEBHOOK_SECRET": ",".join(settings.stripe_webhook_secrets),
        "BURSAR_CRASH_AT": crash_at,
        **environ,
    }
    command = [sys.executable, "-m", "bursar.entrypoints.cli", "serve", "--workers", str(workers)]
    process = subprocess.Popen(
        command if with_worker else [*command, "--no-worker"],
        env=environment,
        cwd=ROOT / "tests",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(settings):
            assert process.poll() is None, f"the server ended with {process.returncode}"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(settings: Settings) -> bool:
    try:
        return httpx2.get(f"{settings.own_url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


async def eventually(condition: Any, *, seconds: float = 20.0) -> None:
    """Wait until an async condition holds."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "what should have come about did not"
        await asyncio.sleep(0.05)
