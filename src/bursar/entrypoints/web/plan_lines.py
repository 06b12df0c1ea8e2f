"""What the pages say of plans that were bought and of the features that somebody has. Pure.

Terms of one plan that follow each other read as one stretch of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bursar.billing.plan_terms import Term
from bursar.billing.rights import Entitled
from bursar.entrypoints import right_words
from bursar.entrypoints.web.figures import Moment, moment


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A plan that runs, or will: `begins` is None where it runs already."""

    name: str
    features: str
    begins: Moment | None
    until: Moment


@dataclass(frozen=True, slots=True)
class FeatureLine:
    """A feature somebody has. `left` is empty where nothing is counted; no `until`: for good."""

    name: str
    left: str
    anew: Moment | None
    until: Moment | None


def stretches(terms: Sequence[Term], now: datetime) -> list[list[Term]]:
    """The terms that run or will, each list one that goes on without a gap; as they come, which is
    by plan and time."""
    found: list[list[Term]] = []
    for term in terms:
        if term.ends_at <= max(now, term.starts_at):
            continue
        last = found[-1][-1] if found else None
        if last and last.plan == term.plan and last.ends_at == term.starts_at:
            found[-1].append(term)
        else:
            found.append([term])
    return found


def plan_line(stretch: Sequence[Term], name: str, now: datetime) -> PlanLine:
    """A stretch in words; its features are those of the term that comes first."""
    first = stretch[0]
    return PlanLine(
        name=name,
        features=right_words.said(first.rights),
        begins=moment(first.starts_at, now) if first.starts_at > now else None,
        until=moment(stretch[-1].ends_at, now),
    )


def plan_name(item: str) -> str:
    """The plan's name out of what an order was called: `Starter, 3 months` is of Starter."""
    return item.rpartition(", ")[0] or item


def feature_lines(
    found: Sequence[Entitled], ends: Mapping[str, datetime], now: datetime
) -> list[FeatureLine]:
    """What somebody has, by feature."""
    return [
        FeatureLine(
            name=right_words.feature_name(each.feature),
            left="" if each.limit is None else f"{each.left:,} of {each.limit:,} left",
            anew=moment(each.resets_at, now) if each.resets_at else None,
            until=moment(ends[each.feature], now) if each.feature in ends else None,
        )
        for each in found
    ]
