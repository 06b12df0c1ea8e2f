"""Seeded simulation: purchases, refunds and uses while everything around them misbehaves.

Each seed is one plan, carried out twice: in peace, and with webhooks doubled, reordered, dropped
until a later try, or badly signed, and the provider answering 500, nothing, or 500 after it did
what was asked. Both must end alike, as a model in plain Python says, with a clean audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
import stripe

from bursar import errors
from bursar.billing import catalog_file, catalog_push, refunds
from bursar.billing.payments import Payment
from bursar.billing.refunds import Wanted
from bursar.entrypoints import worker
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from bursar.providers.stripe import Stripe
from bursar.wiring import Wiring, opened
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from postgres import Postgres
from worlds import ROOT, SECRET_KEY, WEBHOOK_SECRET, World, settings_for, stripe_client

SEEDS = 50
STEPS = 7
USERS = ("ada", "bob")
T = TypeVar("T")


@dataclass
class Model:
    """What should be: credits, debt, and what is left of each payment."""

    credits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))
    owed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))
    paid: list[dict[str, Any]] = field(default_factory=list)

    def buy(self, user: str, amount: int) -> None:
        debt = min(self.owed[user], amount)
        self.owed[user] -= debt
        self.credits[user] += amount - debt
        self.paid.append({"user": user, "amount": amount, "back": 0, "taken": 0})

    def use(self, user: str, amount: int) -> None:
        self.credits[user] -= amount

    def refund(self, index: int, amount: int) -> None:
        payment = self.paid[index]
        payment["back"] += amount
        # One credit costs a cent here, so the share needs no rounding.
        take = payment["back"] - payment["taken"]
        payment["taken"] += take
        user = payment["user"]
        there = min(self.credits[user], take)
        self.credits[user] -= there
        self.owed[user] += take - there


@dataclass(frozen=True)
class Step:
    """One thing that happens: kind, whose, how much, and to which payment."""

    kind: str
    user: str
    amount: int
    index: int = 0


def plan(seed: int) -> tuple[list[Step], Model]:
    """The steps of a seed, and the model's end. Every step is possible when it comes."""
    chance, model, steps = random.Random(seed), Model(), []  # noqa: S311
    while len(steps) < STEPS:
        user = chance.choice(USERS)
        kind = chance.choice(("buy", "buy", "use", "refund", "dashboard"))
        if kind == "buy":
            step = Step(kind, user, chance.randrange(500, 3000))
            model.buy(user, step.amount)
        elif kind == "use" and model.credits[user]:
            step = Step(kind, user, chance.randrange(1, model.credits[user] + 1))
            model.use(user, step.amount)
        elif kind in ("refund", "dashboard"):
            open_ended = [i for i, p in enumerate(model.paid) if p["back"] < p["amount"]]
            if not open_ended:
                continue
            index = chance.choice(open_ended)
            left = model.paid[index]["amount"] - model.paid[index]["back"]
            step = Step(kind, model.paid[index]["user"], chance.randrange(1, left + 1), index)
            model.refund(index, step.amount)
        else:
            continue
        steps.append(step)
    return steps, model


class Storm:
    """Delivers events as a bad network would; in peace, as they come."""

    def __init__(self, world: World, seed: int, *, peaceful: bool) -> None:
        self.world, self.peaceful = world, peaceful
        self.chance = random.Random(-seed)  # noqa: S311
        self.seen: set[str] = set()
        self.late: list[dict[str, Any]] = []

    async def news(self, *about: str) -> None:
        """Fetch what happened since, and let some of it arrive."""
        async with self.world.http() as http:
            events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
        fresh = [
            event
            for event in reversed(events)
            if event["id"] not in self.seen and any(word in str(event) for word in about)
        ]
        self.seen |= {event["id"] for event in fresh}
        await self.deliver(fresh)

    async def deliver(self, events: list[dict[str, Any]]) -> None:
        if self.peaceful:
            await self.world.deliver(events)
            await self.world.work()
            return
        batch = [*events, *self.late]
        self.late = [event for event in batch if self.chance.random() < 0.3]
        arriving = [event for event in batch if event not in self.late]
        arriving += [event for event in arriving if self.chance.random() < 0.4]
        self.chance.shuffle(arriving)
        for event in arriving:
            if self.chance.random() < 0.1:
                await self.forge(event)
            await self.world.deliver([event])
            if self.chance.random() < 0.5:
                await worker.work_once(self.world.wiring)
        await self.world.work()

    async def forge(self, event: dict[str, Any]) -> None:
        """The same event under a signature that is not the provider's."""
        with pytest.raises(errors.NotAuthentic):
            self.world.wiring.provider("stripe").verify(
                str(event).encode(), {"stripe-signature": "t=1,v1=" + "0" * 64}
            )

    async def clear_up(self) -> None:
        """All that was late arrives, timers fall due, until nothing more happens."""
        self.peaceful = True
        late, self.late = self.late, []
        await self.deliver(late)
        async with self.world.wiring.db.connection() as conn:
            await conn.execute("update timers set due_at = now(), lease_until = null")
            await conn.execute("update inbox_queue set due_at = now()")
        await self.world.work()


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do it again until the provider answers, as a client with an Idempotency-Key does."""
    for _ in range(60):
        try:
            return await act()
        except (errors.ProviderUnavailable, errors.ProviderUnknown):
            await asyncio.sleep(0)
    raise AssertionError("the provider never answered")


async def open_checkout(world: World, user: str, amount: int) -> Payment:
    """Open one checkout, resuming the same payment for as long as its outcome is open."""
    try:
        return await world.open_checkout(user, amount_minor=amount, currency="usd")
    except (errors.ProviderUnavailable, errors.ProviderUnknown):
        async with world.wiring.db.connection() as conn:
            reference = await conn.fetchval(
                "select reference::text from payments order by id desc limit 1"
            )
    return await insist(lambda: world.resume_checkout(user, reference))


async def carry_out(world: World, storm: Storm, steps: list[Step]) -> None:
    paid: list[Payment] = []
    for number, step in enumerate(steps):
        if step.kind == "buy":
            payment = await open_checkout(world, step.user, step.amount)
            await world.pay(payment)
            await storm.news(payment.reference)
            payment = await insist(partial(world.sync, payment))
            assert payment.status == "completed"
            paid.append(await world.payment(payment))
        elif step.kind == "use":
            await use(world, storm, step, number)
        else:
            await give_back(world, storm, paid[step.index], step)


async def use(world: World, storm: Storm, step: Step, number: int) -> None:
    user = await world.user(step.user)
    posting = Posting(
        customer_id=user.customer_id,
        unit="credit",
        type="usage",
        amount=-step.amount,
        cause=Cause("test", f"use {number}", "use"),
    )

    async def post(conn: Any) -> list[entries.Posted]:
        return await entries.post(conn, [posting], at=world.wiring.clock.now())

    first, again = await asyncio.gather(world.wiring.db.run(post), world.wiring.db.run(post))
    assert sorted([first[0].outcome, again[0].outcome]) == ["posted", "repeated"]


async def give_back(world: World, storm: Storm, payment: Payment, step: Step) -> None:
    intent = str(payment.payment_intent_id)
    if step.kind == "dashboard":
        refund = {"payment_intent": intent, "amount": step.amount}
        for _ in range(60):
            # Somebody at the provider's dashboard, who looks before they try again.
            listed = world.stripe.v1.refunds.list({"payment_intent": intent}).data
            known = sum(r.amount for r in listed)
            if known == await known_back(world, payment) + step.amount:
                break
            with contextlib.suppress(stripe.APIConnectionError, stripe.APIError):
                world.stripe.v1.refunds.create(refund)  # type: ignore[arg-type]
    else:
        wanted = Wanted(payment_id=payment.id, amount_minor=step.amount, requested_by="admin")
        await insist(lambda: ask(world, wanted))
    await storm.news(intent)
    # A person looks at the payment: its refunds are known, however late the webhooks are.
    provider = world.wiring.provider("stripe")
    facts = await insist(lambda: provider.list_refunds(intent))
    await world.settle(facts)


async def known_back(world: World, payment: Payment) -> int:
    found = await world.payment(payment)
    return found.refunded_minor + found.refund_pending_minor


async def ask(world: World, wanted: Wanted) -> refunds.Refund:
    """Ask for a refund once: an open one of the same amount is resumed, not asked for anew."""
    async with world.wiring.db.connection() as conn:
        open_one = await conn.fetchval(
            "select reference::text from reversals"
            " where payment_id = $1 and state = 'pending' and provider_ref is null",
            wanted.payment_id,
        )
    provider = world.wiring.provider("stripe")
    return await refunds.request(
        world.wiring.db, provider, wanted, clock=world.wiring.clock, resume=open_one
    )


async def end_of(world: World) -> dict[str, Any]:
    """What is comparable of two runs: balances, debts and payments; no ids and no times."""
    end: dict[str, Any] = {}
    async with world.wiring.db.connection() as conn:
        for name in USERS:
            user = await world.user(name)
            at = world.wiring.clock.now()
            found = await balances.balance(conn, user.customer_id, "credit", at=at)
            end[name] = (found.spendable, found.held, found.owed)
        rows = await conn.fetch(
            "select amount_minor, captured_minor, refunded_minor, state, mismatch"
            " from payments where state <> 'canceled' order by id"
        )
        end["payments"] = [tuple(row.values()) for row in rows]
        end["cases"] = await conn.fetchval("select count(*) from cases")
        bad = await conn.fetchval(
            "select count(*) from inbox_states where state in ('failed', 'dead', 'quarantined')"
        )
        end["unhandled"] = bad
    return end


def impatient(wiring: Wiring, sandbox: Sandbox) -> Wiring:
    """The same wiring with an adapter that leaves repeating to us."""
    provider = Stripe(
        secret_key=SECRET_KEY,
        webhook_secrets=[WEBHOOK_SECRET],
        base=sandbox.base_url,
        live=False,
        retries=0,
    )
    return replace(wiring, providers={"stripe": provider})


async def run(sandbox: Sandbox, url: str, seed: int, *, peaceful: bool) -> dict[str, Any]:
    steps, _ = plan(seed)
    async with opened(settings_for(sandbox, url)) as wiring:
        world = World(impatient(wiring, sandbox), sandbox, stripe_client(sandbox))
        storm = Storm(world, seed, peaceful=peaceful)
        if not peaceful:
            control_client.set_faults(
                sandbox.base_url,
                seed=seed,
                api_500=0.1,
                api_500_after=0.1,
                api_timeout=0.05,
                api_timeout_after=0.05,
                timeout_seconds=0.02,
                routes=["/v1/checkout/sessions", "/v1/refunds", "/v1/customers"],
            )
        try:
            await carry_out(world, storm, steps)
        finally:
            control_client.clear_faults(sandbox.base_url)
        await storm.clear_up()
        await world.assert_audit_clean()
        end = await end_of(world)
        await world.wiring.providers["stripe"].close()
        return end


@pytest.fixture
def shelf(sandbox: Sandbox, postgres: Postgres, schema_template: str) -> Iterator[str]:
    """The name of a database with the catalogue in it."""

    async def push(url: str) -> None:
        async with opened(settings_for(sandbox, url)) as wiring:
            wanted = catalog_file.read(ROOT / "catalog.toml")
            provider = wiring.provider("stripe")
            await catalog_push.push(wiring.db, provider, wanted, clock=wiring.clock)

    with postgres.database(schema_template) as url:
        asyncio.run(push(url))
        yield urlsplit(url).path[1:]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("half", range(5))
def test_whatever_goes_wrong_the_end_is_the_models(
    sandbox: Sandbox, postgres: Postgres, shelf: str, half: int
) -> None:
    for seed in range(1 + half, 1 + SEEDS, 5):
        _, model = plan(seed)
        ends = []
        for peaceful in (True, False):
            with postgres.database(shelf) as url:
                ends.append(asyncio.run(run(sandbox, url, seed, peaceful=peaceful)))
        assert ends[0] == ends[1], f"seed {seed}"
        for name in USERS:
            wanted = (model.credits[name], 0, model.owed[name])
            assert ends[1][name] == wanted, f"seed {seed}, {name}"
        assert ends[1]["unhandled"] == 0, f"seed {seed}"
