"""Subscriptions while processes are killed with -9 and the provider fails: the end is the same as
if nothing had happened, and money moves once."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import stripe

from bursar.access import keys
from bursar.billing import payments
from bursar.billing.payments import Payment
from bursar.config import Settings
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers
from subscription_troubles import money_of, untold, value
from worlds import WEBHOOK_SECRET, World, eventually, free_port, serving

WORK = [
    *("work.after_claim", "work.after_effect", "work.before_finish", "work.before_commit"),
    "work.after_commit",
]
UPGRADE = {"plan": "pro", "proration": "always_invoice"}


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    # Subscriptions of other tests would renew as the clock moves.
    control_client.reset(sandbox.base_url)
    async with selling(sandbox, database_url, tmp_path, CATALOG) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


async def a_key(world: World) -> dict[str, str]:
    await world.user("ada")
    async with world.wiring.db.transaction() as conn:
        _, secret = await keys.create(conn, "user", user_id="ada", at=world.wiring.clock.now())
    return {"Authorization": f"Bearer {secret}"}


async def send(
    settings: Settings, method: str, path: str, body: Any = None, **headers: str
) -> httpx2.Response | None:
    """One request to the server: the answer, or None when it died."""
    async with httpx2.AsyncClient(base_url=settings.own_url, timeout=30) as http:
        try:
            content = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
            told = {"content-type": "application/json", **headers}
            return await http.request(method, path, content=content, headers=told)
        except httpx2.TransportError:
            return None


async def post_event(settings: Settings, event: dict[str, Any]) -> int | None:
    body = orjson.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(
        body.decode(), WEBHOOK_SECRET, int(time.time())
    )
    path = "/api/stripe/webhook"
    answer = await send(settings, "POST", path, body, **{"stripe-signature": header})
    return answer.status_code if answer is not None else None


@contextmanager
def dying(settings: Settings, point: str, **how: Any) -> Iterator[None]:
    """A server that kills itself at a point before the block ends."""
    with serving(settings, crash_at=point, **how) as process:
        yield
        assert process.wait(30) == -signal.SIGKILL


async def granted(shop: Subscribers, customer_id: int) -> list[int]:
    """The allowances that were posted."""
    async with shop.world.wiring.db.connection() as conn:
        found = await conn.fetch(
            "select amount from ledger_postings where customer_id = $1 and type = 'subscription' "
            "order by id",
            customer_id,
        )
    return [row["amount"] for row in found]


async def tell_and_die(shop: Subscribers, point: str) -> None:
    """Tell a server that dies at a point, then one that lives, until all is worked off."""
    world = shop.world
    settings = world.settings.model_copy(update={"port": free_port()})
    told = await untold(shop)
    assert told
    acknowledged = set()
    with dying(settings, point):
        for event in told:
            if await post_event(settings, event) == 200:
                acknowledged.add(event["id"])
    with serving(settings):
        for event in told:
            if event["id"] not in acknowledged:
                assert await post_event(settings, event) == 200

        async def worked_off() -> bool:
            return not await value(world, "select exists (select from inbox_queue)")

        await eventually(worked_off)
    shop.heard |= {event["id"] for event in told}
    bad = "select count(*) from inbox_states where state not in ('done', 'ignored')"
    assert await value(world, bad) == 0


@pytest.mark.parametrize("point", WORK)
async def test_killed_while_a_first_month_is_told_of_it_counts_once(
    shop: Subscribers, point: str
) -> None:
    payment = await shop.world.open_checkout("ada", plan="basic")
    await shop.world.pay(payment)
    await tell_and_die(shop, point)
    row = await shop.subscription(payment.customer_id)
    assert (row.status, (await shop.world.payment(payment)).status) == ("active", "completed")
    assert money_of(shop, row) == ([1500], [1500])
    assert await granted(shop, payment.customer_id) == [20]
    assert await shop.features(payment.customer_id) == {"history"}


@pytest.mark.parametrize("point", ["work.after_effect", "work.before_commit", "work.after_commit"])
async def test_killed_while_a_renewal_is_told_of_it_counts_once(
    shop: Subscribers, point: str
) -> None:
    payment = await shop.subscribe("ada", "saver")
    customer = payment.customer_id
    shop.heard |= {event["id"] for event in await shop.events()}
    base = shop.world.sandbox.base_url
    control_client.advance_clock(base, int(timedelta(days=31, hours=2).total_seconds()))
    shop.clock.offset = timedelta(seconds=control_client.ahead(base))
    await tell_and_die(shop, point)
    await shop.world.work()
    row = await shop.subscription(customer)
    assert money_of(shop, row) == ([1500, 1500], [1500, 1500])
    # Twice the allowance, and once what was left of the first.
    assert sorted(await granted(shop, customer)) == [15, 20, 20]
    assert await shop.balance(customer) == 35
    assert [i.status for i in await shop.invoices(customer)] == ["paid", "paid"]


@pytest.mark.parametrize("retried", [True, False], ids=["retried", "asked again"])
@pytest.mark.parametrize("point", ["checkout.after_intent", "checkout.after_call"])
async def test_killed_while_subscribing_there_is_one_session_and_one_payment(
    shop: Subscribers, point: str, retried: bool
) -> None:
    world = shop.world
    who = await a_key(world)
    headers = {**who, "Idempotency-Key": "one"}
    settings = world.settings.model_copy(update={"port": free_port()})
    wanted = {"plan": "basic"}
    with dying(settings, point):
        assert await send(settings, "POST", "/api/subscribe", wanted, **headers) is None
    # Either the same request once more, or another tab, which knows nothing of it.
    await value(world, "update idempotency_keys set lease_until = now() returning 1")
    with serving(settings, with_worker=False):
        again = headers if retried else who
        first = await send(settings, "POST", "/api/subscribe", wanted, **again)
        second = await send(settings, "POST", "/api/subscribe", wanted, **who)
    assert first is not None
    assert second is not None
    assert first.status_code == 200, first.text
    assert first.json()["session_id"] == second.json()["session_id"]
    assert await value(world, "select count(*) from payments") == 1
    reference = await value(world, "select reference::text from payments")
    sessions = world.stripe.v1.checkout.sessions.list({"limit": 100}).data
    assert len([s for s in sessions if s.client_reference_id == reference]) == 1
    user = await world.user("ada")
    async with world.wiring.db.connection() as conn:
        row = await conn.fetchrow("select id, session_id from payments")
    assert row is not None
    await world.pay(await payment_of(world, user.customer_id, row["id"]))
    await shop.hear()
    assert money_of(shop, await shop.subscription(user.customer_id)) == ([1500], [1500])
    assert await granted(shop, user.customer_id) == [20]


async def payment_of(world: World, customer_id: int, payment_id: int) -> Payment:
    async with world.wiring.db.connection() as conn:
        return await payments.get_payment(conn, customer_id, payment_id)


Ask = Callable[[Settings, dict[str, str]], Awaitable[httpx2.Response | None]]


async def upgrade(settings: Settings, headers: dict[str, str]) -> httpx2.Response | None:
    return await send(settings, "PATCH", "/api/subscription", UPGRADE, **headers)


async def end_now(settings: Settings, headers: dict[str, str]) -> httpx2.Response | None:
    return await send(settings, "DELETE", "/api/subscription?when=now", **headers)


@pytest.mark.parametrize("point", ["subscription.after_intent", "subscription.after_call"])
@pytest.mark.parametrize("ask", [upgrade, end_now])
async def test_killed_while_a_subscription_changes_it_changes_once(
    shop: Subscribers, point: str, ask: Ask
) -> None:
    world = shop.world
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.advance(days=10)
    row = await shop.subscription(customer)
    headers = {**await a_key(world), "Idempotency-Key": "one change"}
    settings = world.settings.model_copy(update={"port": free_port()})
    with dying(settings, point, with_worker=False):
        assert await ask(settings, headers) is None
    assert await value(world, "select state from subscription_changes") == "pending"
    # Nobody asks again: the timer has it carried out, and who asks later is told of it.
    await value(
        world, "update timers set due_at = now() where kind = 'subscription.change' returning 1"
    )
    await value(world, "update idempotency_keys set lease_until = now() returning 1")
    await world.work()
    assert await value(world, "select state from subscription_changes") == "done"
    await shop.hear()
    with serving(settings, with_worker=False):
        told = await ask(settings, headers)
    assert told is not None
    assert told.status_code == 200, told.text
    charges, invoices = money_of(shop, row)
    after = await shop.subscription(customer)
    if ask is upgrade:
        assert (told.json()["plan"], after.plan) == ("pro", "pro")
        assert charges == invoices == [1500, charges[1]]
        assert 0 < charges[1] < 1500
        assert (await granted(shop, customer), await shop.balance(customer)) == ([20, 30], 50)
    else:
        assert (told.json()["status"], after.status) == ("canceled", "canceled")
        assert (charges, invoices, await shop.balance(customer)) == ([1500], [1500], 0)
    assert await value(world, "select count(*) from subscription_changes") == 1


@pytest.mark.parametrize("ask", [upgrade, end_now])
async def test_killed_after_the_call_the_same_request_tells_of_the_same_change(
    shop: Subscribers, ask: Ask
) -> None:
    world = shop.world
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    headers = {**await a_key(world), "Idempotency-Key": "one change"}
    settings = world.settings.model_copy(update={"port": free_port()})
    with dying(settings, "subscription.after_call", with_worker=False):
        assert await ask(settings, headers) is None
    await value(world, "update idempotency_keys set lease_until = now() returning 1")
    with serving(settings, with_worker=False):
        first, again = await ask(settings, headers), await ask(settings, headers)
    assert first is not None
    assert again is not None
    assert (first.status_code, first.json()) == (200, again.json())
    charges, invoices = money_of(shop, row)
    assert len(charges) == len(invoices) == (2 if ask is upgrade else 1)
    assert await value(world, "select state from subscription_changes") == "done"
