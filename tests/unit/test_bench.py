"""The benchmarks' sums, the load's events, and what is read from pgbench and from answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from bench import machine, pgbench, webhooks
from bench.events import EVENT_TYPE, EventMaker
from bench.figures import Spread, ratios, spread
from bench.generator import Order, parse_answer
from bench.generator import run as generate
from bench.samples import Load, Measure, Plan, Sample, Trial, lines, repeated

from bursar import errors
from bursar.providers.stripe import signature

SECRET = "whsec_of_this_test"
NOW = 1_760_000_000
SUMMARY = """
number of transactions actually processed: 41203
number of failed transactions: {failed} (0.000%)
tps = 8229.500000 (without initial connection time)
"""


def sample(arm: str, number: int, rate: float, *, others: float = 0.0) -> Sample:
    load = Load({"database": rate}, others)
    return Sample(trial=Trial(arm, 32, number), per_second=rate, count=1, seed=1, load=load)


def test_spread_has_the_middle_and_both_ends() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)
    assert Spread(0.662, 0.6, 0.7).text() == "0.66 (0.60–0.70)"
    with pytest.raises(ValueError, match="nothing"):
        spread([])


def test_ratios_divide_round_by_round() -> None:
    assert ratios([1.0, 3.0], [2.0, 4.0]) == [0.5, 0.75]
    with pytest.raises(ValueError, match="rounds"):
        ratios([1.0], [2.0, 4.0])
    with pytest.raises(ValueError, match="zero"):
        ratios([1.0], [0.0])


def test_ratio_is_the_median_of_rounds_and_not_of_rates() -> None:
    rates = {1: (10.0, 5.0), 2: (100.0, 20.0), 3: (20.0, 18.0)}
    samples = [sample("limit", n, limit) for n, (limit, _) in rates.items()]
    samples += [sample("ours", n, ours) for n, (_, ours) in rates.items()]
    goals = {("ours", 32): "0.6"}
    measure = Measure(key="x", title="x", yardstick="limit", samples=samples, goals=goals)
    yardstick, ours = lines(measure)
    assert yardstick.ratio is None
    assert ours.ratio == Spread(0.5, 0.2, 0.9)
    assert ours.per_second == Spread(18.0, 5.0, 20.0)
    assert ours.goal == "0.6"


def test_of_several_tries_the_quietest_counts_and_not_the_fastest() -> None:
    samples = [
        sample("limit", 1, 90.0, others=0.5),
        sample("limit", 1, 50.0, others=0.1),
        sample("limit", 1, 70.0, others=0.3),
    ]
    [line] = lines(Measure(key="x", title="x", yardstick="limit", samples=samples))
    assert line.per_second == Spread(50.0, 50.0, 50.0)
    assert line.microseconds == {"database": 50.0}
    assert line.others == 0.1


def test_a_disturbed_arm_is_measured_again_until_it_was_left_in_peace() -> None:
    plan = Plan(rounds=1, seconds=1, warm=1, seed=1, tries=3)
    loads, seeds = iter([0.9, 0.05, 0.0]), []

    def take(seed: int) -> Sample:
        seeds.append(seed)
        return sample("ours", 1, 1.0, others=next(loads))

    taken = list(repeated(plan, Trial("ours", 32, 1), take))
    assert [s.load.others for s in taken] == [0.9, 0.05]
    # With the same seed it would ask for the same things again, and get answers to repeats.
    assert len(set(seeds)) == 2
    taken = list(repeated(plan, Trial("ours", 32, 1), lambda _: sample("ours", 1, 1.0, others=9)))
    assert len(taken) == 3


def test_every_second_round_goes_backwards_with_seeds_of_its_own() -> None:
    plan = Plan(rounds=2, seconds=1, warm=1, seed=7, clients=(8,))
    trials = list(plan.trials(["a", "b"], usual=[32, 1]))
    assert trials == [Trial("a", 8, 1), Trial("b", 8, 1), Trial("b", 8, 2), Trial("a", 8, 2)]
    seeds = [plan.seed_for(trial, 0) for trial in trials]
    assert len(set(seeds)) == 4
    assert seeds == [plan.seed_for(trial, 0) for trial in trials]


def test_an_event_has_the_size_and_shape_of_stripes() -> None:
    body = EventMaker(1, SECRET).body()
    event = json.loads(body)
    assert 3200 <= len(body) <= 3400
    assert event["type"] == EVENT_TYPE
    assert event["data"]["object"]["object"] == "checkout.session"
    # pgbench sends it as text that PostgreSQL reads as bytea: a backslash would be an escape.
    assert b"\\" not in body


def test_events_are_unique_and_the_same_for_a_seed() -> None:
    maker = EventMaker(1, SECRET)
    bodies = [maker.body() for _ in range(1000)]
    assert len({json.loads(body)["id"] for body in bodies}) == 1000
    again = EventMaker(1, SECRET)
    assert [again.body() for _ in range(1000)] == bodies
    assert EventMaker(2, SECRET).body() not in bodies


def test_the_products_verifier_accepts_the_signature_and_no_other_body() -> None:
    maker = EventMaker(1, SECRET)
    body, other = maker.body(), maker.body()
    header = maker.sign(body, NOW)
    signature.verify(body, header, [SECRET], now=NOW)
    with pytest.raises(errors.NotAuthentic):
        signature.verify(other, header, [SECRET], now=NOW)


def test_an_answer_is_whole_only_with_its_length() -> None:
    head = b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nContent-Length: 4\r\n"
    assert parse_answer(head) is None
    assert parse_answer(head + b"\r\nbod") == (503, len(head) + 6)
    with pytest.raises(ValueError, match="no answer"):
        parse_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def server_that_refuses_every_third(bodies: list[bytes]) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                status = b"503 Busy" if len(bodies) % 3 == 0 else b"200 OK"
                # In two pieces, as answers may come.
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\n")
                await writer.drain()
                writer.write(b"{}")
        except asyncio.IncompleteReadError:
            writer.close()

    return handle


async def test_the_generator_counts_200s_only_and_waits_for_every_answer() -> None:
    bodies: list[bytes] = []
    server = await asyncio.start_server(server_that_refuses_every_third(bodies), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    order = Order(port=port, clients=3, warm=0.0, seconds=0.2, seed=1, secret=SECRET)
    outcome = await generate(order)
    server.close()
    await server.wait_closed()
    assert outcome.sent == len(bodies) == len(set(bodies)) > 3
    assert outcome.refused == {"503": len(bodies) // 3}
    assert outcome.acknowledged == len(bodies) - len(bodies) // 3
    assert outcome.counted <= outcome.acknowledged
    assert outcome.broken == 0


def test_pgbench_counts_and_refuses_failed_transactions() -> None:
    assert pgbench.parse(SUMMARY.format(failed=0)) == pgbench.Run(41203, 8229.5)
    nothing = "number of transactions actually processed: 0\n"
    assert pgbench.parse(nothing) == pgbench.Run(0, 0.0)
    with pytest.raises(pgbench.Failed, match="3 transactions"):
        pgbench.parse(SUMMARY.format(failed=3))
    with pytest.raises(pgbench.Failed, match="no summary"):
        pgbench.parse("pgbench: error")


def test_the_products_statement_goes_to_pgbench_with_every_parameter_filled() -> None:
    script = webhooks.statement_script()
    assert "$" not in script
    assert "array[:payload]::bytea[]" in script
    assert script.count("\n") == 1


def test_the_commit_is_named() -> None:
    name = machine.commit()
    assert name == "unknown" or len(name.rstrip("+")) == 12
