"""Everything that is said of a payment and its dispute, in every order and twice: one end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from bursar.billing import catalog_file, catalog_push
from bursar.billing.payments import Payment
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from disputed import FRAUDULENT, bought, decide, events_of
from postgres import Postgres
from worlds import ROOT, World, settings_for, stripe_client

DISPUTE = (
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
)
DIGEST = """
select p.state, p.captured_minor, p.refunded_minor, p.disputed_minor, p.mismatch,
    (select jsonb_agg(jsonb_build_array(r.kind, r.amount_minor, r.state, r.status, r.inquiry))
        from reversals r) as reversals,
    (select jsonb_object_agg(l.type, l.amount) from (
        select type, sum(amount) as amount from ledger_postings
        where type not in ('hold', 'release') group by type) l) as moved,
    (select coalesce(sum(amount), 0) from ledger_postings
        where type in ('hold', 'release')) as held,
    (select count(*) from cases) as cases,
    (select count(*) from inbox_states where state <> 'done') as undone
from payments p
"""


class Told:
    """A database in which nothing was heard yet, and what there is to hear."""

    def __init__(self, database: str, payment: Payment, events: list[dict[str, Any]]) -> None:
        self.database, self.payment, self.events = database, payment, events


@pytest.fixture
def preparing(
    sandbox: Sandbox, postgres: Postgres, schema_template: str
) -> Callable[[str], Iterator[Told]]:
    """Makes a disputed payment that the bank decides by this evidence."""

    async def make(url: str, outcome: str) -> Told:
        async with opened(settings_for(sandbox, url)) as wiring:
            catalog = catalog_file.read(ROOT / "catalog.toml")
            provider = wiring.provider("stripe")
            await catalog_push.push(wiring.db, provider, catalog, clock=wiring.clock)
            world = World(wiring, sandbox, stripe_client(sandbox))
            payment = await bought(world, FRAUDULENT)
            await decide(world, payment, outcome)
            types = ("checkout.session.completed", *DISPUTE)
            told = [e for e in await events_of(world, payment) if e["type"] in types]
            return Told(urlsplit(url).path[1:], payment, told)

    def prepare(outcome: str) -> Iterator[Told]:
        with postgres.database(schema_template) as url:
            yield asyncio.run(make(url, outcome))

    return prepare


async def end_of(
    told: Told, sandbox: Sandbox, url: str, order: list[dict[str, Any]]
) -> tuple[Any, ...]:
    async with opened(settings_for(sandbox, url)) as wiring:
        world = World(wiring, sandbox, stripe_client(sandbox))
        for event in order:
            await world.deliver([event])
            await world.work()
            await world.assert_audit_clean()
        await world.deliver([{**event, "id": f"{event['id']}_again"} for event in order])
        await world.work()
        await world.assert_audit_clean()
        async with wiring.db.connection() as conn:
            row = await conn.fetchrow(DIGEST)
        assert row is not None
        return tuple(row.values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("outcome", "end_is"),
    [
        ("losing_evidence", (1000, {"refund": -1000, "purchase": 1000})),
        ("winning_evidence", (0, {"purchase": 1000})),
    ],
)
def test_every_order_of_a_disputes_events_ends_the_same(
    preparing: Callable[[str], Iterator[Told]],
    sandbox: Sandbox,
    postgres: Postgres,
    outcome: str,
    end_is: tuple[int, dict[str, int]],
) -> None:
    ends = set()
    for told in preparing(outcome):
        assert len(told.events) == 4
        for order in itertools.permutations(told.events):
            with postgres.database(told.database) as url:
                ends.add(asyncio.run(end_of(told, sandbox, url, list(order))))
    assert len(ends) == 1, ends
    [end] = ends
    assert (end[0], end[3], end[7]) == ("completed", end_is[0], 0)
    assert orjson.loads(end[6]) == end_is[1]
