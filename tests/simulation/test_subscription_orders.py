"""The events of a subscription's first two months, in any order and with repeats: one end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bursar.providers.stripe.translate import HANDLED
from bursar.wiring import opened
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from postgres import Postgres
from selling_world import selling
from subscribers import Event, Subscribers
from worlds import World, settings_for, stripe_client

SEEDS = 12
DIGEST = """
select
    (select jsonb_agg(jsonb_build_array(state, kind, captured_minor, refunded_minor, mismatch,
            payment_intent_id, completed_at) order by completed_at, captured_minor)
        from payments) as payments,
    (select jsonb_agg(jsonb_build_array(status, raw_status, plan, quantity, period_start,
            period_end, past_due_at, cancel_at) order by id) from subscriptions) as subscriptions,
    (select jsonb_agg(jsonb_build_array(invoice_id, status, reason, paid_minor, attempts, paid_at,
            payment_id is not null) order by invoice_id) from invoices) as invoices,
    (select jsonb_agg(jsonb_build_array(feature, starts_at, ends_at) order by feature)
        from entitlements) as features,
    (select jsonb_agg(jsonb_build_array(p.type, p.amount, c.kind, c.cause_id, c.purpose)
            order by c.cause_id, c.purpose)
        from ledger_postings p join ledger_causes c on c.posting_id = p.id) as postings,
    (select count(*) from cases) as cases,
    (select count(*) from inbox_states where state not in ('done', 'ignored')) as undone
"""


@dataclass(frozen=True)
class Told:
    """A database before any event came, what happened at the provider, and when it was then."""

    database: str
    customer_id: int
    events: list[Event]
    ahead: float


async def prepare(sandbox: Sandbox, url: str, folder: Path) -> Told:
    async with selling(sandbox, url, folder, CATALOG) as world:
        shop = Subscribers(world, way=lambda _events: [])
        await shop.begin()
        payment = await world.open_checkout("ada", plan="basic")
        await world.pay(payment, "tok_chargeDeclined")
        await world.pay(payment)
        base = sandbox.base_url
        step = int(timedelta(days=16).total_seconds())
        for _ in range(2):
            control_client.advance_clock(base, step)
        events = [e for e in await shop.events() if e["id"] not in shop.heard]
        handled = [e for e in events if e["type"] in HANDLED]
        return Told(
            urlsplit(url).path[1:], payment.customer_id, handled, control_client.ahead(base)
        )


@pytest.fixture
def told(
    sandbox: Sandbox, postgres: Postgres, schema_template: str, tmp_path: Path
) -> Iterator[Told]:
    """Declined, subscribed, renewed: Bursar has heard nothing of it."""
    control_client.reset(sandbox.base_url)
    with postgres.database(schema_template) as url:
        yield asyncio.run(prepare(sandbox, url, tmp_path))


async def end_state(
    told: Told, sandbox: Sandbox, url: str, batches: list[list[Event]]
) -> tuple[Any, ...]:
    """Deliver in batches, working off after each; what the database then says."""
    async with opened(settings_for(sandbox, url)) as wiring:
        world = World(wiring, sandbox, stripe_client(sandbox))
        shop = Subscribers(world)
        shop.clock.offset = timedelta(seconds=told.ahead)
        for batch in batches:
            await world.deliver(batch)
            await world.work()
        await world.assert_audit_clean()
        # Both months are paid for, and the first was heard of when nobody could use it any more.
        assert await world.balance(told.customer_id) == 20
        async with wiring.db.connection() as conn:
            row = await conn.fetchrow(DIGEST)
        assert row is not None
        return tuple(row.values())


def shuffled(events: list[Event], seed: int) -> list[list[Event]]:
    """All events in an order of the seed's, some twice, in one to as many batches as events."""
    chance = random.Random(seed)  # noqa: S311 - repeatable is the point
    order = [*events, *chance.sample(events, len(events) // 3)]
    chance.shuffle(order)
    cuts = sorted(chance.sample(range(1, len(order)), chance.choice((0, 1, 3, len(order) - 1))))
    return [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@pytest.mark.timeout(400)
def test_every_order_of_two_months_events_ends_the_same(
    told: Told, sandbox: Sandbox, postgres: Postgres
) -> None:
    kinds = {event["type"] for event in told.events}
    assert kinds >= {
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.paid",
        "payment_intent.succeeded",
        "charge.succeeded",
    }
    orders = [[told.events], [told.events[::-1]]]
    orders += [shuffled(told.events, seed) for seed in range(SEEDS)]
    ends = []
    for order in orders:
        with postgres.database(told.database) as url:
            ends.append(asyncio.run(end_state(told, sandbox, url, order)))
    for order, end in zip(orders, ends, strict=True):
        names = [[event["type"] for event in batch] for batch in order]
        assert end == ends[0], names
    assert ends[0][-2:] == (0, 0)
