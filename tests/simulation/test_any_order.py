"""Session, intent and charge events of one payment, in every order and with repeats: one end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.billing import catalog_file, catalog_push
from bursar.billing.payments import Payment
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from postgres import Postgres
from worlds import ROOT, World, settings_for, stripe_client

TOLD = ("checkout.session.completed", "payment_intent.succeeded", "charge.succeeded")
DIGEST = """
select p.state, p.captured_minor, p.facts, p.mismatch, p.session_id, p.payment_intent_id,
    p.completed_at,
    (select jsonb_agg(jsonb_build_array(l.type, l.amount, l.balance_after) order by l.id)
        from ledger_postings l) as postings,
    (select count(*) from cases) as cases,
    (select count(*) from inbox_states where state <> 'done') as undone
from payments p
"""


@dataclass(frozen=True)
class Paid:
    """A database as it stood before any event came, and the events of the payment in it."""

    database: str
    payment: Payment
    events: dict[str, dict[str, Any]]
    declined: dict[str, Any]


@pytest.fixture
def paid(sandbox: Sandbox, postgres: Postgres, schema_template: str) -> Iterator[Paid]:
    """A payment that was declined first and then paid, of which Bursar has heard nothing."""

    async def prepare(url: str) -> Paid:
        async with opened(settings_for(sandbox, url)) as wiring:
            catalog = catalog_file.read(ROOT / "catalog.toml")
            await catalog_push.push(
                wiring.db, wiring.provider("stripe"), catalog, clock=wiring.clock
            )
            world = World(wiring, sandbox, stripe_client(sandbox))
            payment = await world.open_checkout()
            await world.pay(payment, "tok_chargeDeclined")
            await world.pay(payment)
            events = {event["type"]: event for event in await world.events_about(payment)}
            declined = events["payment_intent.payment_failed"]
            told = {kind: events[kind] for kind in TOLD}
            return Paid(urlsplit(url).path[1:], payment, told, declined)

    with postgres.database(schema_template) as url:
        yield asyncio.run(prepare(url))


async def end_state(
    paid: Paid, sandbox: Sandbox, url: str, batches: list[list[dict[str, Any]]]
) -> tuple[Any, ...]:
    """Deliver in batches, working off after each; what the database then says."""
    async with opened(settings_for(sandbox, url)) as wiring:
        world = World(wiring, sandbox, stripe_client(sandbox))
        for batch in batches:
            await world.deliver(batch)
            await world.work()
        await world.assert_audit_clean()
        assert await world.balance(paid.payment.customer_id) == 5
        async with wiring.db.connection() as conn:
            row = await conn.fetchrow(DIGEST)
        assert row is not None
        return tuple(row.values())


def test_every_order_of_the_three_events_ends_the_same(
    paid: Paid, sandbox: Sandbox, postgres: Postgres
) -> None:
    ends = set()
    for order in itertools.permutations(TOLD):
        with postgres.database(paid.database) as url:
            batches = [[paid.events[kind]] for kind in order]
            ends.add(asyncio.run(end_state(paid, sandbox, url, batches)))
    assert len(ends) == 1
    assert next(iter(ends))[0] == "completed"


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.lists(st.sampled_from(TOLD), min_size=1, max_size=6),
    places=st.tuples(st.integers(0, 6), st.integers(0, 6)),
)
def test_any_order_with_repeats_and_a_stray_decline_ends_the_same(
    paid: Paid, sandbox: Sandbox, postgres: Postgres, order: list[str], places: tuple[int, int]
) -> None:
    cut, late_decline = places
    events = [paid.events[kind] for kind in [*order, *TOLD]]
    events.insert(min(late_decline, len(events)), paid.declined)
    with postgres.database(paid.database) as url:
        batches = [events[:cut], events[cut:]]
        end = asyncio.run(end_state(paid, sandbox, url, batches))
    assert (end[0], end[1]) == ("completed", 500)
    assert orjson.loads(end[7]) == [["purchase", 5, 5]]
