"""What is written down of a run: plan, samples, and the lines that a reader sees.

Owns the shape of results. It measures nothing.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench import machine
from bench.figures import Spread, ratios, spread

T = TypeVar("T")

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

    An arm that strangers disturbed is measured again, `tries` times at most. `clients` replaces
    each measure's own numbers.
    """

    rounds: int
    seconds: int
    warm: int
    seed: int
    tries: int = 1
    clients: tuple[int, ...] = ()

    def trials(self, arms: Sequence[str], usual: Sequence[int]) -> Iterator[Trial]:
        """Go through the rounds: arms in turn, every second round backwards."""
        for number in range(1, self.rounds + 1):
            for clients in self.clients or usual:
                for arm in arms if number % 2 else reversed(arms):
                    yield Trial(arm, clients, number)

    def seed_for(self, trial: Trial) -> int:
        """Return a seed of its own for each arm and round, the same in every run."""
        return zlib.crc32(f"{self.seed} {trial}".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a trial gave. `cores` says who kept how many cores busy meanwhile."""

    trial: Trial
    per_second: float
    count: int
    seed: int
    cores: Mapping[str, float] = field(default_factory=dict)

    @property
    def others(self) -> float:
        """The cores that strangers kept busy; 0 where the system does not tell."""
        return self.cores.get("others", 0.0)


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
    cores: Mapping[str, float]
    others_most: float


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
                cores={
                    name: round(spread([s.cores.get(name, 0.0) for s in chosen]).median, 2)
                    for name in chosen[0].cores
                },
                others_most=max(s.others for s in chosen),
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
            best[trial.round] = min(kept, sample, key=lambda s: s.others)
    return [best[number] for number in sorted(best)]


def repeated(plan: Plan, take: Callable[[], Sample]) -> Iterator[Sample]:
    """Yield samples of a trial until one was left in peace, or the tries are used up."""
    for _ in range(plan.tries):
        sample = take()
        yield sample
        if sample.others <= NOISE_CORES:
            return


def watched(work: Callable[[], T], trees: Mapping[str, int]) -> tuple[T, dict[str, float]]:
    """Do `work`; return with it the cores that the named processes and all others kept busy."""
    pids = {**trees, "run": os.getpid()}
    before = machine.read(pids)
    done = work()
    used = machine.cores(before, machine.read(pids))
    if used:
        # Server and database are children of this process, and so are the generators.
        run, everything = used.pop("run"), used.pop("all")
        used["generator"] = max(0.0, run - sum(used.values()))
        used["others"] = max(0.0, everything - run)
    return done, {name: round(value, 3) for name, value in used.items()}
