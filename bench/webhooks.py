"""P1: webhooks acknowledged after their commit, beside the same rows inserted by pgbench.

Owns the yardstick's statements and the check that nothing acknowledged is missing.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial

from bench import generator, pgbench, product, samples
from bench.database import INBOX, MESSAGES, Bench
from bench.events import EVENT_TYPE, EventMaker
from bench.generator import Order, Outcome
from bench.product import WEBHOOK_SECRET, Product
from bench.samples import Measure, Plan, Sample, Trial, Wrong
from bursar.messages import inbox

CLIENTS = (32, 64, 1)

ROW, STATEMENT, PRODUCT = "pgbench, one row", "pgbench, product's statement", "bursar serve"
GOALS = {(PRODUCT, 32): "0.65; 0.8", (PRODUCT, 64): "0.6; 1.0", (PRODUCT, 1): "0.35; 0.45"}

NUMBER = "\\set number random(1, 9223372036854775807)\n"
EVENT_KEY = "'evt_' || lpad(to_hex(cast(:number as bigint)), 24, '0')"

# What one event must leave behind, in the plainest statement: a key, its message, its state and
# its place in the queue. Nothing for batches, nothing for the network but this.
ROW_SCRIPT = f"""{NUMBER}
with fresh as (
    insert into inbox_keys (provider, account, mode, event_key, message_id)
    values (:provider, '', 'test', {EVENT_KEY}, nextval('inbox_messages_id_seq'))
    on conflict do nothing
    returning *
), stored as (
    insert into inbox_messages (id, provider, event_key, type, payload, headers, received_at)
    select message_id, provider, event_key, :type, cast(:payload as bytea),
        cast(:headers as jsonb), now()
    from fresh
), states as (
    insert into inbox_states (message_id, state) select message_id, 'received' from fresh
), queued as (
    insert into inbox_queue (message_id, due_at) select message_id, now() from fresh
)
select count(*) from fresh
"""


def statement_script() -> str:
    """Return the product's own statement as pgbench sends it, with arrays of one."""
    values = (
        *("array[:provider]", "array['']", "array['test']", f"array[{EVENT_KEY}]"),
        *("array[:type]", "array[:payload]", "array[:headers]", "now()"),
    )
    text = re.sub(r"\$(\d)", lambda found: values[int(found[1]) - 1], inbox.RECEIVE)
    return NUMBER + " ".join(text.split())


def measure(bench: Bench, plan: Plan) -> Measure:
    """Alternate the arms, round by round. Raises Wrong, pgbench.Failed or product.NotServing."""
    found: list[Sample] = []
    with product.serving(bench) as served:
        for trial in plan.trials((ROW, STATEMENT, PRODUCT), CLIENTS):
            found += samples.repeated(plan, trial, partial(_sample, bench, served, plan, trial))
    acknowledged = sum(s.count for s in found if s.trial.arm == PRODUCT)
    return Measure(
        key="p1",
        title="P1 webhooks acknowledged after commit",
        yardstick=ROW,
        samples=found,
        goals=GOALS,
        notes=(
            f"{acknowledged:,} events were acknowledged by the product, and as many were stored, "
            "each with key, message, state and queue row.",
        ),
    )


def _sample(bench: Bench, served: Product, plan: Plan, trial: Trial, seed: int) -> Sample:
    clients = trial.clients
    bench.refill_inbox()
    if trial.arm == PRODUCT:
        outcome, load = samples.watched(
            lambda: _send(served, plan, clients, seed),
            {"server": served.pid, "database": bench.pid},
            lambda outcome: outcome.acknowledged,
        )
        rate, count = outcome.counted / outcome.seconds, outcome.acknowledged
    else:
        script = ROW_SCRIPT if trial.arm == ROW else statement_script()
        warmed = _insert(bench, script, clients, plan.warm, seed)
        run, load = samples.watched(
            lambda: _insert(bench, script, clients, plan.seconds, seed + 1),
            {"database": bench.pid},
            lambda run: run.transactions,
        )
        rate, count = run.per_second, warmed.transactions + run.transactions
    _check_stored(bench, count)
    return Sample(trial=trial, per_second=rate, count=count, seed=seed, load=load)


def _insert(bench: Bench, script: str, clients: int, seconds: int, seed: int) -> pgbench.Run:
    maker = EventMaker(seed, WEBHOOK_SECRET)
    body = maker.body()
    signature = maker.sign(body, int(time.time()))
    headers = {"content-type": "application/json; charset=utf-8", "stripe-signature": signature}
    return pgbench.run(
        bench.url,
        script,
        clients=clients,
        seconds=seconds,
        seed=seed,
        variables={
            "provider": "stripe",
            "type": EVENT_TYPE,
            # Text without backslashes is a bytea as it stands.
            "payload": body.decode(),
            "headers": json.dumps(headers),
        },
    )


def _send(served: Product, plan: Plan, clients: int, seed: int) -> Outcome:
    """Send signed events. Raises Wrong unless each was acknowledged."""
    return generator.send(
        Order(
            port=served.port,
            clients=clients,
            warm=plan.warm,
            seconds=plan.seconds,
            seed=seed,
            secret=WEBHOOK_SECRET,
        )
    )


def _check_stored(bench: Bench, count: int) -> None:
    """Raise Wrong unless each table of the inbox has gained exactly `count` rows."""
    for table in INBOX:
        gained = bench.ask(f"select count(*) from {table}") - MESSAGES
        if gained != count:
            raise Wrong(f"{count} events were acknowledged, and {table} gained {gained} rows")
