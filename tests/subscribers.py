"""A shop that sells plans: people subscribe at the sandbox, its clock runs, its events arrive.

Built on `worlds.World`. Business time follows the sandbox's clock; nothing is sent by itself: the
test decides which events arrive, when and how often, and everything else is found by asking.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bursar.billing import entitlements, subscription_changes
from bursar.billing.payments import Payment
from bursar.billing.rules import USUAL, Rules
from bursar.billing.subscription_changes import Wanted
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Invoice, Subscription
from bursar.clock import ShiftedClock
from bursar.ledger import balances
from bursar.providers.stripe.translate import HANDLED
from bursar_sandbox import control_client
from worlds import World

Event = dict[str, Any]
Way = Callable[[Sequence[Event]], Sequence[Event]]


def as_told(events: Sequence[Event]) -> Sequence[Event]:
    """Every event once, in its order."""
    return events


@dataclass
class Subscribers:
    """A world with what people do about subscriptions. `way` says which events arrive, and how."""

    world: World
    way: Way = as_told
    heard: set[str] = field(default_factory=set)

    @property
    def clock(self) -> ShiftedClock:
        clock = self.world.wiring.clock
        assert isinstance(clock, ShiftedClock)
        return clock

    async def begin(self) -> None:
        """What the sandbox said before is not for us."""
        self.heard |= {event["id"] for event in await self.events()}

    async def subscribe(
        self, user_id: str, plan: str, *, card: str | None = "tok_visa", **wanted: Any
    ) -> Payment:
        """Open a checkout for a plan, pay it, and hear of it."""
        payment = await self.world.open_checkout(user_id, plan=plan, **wanted)
        if card is not None:
            await self.world.pay(payment, card)
        await self.hear()
        return await self.world.payment(payment)

    async def advance(self, *, step: timedelta = timedelta(days=1), **by: float) -> None:
        """Let time pass in steps, hearing what happens in each."""
        left = timedelta(**by)
        while left > timedelta():
            here = min(step, left)
            left -= here
            base = self.world.sandbox.base_url
            control_client.advance_clock(base, int(here.total_seconds()))
            self.clock.offset = timedelta(seconds=control_client.ahead(base))
            await self.hear()

    async def hear(self) -> None:
        """Have the events arrive that the sandbox has made since, and work them off."""
        new = [event for event in await self.events() if event["id"] not in self.heard]
        self.heard |= {event["id"] for event in new}
        await self.world.deliver(self.way([event for event in new if event["type"] in HANDLED]))
        await self.world.work()

    async def events(self) -> list[Event]:
        """All events of the sandbox, oldest first."""
        found: list[Event] = []
        async with self.world.http() as http:
            params: dict[str, Any] = {"limit": 100}
            while True:
                page = (await http.get("/v1/events", params=params)).json()
                found += page["data"]
                if not page["has_more"] or page["data"][-1]["id"] in self.heard:
                    return found[::-1]
                params["starting_after"] = page["data"][-1]["id"]

    async def subscriptions(self, customer_id: int) -> list[Subscription]:
        async with self.world.wiring.db.connection() as conn:
            found = await rows.list_for(conn, customer_id, limit=100)
        return found[::-1]

    async def subscription(self, customer_id: int) -> Subscription:
        [found] = await self.subscriptions(customer_id)
        return found

    async def invoices(self, customer_id: int) -> list[Invoice]:
        """Oldest first."""
        async with self.world.wiring.db.connection() as conn:
            found = await rows.latest_invoices(conn, customer_id, None, limit=100)
        return found[::-1]

    async def change(
        self, row: Subscription, kind: subscription_changes.Kind = "change", **wanted: Any
    ) -> Subscription:
        """What the API does for somebody who asks."""
        wiring = self.world.wiring
        asked = Wanted(
            customer_id=row.customer_id,
            subscription_id=row.id,
            kind=kind,
            requested_by="test",
            **wanted,
        )
        found = await subscription_changes.request(
            wiring.db, wiring.providers, asked, clock=wiring.clock
        )
        await self.hear()
        return found

    async def balance(self, customer_id: int, unit: str = "page") -> int:
        return await self.world.balance(customer_id, unit)

    async def pools(self, customer_id: int, unit: str = "page") -> dict[str, int]:
        """Spendable credits by pool, with what is held and owed."""
        async with self.world.wiring.db.connection() as conn:
            at = self.world.wiring.clock.now()
            found = await balances.balance(conn, customer_id, unit, at=at)
        return {**found.pools, "held": found.held, "owed": found.owed}

    async def features(self, customer_id: int) -> set[str]:
        async with self.world.wiring.db.connection() as conn:
            at = self.world.wiring.clock.now()
            found = await entitlements.list_for(conn, customer_id, at=at)
        return {one.feature for one in found if one.allowed or one.limit is None}

    async def use_card(self, customer_id: int, method: str) -> None:
        """Have another card charged from now on, by the provider's own test method."""
        row = (await self.subscriptions(customer_id))[-1]
        theirs = self.world.stripe.v1.subscriptions.retrieve(row.subscription_id)
        customer = str(theirs.customer)
        attached = self.world.stripe.v1.payment_methods.attach(method, {"customer": customer})
        update: Any = {"default_payment_method": attached.id}
        self.world.stripe.v1.customers.update(customer, {"invoice_settings": update})
        self.world.stripe.v1.subscriptions.update(row.subscription_id, update)

    def following(self, rules: Rules = USUAL) -> Awaitable[None]:
        """Everything that is due, once more."""
        return self.world.work()
