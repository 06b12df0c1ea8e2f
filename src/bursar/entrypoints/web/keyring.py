"""A user's API keys as the account page lists them, and the name typed for a new one. Pure.

It sees only how a secret begins; the whole one is shown by the page that makes the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bursar import errors
from bursar.access.keys import ACTIVE_PER_USER_MAX, KeyRow
from bursar.entrypoints.web.badges import KEY, Badge
from bursar.entrypoints.web.figures import Moment, moment

NAME_LENGTH_MAX = 60
LISTED_MAX = 50
FULL = (
    f"You have {ACTIVE_PER_USER_MAX} active keys, which is the most. Revoke one to create another."
)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key in the list. `used` is None when nobody used it yet."""

    id: int
    name: str
    prefix: str
    badge: Badge
    created: Moment
    used: Moment | None


@dataclass(frozen=True, slots=True)
class Keyring:
    """A user's keys: those that work, and the newest of those that ended."""

    active: tuple[KeyLine, ...]
    ended: tuple[KeyLine, ...]

    @property
    def full(self) -> bool:
        """Whether no further key may be made."""
        return len(self.active) >= ACTIVE_PER_USER_MAX


@dataclass(frozen=True, slots=True)
class TypedName:
    """The name that was typed for a new key, and what is wrong, if anything is."""

    name: str = ""
    fault: str = ""


def keyring(rows: Sequence[KeyRow], now: datetime) -> Keyring:
    """The keys in two groups, each in the order given. `now` is real time, as the keys' own is."""
    lines = [key_line(row, now) for row in rows]
    active = KEY["active"]
    return Keyring(
        tuple(line for line in lines if line.badge == active),
        tuple(line for line in lines if line.badge != active),
    )


def key_line(row: KeyRow, now: datetime) -> KeyLine:
    """A key as it is listed."""
    return KeyLine(
        id=row.id,
        name=row.name or f"Key {row.id}",
        prefix=f"{row.prefix}…",
        badge=KEY[key_state(row, now)],
        created=moment(row.created_at, now),
        used=moment(row.last_used_at, now) if row.last_used_at else None,
    )


def key_state(row: KeyRow, now: datetime) -> str:
    """active, revoked or expired."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "active"


def read_name(text: str) -> str | None:
    """A typed name without spaces around it; None when there is none. Raises errors.Invalid."""
    name = " ".join(text.split())
    if not name.isprintable():
        raise errors.Invalid("The name has signs that can't be shown. Use letters and digits.")
    if len(name) > NAME_LENGTH_MAX:
        raise errors.Invalid(f"The name has {len(name)} characters. Use at most {NAME_LENGTH_MAX}.")
    return name or None
