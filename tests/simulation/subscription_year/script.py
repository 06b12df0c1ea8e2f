"""Who does what when in the simulated year: the acts of each kind of customer, drawn by the seed.

Acts lie at two moments of each month, at which everything is quiet: some hours after the periods of
those begin who came on the first day, and some hours after those of the trials do. Knows neither
the shop nor the model; amounts of uses are shares of what is there.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

MONTHS = 12
TRIAL = timedelta(days=14)
RENEWED = timedelta(hours=6)
"""How long after a period's end its renewal is over and done."""
LATER_EACH_MONTH = timedelta(minutes=85)
"""So that who begins in the middle of a month has renewed when that of the next is looked at."""
TRIED_AGAIN = (timedelta(days=3, hours=12), timedelta(days=8, hours=12))
"""How long after a failed renewal its second and third try are over."""
QUIET = (timedelta(days=3), timedelta(days=3))

ActKind = Literal["subscribe", "change", "steer", "card", "use", "refund", "duplicate", "dearer"]
RENEWED_THEN, MIDDLE = "renewed", "middle"


@dataclass(frozen=True)
class Act:
    """One thing that somebody does. `share` is of the credits that are there."""

    who: str
    kind: ActKind
    wanted: dict[str, Any] = field(default_factory=dict)
    share: float = 0.0


@dataclass(frozen=True)
class Stop:
    """A moment at which all is looked at, and then something is done."""

    at: datetime
    acts: tuple[Act, ...] = ()


def later(moment: datetime, months: int) -> datetime:
    """The same day and time so many months later; the month's last day where it has none such."""
    years, month = divmod(moment.month - 1 + months, MONTHS)
    year, month = moment.year + years, month + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day)


@dataclass(frozen=True)
class Script:
    """A year that begins on a day of the year after `now`, both by the seed."""

    seed: int
    now: datetime

    @cached_property
    def begins(self) -> datetime:
        """Early on a day that differs from seed to seed; many are the last of a month.

        Not at midnight: a second less would be another day, and other periods.
        """
        new_year = datetime(self.now.year + 1, 1, 1, 2, tzinfo=UTC)
        if self.seed % 3 == 0:
            return later(new_year - timedelta(days=1), 1 + self.seed // 3 % MONTHS)
        return new_year + timedelta(days=self.seed * 37 % 365)

    @cached_property
    def stops(self) -> list[Stop]:
        """All moments of the year in their order, and some quiet days after it."""
        chance = random.Random(self.seed)  # noqa: S311
        fails, ends = chance.choice((2, 3, 4)), chance.choice((2, 3))
        acts: dict[tuple[str, int], list[Act]] = {}
        for when, month, act in _plots(chance, fails=fails, ends=ends):
            acts.setdefault((when, month), []).append(act)
        found = []
        for month in range(MONTHS + 1):
            renewed = later(self.begins, month) + (RENEWED if month else timedelta())
            found.append((renewed, acts.get((RENEWED_THEN, month), [])))
            trial = later(self.begins + TRIAL, month) + RENEWED + month * LATER_EACH_MONTH
            found.append((trial, acts.get((MIDDLE, month), [])))
        for month in {fails, ends}:
            found += [(later(self.begins, month) + wait, []) for wait in TRIED_AGAIN]
        found.sort(key=lambda one: one[0])
        stops = [Stop(at, (*_uses(chance), *acts)) for at, acts in found]
        for wait in QUIET:
            stops.append(Stop(stops[-1].at + wait))
        return stops


CUSTOMERS = (
    "trial",
    "mover",
    "late",
    "gone",
    "pauser",
    "leaver",
    "yearly",
    "free",
    "less",
    "refunded",
    "team",
    "saver",
    "newcomer",
    "twice",
)
"""Twelve kinds: a coupon may take all or a part, and who comes after a price went up pays it."""

Plot = Iterator[tuple[str, int, Act]]
"""When an act is: after a month's renewals, or in the month's middle."""


def _uses(chance: random.Random) -> Iterator[Act]:
    """Some people use some of what they have."""
    for who in CUSTOMERS:
        if chance.random() < 0.3:
            yield Act(who, "use", share=chance.random())


def _plots(chance: random.Random, *, fails: int, ends: int) -> Plot:
    """All acts but uses. `fails` is the month whose renewal one pays late, `ends` never."""
    yield from _those_who_change(chance)
    yield from _those_who_stop(chance)
    yield from _those_who_fail(fails, ends)
    yield from _those_who_pay_otherwise(chance)


def _begin(who: str, plan: str, **wanted: Any) -> tuple[str, int, Act]:
    return RENEWED_THEN, 0, Act(who, "subscribe", {"plan": plan, **wanted})


def _steer(chance: random.Random, who: str, kind: str) -> Act:
    """Somebody asks the shop, or does it at the provider's."""
    return Act(who, "steer", {"kind": kind, "at": chance.choice(("shop", "provider"))})


def _those_who_change(chance: random.Random) -> Plot:
    dear = chance.choice(("always_invoice", "create_prorations", "none"))
    cheap = chance.choice(("create_prorations", "none"))
    yield _begin("mover", "basic")
    yield RENEWED_THEN, 1, Act("mover", "change", {"plan": "pro", "proration": dear})
    yield MIDDLE, 1, Act("mover", "change", {"plan": "basic", "proration": cheap})
    again = chance.choice(("always_invoice", "create_prorations"))
    yield MIDDLE, 3, Act("mover", "change", {"plan": "pro", "proration": again})
    yield MIDDLE, 4, _steer(chance, "mover", "cancel")

    yield _begin("team", "team", quantity=chance.choice((2, 3)))
    yield MIDDLE, 1, Act("team", "change", {"quantity": 5, "proration": "always_invoice"})
    fewer = chance.choice((1, 2))
    yield RENEWED_THEN, 3, Act("team", "change", {"quantity": fewer})
    yield MIDDLE, 3, Act("team", "change", {"quantity": 4, "proration": "create_prorations"})
    yield MIDDLE, 4, _steer(chance, "team", "cancel")

    yield _begin("saver", "saver")
    yield MIDDLE, 2, Act("", "dearer")
    yield MIDDLE, 2, Act("newcomer", "subscribe", {"plan": "saver"})
    yield MIDDLE, 4, _steer(chance, "newcomer", "cancel_now")


def _those_who_stop(chance: random.Random) -> Plot:
    yield _begin("pauser", "basic")
    when = chance.choice((RENEWED_THEN, MIDDLE))
    yield when, 1, _steer(chance, "pauser", "pause")
    yield MIDDLE, chance.choice((2, 3)), _steer(chance, "pauser", "unpause")
    yield MIDDLE, 5, _steer(chance, "pauser", "cancel_now")

    yield _begin("leaver", "basic")
    yield RENEWED_THEN, 1, _steer(chance, "leaver", "cancel")
    yield MIDDLE, 1, _steer(chance, "leaver", "resume")
    yield MIDDLE, 3, _steer(chance, "leaver", "cancel")
    yield MIDDLE, 7, Act("leaver", "subscribe", {"plan": "pro"})
    yield MIDDLE, 9, _steer(chance, "leaver", chance.choice(("cancel", "cancel_now")))

    if chance.random() < 0.3:
        yield _begin("trial", "try", card=None)
    else:
        yield _begin("trial", "trial")
    yield RENEWED_THEN, 4, _steer(chance, "trial", "cancel")

    yield _begin("twice", "basic")
    yield chance.choice((RENEWED_THEN, MIDDLE)), 2, Act("twice", "duplicate")
    yield MIDDLE, 3, _steer(chance, "twice", "cancel")


def _those_who_fail(fails: int, ends: int) -> Plot:
    yield _begin("late", "basic")
    yield MIDDLE, fails - 1, Act("late", "card", {"method": "pm_card_chargeCustomerFail"})
    yield RENEWED_THEN, fails, Act("late", "card", {"method": "pm_card_visa"})
    yield MIDDLE, 5, Act("late", "steer", {"kind": "cancel", "at": "shop"})
    yield _begin("gone", "basic")
    yield MIDDLE, ends - 1, Act("gone", "card", {"method": "pm_card_chargeCustomerFail"})


def _those_who_pay_otherwise(chance: random.Random) -> Plot:
    yield _begin("yearly", chance.choice(("basic", "whole")), interval="year")
    yield _begin("free", "basic", coupon="free")
    yield MIDDLE, 4, _steer(chance, "free", "cancel_now")
    yield _begin("less", "pro", coupon="less")
    yield MIDDLE, 2, _steer(chance, "less", "cancel")
    yield _begin("refunded", "basic")
    of_now = {"invoice": 1, "amount": chance.randrange(100, 1400)}
    yield MIDDLE, 1, Act("refunded", "refund", of_now)
    yield MIDDLE, 3, Act("refunded", "refund", {"invoice": 2, "amount": None})
    yield MIDDLE, 4, _steer(chance, "refunded", "cancel_now")
