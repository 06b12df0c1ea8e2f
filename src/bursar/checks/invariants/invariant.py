"""What an invariant is: a claim, and the query that finds where it does not hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must hold, in a sentence, and the query that finds where it does not."""

    name: str
    claim: str
    sql: str
