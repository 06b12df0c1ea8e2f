"""Subscriptions while processes are killed with -9 and the provider fails: the end is the same as
if nothing had happened, and money moves once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import stripe

from bursar import errors
from bursar.access import keys
from bursar.billing import cases, payments, portal, subscription_changes
from bursar.billing.payments import Payment
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions.rows import Subscription
from bursar.config import Settings
from bursar.providers.port import Provider
from bursar.providers.stripe import Stripe
from bursar.providers.stripe.translate import HANDLED
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers
from worlds import SECRET_KEY, WEBHOOK_SECRET, World, eventually, free_port, serving

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


@asynccontextmanager
async def failing(shop: Subscribers, *routes: str, **faults: Any) -> AsyncIterator[None]:
    """While the block runs, every call to these routes goes wrong, and nobody repeats it for us."""
    usual, base = shop.world.wiring, shop.world.sandbox.base_url
    provider = Stripe(
        secret_key=SECRET_KEY, webhook_secrets=[WEBHOOK_SECRET], base=base, live=False, retries=0
    )
    shop.world.wiring = replace(usual, providers={"stripe": provider})
    control_client.set_faults(base, seed=1, timeout_seconds=0.05, routes=list(routes), **faults)
    try:
        yield
    finally:
        control_client.clear_faults(base)
        shop.world.wiring = usual
        await provider.close()


class Failing:
    """The real provider, of which one call fails without having done anything."""

    def __init__(self, provider: Provider, call: str) -> None:
        self._provider, self._call = provider, call
        self.keys: set[str] = set()
        """The references that it answers with its failure for ever."""
        self.fails = True

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._provider, name)
        return self._fail(found) if name == self._call else found

    def _fail(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def asked(reference: str, *order: Any) -> Any:
            if self.fails:
                self.keys.add(reference)
            if reference in self.keys:
                raise errors.ProviderUnknown()
            return await call(reference, *order)

        return asked


@contextmanager
def replaying(shop: Subscribers, call: str) -> Iterator[Failing]:
    """While the block runs, one call fails as a provider does that keeps its failures by key."""
    usual = shop.world.wiring
    failing = Failing(usual.provider("stripe"), call)
    shop.world.wiring = replace(usual, providers={"stripe": failing})  # type: ignore[dict-item]
    try:
        yield failing
    finally:
        shop.world.wiring = usual


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


async def value(world: World, query: str) -> Any:
    async with world.wiring.db.connection() as conn:
        return await conn.fetchval(query)


async def opened_cases(shop: Subscribers) -> list[str]:
    async with shop.world.wiring.db.connection() as conn:
        found = await cases.list_cases(conn, state="open", before=None, limit=100)
    return [case.kind for case in found]


def money_of(shop: Subscribers, row: Subscription) -> tuple[list[int], list[int]]:
    """What the provider took for a subscription: its charges and its invoices, oldest first."""
    v1 = shop.world.stripe.v1
    customer = str(v1.subscriptions.retrieve(row.subscription_id).customer)
    charges = v1.charges.list({"customer": customer, "limit": 100}).data
    invoices = v1.invoices.list({"subscription": row.subscription_id, "limit": 100}).data
    return (
        [charge.amount for charge in charges if charge.paid][::-1],
        [invoice.amount_paid for invoice in invoices][::-1],
    )


async def granted(shop: Subscribers, customer_id: int) -> list[int]:
    """The allowances that were posted."""
    async with shop.world.wiring.db.connection() as conn:
        found = await conn.fetch(
            "select amount from ledger_postings where customer_id = $1 and type = 'subscription' "
            "order by id",
            customer_id,
        )
    return [row["amount"] for row in found]


async def untold(shop: Subscribers) -> list[dict[str, Any]]:
    """The events that nobody has told us of yet."""
    found = await shop.events()
    return [e for e in found if e["id"] not in shop.heard and e["type"] in HANDLED]


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


def wanted_of(row: Subscription, kind: subscription_changes.Kind, **wanted: Any) -> Wanted:
    return Wanted(
        customer_id=row.customer_id,
        subscription_id=row.id,
        kind=kind,
        requested_by="test",
        **wanted,
    )


async def request(shop: Subscribers, wanted: Wanted) -> Subscription:
    wiring = shop.world.wiring
    return await subscription_changes.request(
        wiring.db, wiring.providers, wanted, clock=wiring.clock
    )


FAULTS = ["api_500_after", "api_timeout_after"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_change_whose_answer_was_lost_is_found_made_and_costs_once(
    shop: Subscribers, fault: str
) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    async with failing(shop, "/v1/subscriptions", **{fault: 1.0}):
        after = await request(
            shop, wanted_of(row, "change", plan="pro", proration="always_invoice")
        )
    assert after.plan == "pro"
    assert await value(shop.world, "select state from subscription_changes") == "done"
    await shop.hear()
    charges, invoices = money_of(shop, row)
    assert charges == invoices
    assert len(charges) == 2
    assert await shop.balance(payment.customer_id) == 50


@pytest.mark.parametrize("fault", [*FAULTS, "api_timeout", "api_500"])
async def test_an_end_whose_answer_was_lost_comes_about(shop: Subscribers, fault: str) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    async with failing(shop, "/v1/subscriptions", **{fault: 1.0}):
        if fault in FAULTS:
            assert (await request(shop, wanted_of(row, "cancel"))).cancel_at is not None
        else:
            with pytest.raises(errors.ProviderUnknown):
                await request(shop, wanted_of(row, "cancel"))
    async with shop.world.wiring.db.transaction() as conn:
        await conn.execute("update timers set due_at = now() where kind = 'subscription.change'")
    await shop.world.work()
    assert await value(shop.world, "select state from subscription_changes") == "done"
    assert (await shop.subscription(payment.customer_id)).cancel_at == row.period_end


async def test_a_failure_replayed_under_the_key_does_not_hold_up_a_customer_for_a_day(
    shop: Subscribers,
) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    change = wanted_of(row, "change", plan="pro", proration="always_invoice")
    with replaying(shop, "change_subscription") as provider:
        with pytest.raises(errors.ProviderUnknown):
            await request(shop, change)
        provider.fails = False
        # It works again, but what became of the first is open yet.
        with pytest.raises(errors.SubscriptionNotChangeable):
            await request(shop, change)
        await shop.advance(hours=1, step=timedelta(minutes=10))
        assert await value(shop.world, "select state from subscription_changes") == "refused"
        assert (await shop.subscription(payment.customer_id)).plan == "basic"
        assert money_of(shop, row) == ([1500], [1500])
        assert (await request(shop, change)).plan == "pro"
    await shop.hear()
    assert len(money_of(shop, row)[0]) == 2
    assert await shop.balance(payment.customer_id) == 50


async def test_a_declined_card_refuses_a_change_and_leaves_everything(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.use_card(payment.customer_id, "pm_card_chargeCustomerFail")
    await shop.advance(days=10)
    row = await shop.subscription(payment.customer_id)
    change = wanted_of(row, "change", plan="pro", proration="always_invoice")
    with pytest.raises(errors.ProviderRejected):
        await request(shop, change)
    await shop.hear()
    assert await value(shop.world, "select state from subscription_changes") == "refused"
    assert (await shop.subscription(payment.customer_id)).plan == "basic"
    assert await shop.balance(payment.customer_id) == 20
    await shop.use_card(payment.customer_id, "pm_card_visa")
    assert (await request(shop, change)).plan == "pro"


async def test_a_preview_or_a_portal_that_fails_changes_nothing(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    wiring, change = shop.world.wiring, wanted_of(row, "change", plan="pro")
    for fault in ("api_500", "api_timeout"):
        async with failing(shop, "/v1/invoices", "/v1/billing_portal", **{fault: 1.0}):
            there = shop.world.wiring
            with pytest.raises(errors.ProviderUnknown):
                await subscription_changes.preview(
                    there.db, there.providers, change, clock=there.clock
                )
            with pytest.raises(errors.ProviderUnknown):
                await open_portal(shop, row.customer_id)
    told = await subscription_changes.preview(
        wiring.db, wiring.providers, change, clock=wiring.clock
    )
    assert told.currency == "usd"
    assert (await open_portal(shop, row.customer_id)).startswith(shop.world.sandbox.base_url)
    assert await value(shop.world, "select count(*) from subscription_changes") == 0
    assert (await shop.subscription(row.customer_id)) == row


async def open_portal(shop: Subscribers, customer_id: int) -> str:
    wiring = shop.world.wiring
    there = "http://127.0.0.1:8000/account"
    return await portal.open(wiring.db, wiring.provider("stripe"), customer_id, return_url=there)


async def test_a_message_waits_for_a_provider_that_is_away(shop: Subscribers) -> None:
    payment = await shop.world.open_checkout("ada", plan="basic")
    await shop.world.pay(payment)
    told = [e for e in await untold(shop) if e["type"].startswith("customer.subscription")]
    usual = shop.world.wiring
    nowhere = Stripe(
        secret_key=SECRET_KEY,
        webhook_secrets=[WEBHOOK_SECRET],
        base=f"http://127.0.0.1:{free_port()}",
        live=False,
        retries=0,
    )
    await shop.world.deliver(told)
    shop.world.wiring = replace(usual, providers={"stripe": nowhere})
    await shop.world.work()
    assert await shop.subscriptions(payment.customer_id) == []
    waiting = "select count(*) from inbox_queue"
    assert await value(shop.world, waiting) == len(told)
    await nowhere.close()
    shop.world.wiring = usual
    async with usual.db.transaction() as conn:
        await conn.execute("update inbox_queue set due_at = now()")
    await shop.world.work()
    assert await value(shop.world, waiting) == 0
    assert (await shop.subscription(payment.customer_id)).status == "active"
    assert await shop.balance(payment.customer_id) == 20


async def test_dunning_that_fails_ends_the_subscription_later_and_once(shop: Subscribers) -> None:
    payment = await shop.subscribe("ada", "basic")
    customer = payment.customer_id
    await shop.use_card(customer, "pm_card_chargeCustomerFail")
    row = await shop.subscription(customer)
    with replaying(shop, "steer_subscription") as provider:
        await shop.advance(days=30)
        for _ in range(20):
            await shop.advance(hours=18)
            if await value(shop.world, "select count(*) from subscription_changes"):
                break
        assert provider.keys
        assert (await shop.subscription(customer)).status == "past_due"
        provider.fails = False
        await shop.advance(days=2, step=timedelta(hours=6))
        # Each try has a key of its own once the one before is known to have done nothing.
        assert (await shop.subscription(customer)).status == "canceled"
    assert await shop.balance(customer) == 0
    assert money_of(shop, row)[0] == [1500]
    assert await opened_cases(shop) == []
