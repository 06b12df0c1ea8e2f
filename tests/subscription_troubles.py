"""A provider that is late, away or failing, for tests of subscriptions; and what is seen then.

All of it is the real adapter on the real sandbox: answers are held back, calls are not let through.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from bursar import errors
from bursar.billing import cases
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints import worker
from bursar.providers.port import CheckoutOrder, OpenedCheckout, Provider
from bursar.providers.recurring import SubscriptionFact
from bursar.providers.stripe import Stripe
from bursar.providers.stripe.translate import HANDLED
from bursar.wiring import Wiring
from bursar_sandbox import control_client
from subscribers import Subscribers
from worlds import SECRET_KEY, WEBHOOK_SECRET, World


class Between:
    """The real provider, with something of the test's own around single calls."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)


class Late(Between):
    """Its answers about subscriptions are held back for a while, so that they overtake others."""

    def __init__(self, provider: Provider, seed: int) -> None:
        super().__init__(provider)
        self.chance = random.Random(seed)  # noqa: S311 - repeatable is the point

    async def fetch_subscription(self, **asked: Any) -> SubscriptionFact | None:
        found = await self._provider.fetch_subscription(**asked)
        await asyncio.sleep(self.chance.random() / 5)
        return found


class Held(Between):
    """Its first answer about a subscription waits until it is let go."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.asked, self.release = asyncio.Event(), asyncio.Event()

    async def fetch_subscription(self, **asked: Any) -> SubscriptionFact | None:
        found = await self._provider.fetch_subscription(**asked)
        if not self.asked.is_set():
            self.asked.set()
            await self.release.wait()
        return found


class Slow(Between):
    """It opens a session when it is let go."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.asked, self.release = asyncio.Event(), asyncio.Event()

    async def create_checkout(self, order: CheckoutOrder) -> OpenedCheckout:
        self.asked.set()
        await self.release.wait()
        return await self._provider.create_checkout(order)


def through(wiring: Wiring, provider: Between, **settings: Any) -> Wiring:
    """The same deployment, speaking to its provider through another hand."""
    changed = wiring.settings.model_copy(update=settings)
    return replace(wiring, settings=changed, providers={"stripe": provider})


@contextmanager
def slow(shop: Subscribers, seed: int) -> Iterator[None]:
    """While the block runs, the provider's answers come in any order."""
    usual = shop.world.wiring
    shop.world.wiring = through(usual, Late(usual.provider("stripe"), seed))
    try:
        yield
    finally:
        shop.world.wiring = usual


async def work_in_parallel(shop: Subscribers, workers: int = 5) -> None:
    """Several workers, until none finds anything."""
    while any(await asyncio.gather(*(worker.work_once(shop.world.wiring) for _ in range(workers)))):
        pass


async def opened_cases(shop: Subscribers) -> list[str]:
    """The kinds of the cases that wait for a person."""
    async with shop.world.wiring.db.connection() as conn:
        found = await cases.list_cases(conn, state="open", before=None, limit=100)
    return [case.kind for case in found]


async def troubles(shop: Subscribers) -> list[tuple[Any, ...]]:
    """What could not be worked off."""
    async with shop.world.wiring.db.connection() as conn:
        found = await conn.fetch(
            "select state, reason from inbox_states where state not in ('done', 'ignored')"
            " union all select kind, last_error from timers where last_error is not null"
        )
    return [tuple(row) for row in found]


def theirs(shop: Subscribers, row: Subscription) -> str:
    """The provider's name of a subscription's customer."""
    found = shop.world.stripe.v1.subscriptions.retrieve(row.subscription_id)
    return str(found.customer)


def charges_of(shop: Subscribers, customer: str) -> list[int]:
    """What the provider took from a customer, in minor units."""
    found = shop.world.stripe.v1.charges.list({"customer": customer, "limit": 100}).data
    return sorted(charge.amount for charge in found if charge.paid)


def invoices_of(shop: Subscribers, row: Subscription) -> list[int]:
    listed = shop.world.stripe.v1.invoices.list({"subscription": row.subscription_id, "limit": 100})
    return sorted(invoice.amount_paid for invoice in listed.data)


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


class Failing(Between):
    """One call of it fails without having done anything."""

    def __init__(self, provider: Provider, call: str) -> None:
        super().__init__(provider)
        self._call = call
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
    shop.world.wiring = replace(usual, providers={"stripe": failing})
    try:
        yield failing
    finally:
        shop.world.wiring = usual


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


async def value(world: World, query: str) -> Any:
    async with world.wiring.db.connection() as conn:
        return await conn.fetchval(query)


async def untold(shop: Subscribers) -> list[dict[str, Any]]:
    """The events that nobody has told us of yet."""
    found = await shop.events()
    return [e for e in found if e["id"] not in shop.heard and e["type"] in HANDLED]
