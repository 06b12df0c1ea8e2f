"""A letter before it has a form: its parts as words, the same for plain text and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bursar.money import format_money

Tone = Literal["good", "wait", "bad", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """`rows` are label and value; `link` is label and address."""

    subject: str
    heading: str
    paragraphs: tuple[str, ...]
    rows: tuple[tuple[str, str], ...] = ()
    link: tuple[str, str] | None = None
    after: tuple[str, ...] = ()
    tone: Tone = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """What a letter is about: the event as it was written, and what is known of its payment."""

    topic: str
    data: Mapping[str, Any]
    created_at: datetime
    shop: str
    own_url: str
    name: str | None = None
    item: str | None = None
    receipt_url: str | None = None
    credits: str = ""
    runs: str = ""
    """When the plan that was bought runs, in words; empty for what is no plan."""
    includes: str = ""
    """The plan's features in words."""
    without_card: Literal["", "cancel", "pause"] = ""
    """What a trial without a card comes to; empty where a card was asked for."""
    last_try: bool = False
    """Whether a charge that failed is not tried again, whatever the provider says."""

    def money(self, key: str) -> str:
        """An amount of the event in words."""
        return format_money(int(self.data[key]), str(self.data["currency"]))


def greeting(matter: Matter) -> str:
    """The first words to a buyer."""
    return f"Hello {matter.name}," if matter.name else "Hello,"


def day(at: datetime) -> str:
    """`28 Nov 2026`."""
    return f"{at.astimezone(UTC):%-d %b %Y}"


def minute(at: datetime) -> str:
    """`28 Nov 2026, 14:05 UTC`."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def read_time(text: str) -> datetime:
    """A time as events write it."""
    return datetime.fromisoformat(text)
