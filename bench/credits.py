"""P3 and P4: credits used over HTTP, beside the ledger's own function called once a transaction.

Owns the yardstick's call and the check that every use was booked, once.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial

from bench import generator, pgbench, product, samples
from bench.database import CUSTOMERS, GRANT, UNIT, Bench
from bench.generator import Order
from bench.product import Product
from bench.samples import Measure, Plan, Sample, Trial, Wrong
from bursar.access import keys
from bursar.db import open_pool

CLIENTS = (32, 8, 1)
UNIFORM, HOT = "pgbench, 10,000 customers", "pgbench, one hot customer"
PRODUCT, PRODUCT_HOT = "bursar serve, 10,000 customers", "bursar serve, one hot customer"
GOALS = {
    (PRODUCT, 32): "0.6; 1.0",
    (PRODUCT, 8): "0.4; 0.6",
    (PRODUCT, 1): "0.4; 0.6",
    (PRODUCT_HOT, 32): "3; 5",
}

# An answer other than `posted` divides by zero: a refused use is cheaper than one that is booked.
USE = """
\\set customer random(:first, :last)
\\set number random(1, 9223372036854775807)
select 1 / (outcome = 'posted')::int from ledger_post(
    now(), false, array[cast(:customer as bigint)], array[:unit], array['usage'], array[-1::bigint],
    array['purchased'], array[''], array[null::timestamptz], array['use'],
    array[lpad(to_hex(cast(:number as bigint)), 32, '0')], array['use'], array[null::bytea],
    array[null::bigint], array[null::text])
"""

USES = "select count(*) from ledger_postings where type = 'usage'"
SPENT = """
select count(*) * $1 - sum(balance)::bigint from ledger_accounts
where pool = 'purchased' and unit = $2
"""
FILLED = "select min(id) from customers where user_id like 'bench-%'"
SELL = """
insert into catalog_units (unit, name) values ($1, 'Credits')
on conflict (unit) do update set name = excluded.name returning unit
"""


def measure(bench: Bench, plan: Plan) -> Measure:
    """P3: uses of 10,000 customers. Raises Wrong, pgbench.Failed or product.NotServing."""
    return _measure(bench, plan, "p3", "P3 credits used, many customers", (UNIFORM, PRODUCT))


def measure_hot(bench: Bench, plan: Plan) -> Measure:
    """P4: uses of one customer. Raises Wrong, pgbench.Failed or product.NotServing."""
    return _measure(bench, plan, "p4", "P4 credits used, one hot customer", (HOT, PRODUCT_HOT))


def _measure(bench: Bench, plan: Plan, key: str, title: str, arms: tuple[str, str]) -> Measure:
    """Alternate the arms, round by round; the first is the limit."""
    first = bench.ask(FILLED) or bench.fill_ledger()[0]
    secret = asyncio.run(_sell(bench))
    before = bench.ask(USES)
    found: list[Sample] = []
    with product.serving(bench) as served:
        for trial in plan.trials(arms, CLIENTS):
            take = partial(_sample, bench, plan, trial, first, served=served, secret=secret)
            found += samples.repeated(plan, trial, take)
    total = sum(s.count for s in found)
    _check_books(bench, before + total)
    return Measure(
        key=key,
        title=title,
        yardstick=arms[0],
        samples=found,
        goals=GOALS,
        notes=(f"{total:,} uses were booked, and the balances fell by exactly as many credits.",),
    )


async def _sell(bench: Bench) -> str:
    """Put the unit into the catalogue, and make a service's key."""
    async with await open_pool(bench.url) as db, db.transaction() as conn:
        await conn.execute(SELL, UNIT)
        _, secret = await keys.create(conn, "service", at=datetime.now(UTC))
    return secret


def _sample(
    bench: Bench, plan: Plan, trial: Trial, first: int, seed: int, *, served: Product, secret: str
) -> Sample:
    bench.settle()
    if trial.arm in (UNIFORM, HOT):
        return _call(bench, plan, trial, first, seed)
    order = Order(
        port=served.port,
        clients=trial.clients,
        warm=plan.warm,
        seconds=plan.seconds,
        seed=seed,
        secret=secret,
        users=CUSTOMERS if trial.arm == PRODUCT else 1,
    )
    outcome, load = samples.watched(
        lambda: generator.send(order),
        {"server": served.pid, "database": bench.pid},
        lambda outcome: outcome.acknowledged,
    )
    rate = outcome.counted / outcome.seconds
    return Sample(trial=trial, per_second=rate, count=outcome.acknowledged, seed=seed, load=load)


def _call(bench: Bench, plan: Plan, trial: Trial, first: int, seed: int) -> Sample:
    variables: dict[str, str | int] = {
        "unit": UNIT,
        "first": first,
        "last": first + CUSTOMERS - 1 if trial.arm == UNIFORM else first,
    }

    def use(seconds: int, seed: int) -> pgbench.Run:
        return pgbench.run(
            bench.url,
            USE,
            clients=trial.clients,
            seconds=seconds,
            seed=seed,
            variables=variables,
        )

    warmed = use(plan.warm, seed)
    run, load = samples.watched(
        lambda: use(plan.seconds, seed + 1), {"database": bench.pid}, lambda run: run.transactions
    )
    count = warmed.transactions + run.transactions
    return Sample(trial=trial, per_second=run.per_second, count=count, seed=seed, load=load)


def _check_books(bench: Bench, uses: int) -> None:
    """Raise Wrong unless postings and balances both tell of `uses` uses of one credit."""
    booked, spent = bench.ask(USES), bench.ask(SPENT, GRANT, UNIT)
    if booked != uses or spent != uses:
        raise Wrong(f"{uses} uses were committed, {booked} are booked, {spent} credits are gone")
