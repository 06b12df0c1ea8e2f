"""The shop's own rules about money that has come: what settling needs to know of its settings.

Handed down from the wiring. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

OfSpent = Literal["debt", "refuse", "forgive"]
"""What a refund does about credits that are spent: they are owed, the refund is refused unless
forced (then, and when the provider tells of it, they are owed), or they are let go."""
OfDuplicates = Literal["alert", "cancel"]
"""What becomes of a second live subscription of one group: a person is told, or the later one is
canceled and refunded."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`grace` is how long allowance and features outlast a period whose renewal is not paid yet;
    after `failures_max` failed attempts at one invoice its subscription is canceled, None: never.
    """

    of_spent: OfSpent = "debt"
    grace: timedelta = timedelta(hours=72)
    failures_max: int | None = 3
    of_duplicates: OfDuplicates = "alert"


USUAL = Rules()
