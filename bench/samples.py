"""What is written down of a run: plan, samples, and the lines that a reader sees.

Owns the shape of results. It measures nothing.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench import machine
from bench.figures import Spread, ratios, spread

T = TypeVar("T")

SETTLE_SECONDS = 0.2
LOOK_SECONDS = 0.5

NOISE_CORES = 0.12
"""More than this kept busy by strangers makes an arm's figures doubtful."""


class Wrong(Exception):
    """The counts of an arm do not agree: its figure would be worth nothing."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is measured at one moment: an arm, over so many connections, in a round."""

    arm: str
    clients: int
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how often to measure, in whole seconds.

    Before an arm up to `patience` seconds are waited for strangers to be quiet, and one that they
    disturbed is measured again, `tries` times at most. `clients` replaces each measure's own
    numbers.
    """

    rounds: int
    seconds: int
    warm: int
    seed: int
    tries: int = 1
    patience: int = 0
    clients: tuple[int, ...] = ()

    def trials(self, arms: Sequence[str], usual: Sequence[int]) -> Iterator[Trial]:
        """Go through the rounds: arms in turn, every second round backwards."""
        for number in range(1, self.rounds + 1):
            for clients in self.clients or usual:
                for arm in arms if number % 2 else reversed(arms):
                    yield Trial(arm, clients, number)

    def seed_for(self, trial: Trial, attempt: int) -> int:
        """Return a seed of its own for each attempt at a trial, the same in every run.

        Two attempts with one seed would ask for the same things twice, and be told so.
        """
        return zlib.crc32(f"{self.seed} {trial} {attempt}".encode())


@dataclass(frozen=True, slots=True)
class Load:
    """Who used the processors during a trial; empty and 0 where the system does not tell.

    `microseconds` of processor time for each transaction, by process: they hardly depend on what
    else the machine does. `others` is the number of cores that strangers kept busy.
    """

    microseconds: Mapping[str, float]
    others: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a trial gave: a rate, and all that was committed, warming up included."""

    trial: Trial
    per_second: float
    count: int
    seed: int
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measure of the design: its samples, the arm that is the limit, the goals by clients."""

    key: str
    title: str
    yardstick: str
    samples: Sequence[Sample]
    goals: Mapping[tuple[str, int], str] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One arm at one number of clients over all rounds; no ratio for the yardstick itself."""

    arm: str
    clients: int
    per_second: Spread
    ratio: Spread | None
    goal: str
    microseconds: Mapping[str, float]
    others: float


def lines(measure: Measure) -> list[Line]:
    """Summarise the samples of a measure, arm by arm in the order of their first round."""
    found = []
    for arm, clients in dict.fromkeys((s.trial.arm, s.trial.clients) for s in measure.samples):
        chosen = _quietest(measure, arm, clients)
        limit = [s.per_second for s in _quietest(measure, measure.yardstick, clients)]
        rates = [s.per_second for s in chosen]
        compared = arm != measure.yardstick and bool(limit)
        found.append(
            Line(
                arm=arm,
                clients=clients,
                per_second=spread(rates),
                ratio=spread(ratios(rates, limit)) if compared else None,
                goal=measure.goals.get((arm, clients), ""),
                microseconds={
                    name: spread([s.load.microseconds[name] for s in chosen]).median
                    for name in chosen[0].load.microseconds
                },
                others=max(s.load.others for s in chosen),
            )
        )
    return found


def _quietest(measure: Measure, arm: str, clients: int) -> list[Sample]:
    """Return one sample a round: the least disturbed one, which need not be the fastest."""
    best: dict[int, Sample] = {}
    for sample in measure.samples:
        trial = sample.trial
        if (trial.arm, trial.clients) == (arm, clients):
            kept = best.setdefault(trial.round, sample)
            best[trial.round] = min(kept, sample, key=lambda s: s.load.others)
    return [best[number] for number in sorted(best)]


def repeated(plan: Plan, trial: Trial, take: Callable[[int], Sample]) -> Iterator[Sample]:
    """Yield samples of a trial until one was left in peace, or the tries are used up.

    `take` is called with the trial's seed.
    """
    for attempt in range(plan.tries):
        wait_for_quiet(plan.patience)
        sample = take(plan.seed_for(trial, attempt))
        yield sample
        if sample.load.others <= NOISE_CORES:
            return


def wait_for_quiet(patience: float) -> None:
    """Return once strangers keep fewer than NOISE_CORES busy, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        _, load = watched(lambda: time.sleep(LOOK_SECONDS), {}, lambda _: 1)
        if load.others <= NOISE_CORES:
            return


def watched(
    work: Callable[[], T], trees: Mapping[str, int], count: Callable[[T], int]
) -> tuple[T, Load]:
    """Do `work`; return with it what the named processes, the generator and all others used.

    `count` tells how many transactions the outcome of `work` stands for.
    """
    pids = {**trees, "run": os.getpid()}
    before = machine.read(pids)
    done = work()
    # A backend that is ending stands in nobody's books until its parent has waited for it.
    time.sleep(SETTLE_SECONDS)
    after = machine.read(pids)
    if before is None or after is None:
        return done, Load({}, 0.0)
    used = {name: after.trees[name] - seconds for name, seconds in before.trees.items()}
    run, everything = used.pop("run"), after.all - before.all
    # Server and database are children of this process, and so are the generators.
    used["generator"] = max(0.0, run - sum(used.values()))
    each = {name: round(seconds * 1e6 / max(count(done), 1), 1) for name, seconds in used.items()}
    others = max(0.0, everything - run) / max(after.at - before.at, 1e-9)
    return done, Load(each, round(others, 3))
