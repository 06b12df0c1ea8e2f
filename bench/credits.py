"""P3 and P4, the yardstick: one use of credits a transaction, by the ledger's own function.

Owns the call and the check that every use was booked. It has no path over HTTP yet.
"""

from __future__ import annotations

from functools import partial

from bench import pgbench, samples
from bench.database import GRANT, UNIT, Bench
from bench.samples import Measure, Plan, Sample, Trial, Wrong

CLIENTS = (32, 8, 1)
UNIFORM, HOT = "pgbench, 10,000 customers", "pgbench, one hot customer"

# An answer other than `posted` divides by zero: a refused use is cheaper than one that is booked.
USE = """
\\set customer random(:first, :last)
\\set number random(1, 9223372036854775807)
select 1 / (outcome = 'posted')::int from ledger_post(
    now(), array[cast(:customer as bigint)], array[:unit], array['usage'], array[-1::bigint],
    array['purchased'], array[''], array[null::timestamptz], array['use'],
    array[lpad(to_hex(cast(:number as bigint)), 32, '0')], array['use'], array[null::bytea],
    array[null::bigint], array[null::text])
"""

USES = "select count(*) from ledger_postings where type = 'usage'"
SPENT = """
select count(*) * $1 - sum(balance)::bigint from ledger_accounts
where pool = 'purchased' and unit = $2
"""


def measure(bench: Bench, plan: Plan) -> Measure:
    """Alternate many customers and a hot one, round by round. Raises Wrong or pgbench.Failed."""
    customers = bench.fill_ledger()
    found: list[Sample] = []
    for trial in plan.trials((UNIFORM, HOT), CLIENTS):
        found += samples.repeated(plan, trial, partial(_sample, bench, plan, trial, customers))
    total = sum(s.count for s in found)
    _check_books(bench, total)
    return Measure(
        key="p3",
        title="P3, P4 credits used: yardstick only, no product path yet",
        yardstick=UNIFORM,
        samples=found,
        notes=(
            f"{total:,} uses were booked, and the balances fell by exactly as many credits.",
            "The ratio compares the hot customer with many; the product is not in it yet.",
        ),
    )


def _sample(
    bench: Bench, plan: Plan, trial: Trial, customers: tuple[int, int], seed: int
) -> Sample:
    first, last = customers
    bench.settle()
    variables: dict[str, str | int] = {
        "unit": UNIT,
        "first": first,
        "last": last if trial.arm == UNIFORM else first,
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
