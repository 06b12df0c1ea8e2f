"""Who may do what about subscriptions: the server's and the worker's roles all of it, a customer's
role read its own, and a stranger's subscription waits until somebody says whose it is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing import cases, catalog_plans, customers, payments, unmatched
from bursar.billing.cases import Case
from bursar.billing.payments import Payment
from bursar.db import rights
from bursar.entrypoints import worker
from bursar.providers.stripe import Stripe
from bursar.wiring import Wiring, opened
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from login_roles import Logins, logins, refused, session
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers
from subscription_api import open_desk
from subscription_troubles import troubles
from worlds import SECRET_KEY, WEBHOOK_SECRET, World, free_port

SHOWN = (
    "select distinct customer_id from subscriptions",
    "select distinct customer_id from invoices",
)


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    # Subscriptions of other tests would renew as the clock moves.
    control_client.reset(sandbox.base_url)
    async with selling(sandbox, database_url, tmp_path, CATALOG) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


@pytest.fixture
async def made(shop: Subscribers, database_url: str) -> AsyncIterator[Logins]:
    async with logins(database_url) as made:
        yield made


@dataclass
class Apart(World):
    """A world whose server is one role of the database, and whose worker another."""

    worker: Wiring

    async def work(self) -> None:
        while await worker.work_once(self.worker):
            pass


@asynccontextmanager
async def apart(shop: Subscribers, made: Logins, **settings: Any) -> AsyncIterator[Subscribers]:
    """The same shop, under the roles that a deployment gives its processes."""
    usual = shop.world
    told = usual.settings.model_copy(update=settings)
    urls = [await made.url_for(role) for role in (rights.SERVER, rights.WORKER)]
    serve, work = (told.model_copy(update={"database_url": url}) for url in urls)
    clock = usual.wiring.clock
    async with opened(serve, clock=clock) as server, opened(work, clock=clock) as working:
        world = Apart(server, usual.sandbox, usual.stripe, working)
        yield replace(shop, world=world)


async def opened_cases(shop: Subscribers) -> list[Case]:
    async with shop.world.wiring.db.connection() as conn:
        return await cases.list_cases(conn, state="open", before=None, limit=100)


async def test_the_server_and_the_worker_may_do_all_that_a_subscription_needs(
    shop: Subscribers, made: Logins
) -> None:
    async with apart(shop, made) as there, open_desk(there) as desk:
        owner = await open_key(shop)
        found = await desk.subscribe(owner, "basic")
        assert (found["plan"], found["status"]) == ("basic", "active")
        customer = found["customer_id"]
        assert await there.balance(customer) == 20
        await there.advance(days=32)
        assert [i.status for i in await there.invoices(customer)] == ["paid", "paid"]
        http, query = desk.http, {"plan": "pro", "proration": "always_invoice"}
        answers = [
            await http.get("/api/subscription/preview", params=query, headers=owner),
            await http.patch("/api/subscription", json=query, headers=owner),
            await http.post("/api/subscription/pause", headers=owner),
            await http.post("/api/subscription/resume", headers=owner),
            await http.delete("/api/subscription", headers=owner),
            await http.post("/api/subscription/resume", headers=owner),
            await http.post("/api/stripe/portal", json={}, headers=owner),
        ]
        assert [answer.status_code for answer in answers if answer.status_code != 200] == []
        await there.hear()
        assert await there.balance(customer) == 50
        # An invoice that nobody pays, until the worker ends the subscription.
        await there.use_card(customer, "pm_card_chargeCustomerFail")
        await there.advance(days=45)
        assert (await there.subscription(customer)).status == "canceled"
        assert await there.balance(customer) == 0
        assert await troubles(there) == []
        assert await opened_cases(there) == []


async def open_key(shop: Subscribers) -> dict[str, str]:
    """A key of Ada's, which the database's owner made."""
    async with open_desk(shop) as desk:
        return await desk.key("user", "ada")


async def test_the_roles_may_begin_trials_and_resolve_duplicates_and_strangers(
    shop: Subscribers, made: Logins
) -> None:
    async with apart(shop, made, duplicate_subscriptions="cancel") as there:
        trying = await there.subscribe("tess", "trial")
        assert await there.balance(trying.customer_id) == 5
        payment = await there.subscribe("ada", "basic")
        row = await there.subscription(payment.customer_id)
        await there.use_card(payment.customer_id, "pm_card_visa")
        v1 = there.world.stripe.v1
        theirs = str(v1.subscriptions.retrieve(row.subscription_id).customer)
        await there.advance(minutes=5)
        again: Any = {"customer": theirs, "items": [{"price": row.price_id}]}
        v1.subscriptions.create(again)
        await there.hear()
        await there.hear()
        kept, ended = await there.subscriptions(payment.customer_id)
        assert (kept.status, ended.status) == ("active", "canceled")
        assert await there.balance(payment.customer_id) == 20
        await begin_as_stranger(there, "eve@example.com")
        assert [case.kind for case in await opened_cases(there)] == ["unmatched"]
        async with open_desk(there) as desk:
            service = await desk_key(shop, "service")
            await verify(desk.http, service, "eve", "eve@example.com")
        await there.world.work()
        assert await opened_cases(there) == []
        assert await troubles(there) == []


@pytest.mark.parametrize("known", [True, False], ids=["known there", "new there"])
async def test_the_worker_may_finish_a_checkout_that_a_server_left_behind(
    shop: Subscribers, made: Logins, known: bool
) -> None:
    """The server died after it stored what it was about to ask for."""
    world = shop.world
    async with apart(shop, made) as there:
        if known:
            await there.world.open_checkout("ada", plan="extra")
        user = await world.user("ada")
        usual = there.world.wiring
        nowhere = Stripe(
            secret_key=SECRET_KEY,
            webhook_secrets=[WEBHOOK_SECRET],
            base=f"http://127.0.0.1:{free_port()}",
            live=False,
            retries=0,
        )
        there.world.wiring = replace(usual, providers={"stripe": nowhere})
        with pytest.raises(errors.ProviderUnavailable):
            await there.world.open_checkout("ada", plan="basic")
        there.world.wiring = usual
        await nowhere.close()
        async with world.wiring.db.transaction() as conn:
            if not known:
                await conn.execute("delete from provider_customers")
            await conn.execute("update timers set due_at = now() where kind = 'payment.check'")
        await there.world.work()
        assert await troubles(there) == []
        async with world.wiring.db.connection() as conn:
            opening = await conn.fetchval(
                "select opening from payments where customer_id = $1 order by id desc limit 1",
                user.customer_id,
            )
        assert opening == "open"


async def test_a_customers_role_reads_its_own_subscriptions_and_writes_none(
    shop: Subscribers, made: Logins
) -> None:
    ada = (await shop.subscribe("ada", "basic")).customer_id
    bob = (await shop.subscribe("bob", "pro")).customer_id
    await shop.change(await shop.subscription(bob), "cancel")
    await shop.advance(days=32)
    name, url = await made.make(rights.CUSTOMER)
    async with shop.world.wiring.db.transaction() as conn:
        await conn.execute("insert into customer_roles values ($1, $2)", name, ada)
    async with session(url) as conn:
        for query in SHOWN:
            assert [row[0] for row in await conn.fetch(query)] == [ada], query
        rows = await conn.fetch("select plan, status from subscriptions")
        assert [tuple(row) for row in rows] == [("basic", "active")]
        statuses = await conn.fetch("select status from invoices")
        assert [row[0] for row in statuses] == ["paid", "paid"]
        for table in ("subscriptions", "invoices"):
            for statement in (
                f"update {table} set status = 'active'",
                f"delete from {table}",
                f"insert into {table} default values",
                f"truncate {table}",
            ):
                assert await refused(conn, statement) == "42501", statement
        for hidden in ("subscription_changes", "trials"):
            assert await refused(conn, f"select * from {hidden}") == "42501", hidden
    async with session(await made.url_for(rights.CUSTOMER)) as conn:
        for query in SHOWN:
            assert await conn.fetch(query) == [], query


async def test_a_reader_reads_subscriptions_and_changes_nothing(
    shop: Subscribers, made: Logins
) -> None:
    await shop.subscribe("ada", "basic")
    async with session(await made.url_for(rights.READER)) as conn:
        assert await conn.fetchval("select count(*) from subscriptions") == 1
        assert await conn.fetchval("select count(*) from invoices") == 1
        for table in ("subscriptions", "invoices", "subscription_changes", "trials"):
            assert await refused(conn, f"delete from {table}") == "42501", table


async def price_of(shop: Subscribers, plan: str) -> str:
    async with shop.world.wiring.db.connection() as conn:
        _, price = await catalog_plans.get_recurring(conn, "stripe", plan, "month", currency="usd")
    return price.provider_price_id


async def begin_as_stranger(shop: Subscribers, email: str, plan: str = "pro") -> str:
    """Somebody at the provider's dashboard subscribes a customer of whom we know nothing."""
    v1 = shop.world.stripe.v1
    customer = v1.customers.create({"email": email})
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    wanted: Any = {
        "customer": customer.id,
        "items": [{"price": await price_of(shop, plan)}],
        "default_payment_method": method.id,
    }
    made = v1.subscriptions.create(wanted)
    await shop.hear()
    return str(made.id)


async def desk_key(shop: Subscribers, kind: Any) -> dict[str, str]:
    async with open_desk(shop) as desk:
        return await desk.key(kind)


async def verify(http: Any, service: dict[str, str], user_id: str, email: str) -> None:
    body = {"email": email, "email_verified": True}
    put = await http.put(f"/api/users/{user_id}", json=body, headers=service)
    assert put.status_code < 300, put.text


async def assert_given(shop: Subscribers, user_id: str, name: str) -> None:
    """The subscription is that user's, with its payment, its allowance and its features; and so
    are the periods that follow."""
    user = await shop.world.user(user_id)
    row = await shop.subscription(user.customer_id)
    assert (row.subscription_id, row.status, row.user_id) == (name, "active", user_id)
    assert await shop.balance(user.customer_id) == 50
    assert await shop.features(user.customer_id) == {"history", "priority"}
    [payment] = await payments_of(shop, user.customer_id)
    assert (payment.kind, payment.status, payment.captured_minor) == ("invoice", "completed", 3000)
    assert await opened_cases(shop) == []
    await shop.advance(days=32)
    assert len(await payments_of(shop, user.customer_id)) == 2
    assert await shop.balance(user.customer_id) == 50
    assert await opened_cases(shop) == []
    assert await troubles(shop) == []


async def payments_of(shop: Subscribers, customer_id: int) -> list[Payment]:
    async with shop.world.wiring.db.connection() as conn:
        return await payments.list_payments(conn, customer_id, limit=100)


async def test_a_strangers_subscription_is_given_to_a_user_by_the_api(shop: Subscribers) -> None:
    await shop.world.user("ada")
    name = await begin_as_stranger(shop, "eve@example.com")
    [case] = await opened_cases(shop)
    assert (case.kind, case.amount_minor, case.detail["email"]) == (
        *("unmatched", 3000, "eve@example.com"),
    )
    async with open_desk(shop) as desk:
        admin = await desk.key("admin")
        path, body = f"/api/admin/cases/{case.id}/resolve", {"user_id": "ada", "note": "asked"}
        answers = await asyncio.gather(
            *(desk.http.post(path, json=body, headers=admin) for _ in range(5))
        )
    done = [answer.json() for answer in answers if answer.status_code == 200]
    assert [answer.status_code for answer in answers].count(409) == 4
    assert (done[0]["state"], done[0]["resolution"]) == ("resolved", "Given to user ada. asked")
    await assert_given(shop, "ada", name)


async def test_a_strangers_subscription_is_given_to_a_user_by_the_command(
    shop: Subscribers, database_url: str
) -> None:
    await shop.world.user("ada")
    name = await begin_as_stranger(shop, "eve@example.com")
    [case] = await opened_cases(shop)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))},
        "DATABASE_URL": database_url,
        "BURSAR_SANDBOX": "1",
        "STRIPE_API_BASE": shop.world.sandbox.base_url,
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    words = ["cases", "resolve", str(case.id), "--user", "ada", "--json"]
    command = [sys.executable, "-m", "bursar.entrypoints.cli", *words]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "resolved"
    await assert_given(shop, "ada", name)


async def test_a_strangers_subscription_is_claimed_by_its_verified_address(
    shop: Subscribers,
) -> None:
    name = await begin_as_stranger(shop, "eve@example.com")
    async with open_desk(shop) as desk:
        service = await desk.key("service")
        body = {"email": "eve@example.com", "email_verified": False}
        await desk.http.put("/api/users/eve", json=body, headers=service)
        await shop.world.work()
        assert len(await opened_cases(shop)) == 1
        await verify(desk.http, service, "eve", "EVE@example.com")
    await shop.world.work()
    await assert_given(shop, "eve", name)


async def test_who_verifies_while_the_subscription_is_told_of_gets_it(shop: Subscribers) -> None:
    """The address is verified in a transaction that the other does not see, and the other way."""
    wiring = shop.world.wiring
    async with wiring.db.transaction() as conn:
        at = wiring.clock.now()
        user = await customers.put_user(
            conn, "eve", email="eve@example.com", email_verified=True, name=None, at=at
        )
        await unmatched.claim(conn, user, at=at)
        name = await begin_as_stranger(shop, "eve@example.com")
    assert len(await opened_cases(shop)) == 1
    await shop.advance(minutes=2)
    await assert_given(shop, "eve", name)
