"""Fields of Stripe's objects, read or refused: nothing odd gets further than this. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bursar.money import AMOUNT_MAX
from bursar.providers.port import Unusable

REFERENCE = "bursar_reference"
"""The metadata key under which our reference stands on session, intent and charge."""
ORDER = "bursar_order"
"""The metadata key under which people at the provider read what became of an order."""

CURRENCY = re.compile("[A-Za-z]{3}")
# Prices and customers may have ids of somebody's choice; none has a slash or a blank in it.
ID = re.compile(r"[A-Za-z0-9_.:@+-]{1,255}", re.ASCII)

Object = Mapping[str, Any]


def reference_of(thing: Object) -> str | None:
    """Our own reference, if the provider's metadata has it."""
    return text(part(thing, "metadata").get(REFERENCE))


def part(thing: Object, name: str) -> Object:
    """An object inside of another; empty when something else, or nothing, stands there."""
    found = thing.get(name)
    return found if isinstance(found, dict) else {}


def find_id(value: object) -> str | None:
    """An id, whether the object stands there expanded or not; None for what can't be one."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def own_id(thing: Object) -> str:
    """The id of the object that a message is about. Raises Unusable."""
    found = find_id(thing)
    if found is None:
        raise Unusable("payload_unparseable", f"id {thing.get('id')!r}"[:80])
    return found


def text(value: object) -> str | None:
    """Text as it can be stored; None for what is none."""
    # A NUL is legal JSON and illegal in PostgreSQL's text.
    return value.replace("\0", "")[:2000] or None if isinstance(value, str) else None


def currency(value: object) -> str | None:
    """A currency in lower case. Raises Unusable for what is there and can't be one."""
    if value is None:
        return None
    if not isinstance(value, str) or not CURRENCY.fullmatch(value):
        raise Unusable("currency_invalid", repr(value)[:50])
    return value.lower()


def minor(value: object) -> int:
    """An amount in minor units. Raises Unusable."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unusable("amount_invalid", repr(value)[:50])
    if value > AMOUNT_MAX:
        raise Unusable("amount_out_of_range", str(value)[:50])
    return value


def signed(value: object) -> int:
    """An amount in minor units that is below zero for a credit. Raises Unusable."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unusable("amount_invalid", repr(value)[:50])
    if abs(value) > AMOUNT_MAX:
        raise Unusable("amount_out_of_range", str(value)[:50])
    return value


def count(value: object) -> int:
    """How many of a thing: one, where nothing is said. Raises Unusable."""
    return 1 if value is None else minor(value)


def rows(value: object) -> list[Object]:
    """The objects of a list, whether it stands alone or in a page. Raises Unusable."""
    found = value.get("data") if isinstance(value, dict) else value
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Unusable("payload_unparseable", f"list {found!r}"[:80])
    return found


def has_more(value: object) -> bool:
    """Whether a page is not the whole list."""
    return isinstance(value, dict) and value.get("has_more") is True


def find_time(value: object) -> datetime | None:
    """A time, if there is one. Raises Unusable for what is there and can't be one."""
    return None if value is None else time_of(value)


def time_of(value: object) -> datetime:
    """A time as Stripe writes it, in seconds. Raises Unusable."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**33:
        raise Unusable("payload_unparseable", f"time {value!r}"[:80])
    return datetime.fromtimestamp(value, UTC)
