"""The real server and the real worker under their database roles: everything they do, they may."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest
import stripe

from bursar.access import keys
from bursar.config import Settings
from bursar.db import rights
from bursar.providers.stripe.translate import HANDLED
from login_roles import Logins, logins
from tidy.sources import ROOT, text
from worlds import World, eventually, free_port, serving

SOURCE = ROOT / "src" / "bursar"
WRITE = re.compile(
    r"\b(?:(insert)\s+into|(delete)\s+from|(update)(?=\s+\w+(?:\s+\w+)?\s+set\b))\s+(\w+)", re.I
)
# The worker's own rooms, and those that it calls: what stands there it must be allowed too.
WORKED = ("billing/settle.py", "billing/payments.py", "billing/reversals.py", "billing/cases.py")


def writes() -> Iterator[tuple[str, str, str]]:
    """The file, the verb and the table of each statement that our processes send."""
    for path in SOURCE.rglob("*.py"):
        if path.name == "migrate.py":
            continue
        for *verbs, table in WRITE.findall(text(path)):
            if table in rights.TABLES:
                yield path.relative_to(SOURCE).as_posix(), "".join(verbs).lower(), table


def test_the_server_may_send_every_statement_of_ours() -> None:
    sent = list(writes())
    assert len(sent) > 50
    refused = [
        (file, verb, table)
        for file, verb, table in sent
        if not re.search(rf"\b{verb}\b", rights.TABLES[table].server)
    ]
    assert refused == []
    assert {file for file, _, _ in sent} >= set(WORKED[1:])
    assert [
        (file, verb, table)
        for file, verb, table in sent
        if file in WORKED and not re.search(rf"\b{verb}\b", rights.TABLES[table].worker)
    ] == []


@pytest.fixture
async def made(world: World, database_url: str) -> AsyncIterator[Logins]:
    async with logins(database_url) as made:
        yield made


@contextmanager
def working(settings: Settings) -> Iterator[None]:
    """`bursar worker` as a process of its own."""
    environment = {
        "DATABASE_URL": str(settings.database_url),
        "BURSAR_SANDBOX": "1",
        "BURSAR_WORKER_POLL_SECONDS": "0.05",
        "STRIPE_API_BASE": settings.stripe_base,
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_WEBHOOK_SECRET": ",".join(settings.stripe_webhook_secrets),
    }
    command = [sys.executable, "-m", "bursar.entrypoints.cli", "worker"]
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT / "tests",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        assert process.poll() is None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)


class Client:
    """Calls of the API with keys of each kind; anything but success fails the test."""

    def __init__(self, http: httpx2.AsyncClient, secrets: dict[str, str]) -> None:
        self.http = http
        self._secrets = secrets

    async def call(self, who: str, method: str, path: str, **fields: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._secrets[who]}"}
        if method == "POST":
            headers["Idempotency-Key"] = uuid4().hex
        if path.endswith("/reverse"):
            headers["Bursar-User"] = "ada"
        if fields:
            headers["Content-Type"] = "application/json"
        body = orjson.dumps(fields) if fields else None
        answer = await self.http.request(method, path, content=body, headers=headers)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json() if answer.content else None

    async def balance(self) -> int:
        return int((await self.call("ada", "GET", "/user/balance?unit=page"))["balance"])


async def a_client(world: World, http: httpx2.AsyncClient) -> Client:
    """A client whose keys the database's owner made."""
    at = world.wiring.clock.now()
    await world.user("ada")
    async with world.wiring.db.transaction() as conn:
        secrets = {
            "ada": (await keys.create(conn, "user", user_id="ada", at=at))[1],
            "service": (await keys.create(conn, "service", user_id=None, at=at))[1],
            "admin": (await keys.create(conn, "admin", user_id=None, at=at))[1],
        }
    return Client(http, secrets)


async def buy(world: World, client: Client) -> int:
    """Buy the Starter pack over HTTP, and wait for its credits to come by webhook."""
    opened = await client.call("ada", "POST", "/api/stripe/checkout-session", package="starter")
    page = f"/v1/payment_pages/{opened['session_id']}/confirm"
    async with world.http() as sandbox:
        method = await sandbox.post(
            "/v1/payment_methods", data={"type": "card", "card[token]": "tok_visa"}
        )
        await sandbox.post(page, data={"payment_method": method.json()["id"]})

    async def credited() -> bool:
        return await client.balance() == 5

    await eventually(credited)
    return int(opened["payment_id"])


def hear(world: World, settings: Settings) -> Settings:
    """Have the sandbox send its events to the server of these settings."""
    # Typed as one of the library's hundreds of literals.
    wanted: Any = {
        "url": f"{settings.own_url}/api/stripe/webhook",
        "enabled_events": list(HANDLED),
        "api_version": stripe.api_version,
    }
    endpoint = world.stripe.v1.webhook_endpoints.create(wanted)
    return settings.model_copy(update={"stripe_webhook_secrets": (str(endpoint.secret),)})


async def buy_use_hold_and_refund(world: World, client: Client) -> None:
    """What a shop does all day."""
    payment_id = await buy(world, client)
    used = await client.call("ada", "POST", "/api/credits/use", amount=2, unit="page")
    hold = await client.call("ada", "POST", "/api/credits/holds", amount=3, unit="page")
    assert await client.balance() == 0
    await client.call("ada", "POST", f"/api/credits/holds/{hold['hold_id']}/capture", amount=1)
    other = await client.call("ada", "POST", "/api/credits/holds", amount=1, unit="page")
    await client.call("ada", "DELETE", f"/api/credits/holds/{other['hold_id']}")
    transaction = used["transaction_id"]
    await client.call("service", "POST", f"/api/credits/uses/{transaction}/reverse", amount=2)
    assert await client.balance() == 4
    refunded = await client.call("admin", "POST", "/api/stripe/refund", payment_id=payment_id)
    assert refunded["status"] == "succeeded"

    async def taken_back() -> bool:
        payment = await client.call("ada", "GET", f"/api/payments/{payment_id}")
        return payment["status"] == "refunded" and await client.balance() == 0

    await eventually(taken_back)


async def let_time_pass(world: World, client: Client) -> None:
    """A hold and a gift come to their ends, by the worker's timers."""
    ends = (world.wiring.clock.now() + timedelta(seconds=3)).isoformat()
    gift = {"user_id": "ada", "unit": "page", "reason": "a gift"}
    call = client.call
    await call("admin", "POST", "/api/admin/credits/grants", amount=7, expires_at=ends, **gift)
    await call("ada", "POST", "/api/credits/holds", amount=2, unit="page")
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update holds set expires_at = now() where state = 'held'")
        await conn.execute("update timers set due_at = now() where kind = 'hold.lapse'")

    async def over() -> bool:
        async with world.wiring.db.connection() as conn:
            states = await conn.fetch("select distinct state from holds order by 1")
            ended = "select coalesce(-sum(amount), 0) from ledger_postings where type = 'expiry'"
            return "lapsed" in [row[0] for row in states] and await conn.fetchval(ended) == 7

    await eventually(over)


async def test_server_and_worker_apart_each_under_its_role(world: World, made: Logins) -> None:
    settings = hear(world, world.settings.model_copy(update={"port": free_port()}))
    serve_as = {"database_url": await made.url_for(rights.SERVER)}
    work_as = {"database_url": await made.url_for(rights.WORKER)}
    with (
        serving(settings.model_copy(update=serve_as), with_worker=False),
        working(settings.model_copy(update=work_as)),
    ):
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
            client = await a_client(world, http)
            await buy_use_hold_and_refund(world, client)
            await let_time_pass(world, client)
    async with world.wiring.db.connection() as conn:
        # What came in last may still wait for the worker that is gone.
        bad = await conn.fetch(
            "select s.state, s.reason from inbox_states s"
            " where s.state not in ('done', 'ignored', 'received', 'processing')"
            " union all select kind, last_error from timers where last_error is not null"
        )
    assert [tuple(row) for row in bad] == []


async def test_everything_else_that_a_shop_does_under_the_servers_role(
    world: World, made: Logins
) -> None:
    settings = hear(world, world.settings.model_copy(update={"port": free_port()}))
    serve_as = {"database_url": await made.url_for(rights.SERVER)}
    with serving(settings.model_copy(update=serve_as)):
        async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
            client = await a_client(world, http)
            await buy_use_hold_and_refund(world, client)
            await tour(client)
    async with world.wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from audit_log") > 0


async def tour(client: Client) -> None:
    """People, teams, grants, vouchers, entitlements, pages: each thing once."""
    call = client.call
    await call("service", "PUT", "/api/users/bob", email="bob@example.com", email_verified=True)
    link = await call("service", "POST", "/api/sessions", user_id="ada")
    for path in (link["url"], "/account", "/pricing"):
        page = await client.http.get(path, follow_redirects=True)
        assert page.status_code == 200, path
    granted = {"user_id": "ada", "unit": "page", "amount": 4, "reason": "a gift"}
    await call("admin", "POST", "/api/admin/credits/grants", **granted)
    await call("admin", "POST", "/api/admin/credits/adjustments", **granted)
    voucher = await call("admin", "POST", "/api/admin/vouchers", credits=3, unit="page")
    await call("ada", "POST", "/api/vouchers/redeem", code=voucher["code"])
    # One credit was used and refunded, so it was owed, and the adjustment paid it.
    assert await client.balance() == 4 + 4 - 1 + 3
    feature = {"user_id": "ada", "feature": "exports", "amount": 5, "reason": "a favour"}
    await call("admin", "POST", "/api/admin/entitlements", **feature)
    await call("ada", "POST", "/api/entitlements/exports/consume", amount=2)
    team = await call("ada", "POST", "/api/team", name="Team")
    client.http.headers["Bursar-Customer"] = str(team["customer_id"])
    await call("ada", "POST", "/api/team/members", email="carol@example.com", role="member")
    await call("ada", "GET", "/api/team/members")
    del client.http.headers["Bursar-Customer"]
    for path in ("/api/payments", "/user/transactions", "/api/entitlements", "/api/team"):
        await call("ada", "GET", path)
    await call("admin", "GET", "/api/admin/audit-log")
