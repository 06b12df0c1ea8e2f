"""A webhook's raw bytes as a dictionary, and the words of it that the inbox keeps. Pure.

Says by a code of its own why a body can't be read. Never guesses: what is no JSON stays unread,
but text that merely can't be stored (half a character) is cleaned, for the money beside it is real.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import orjson

from bursar.providers.port import Unusable

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def read(body: bytes) -> dict[str, Any]:
    """The message. Raises Unusable."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        message = _read_slowly(body)
    if not isinstance(message, dict) or not message:
        raise Unusable("payload_unparseable", "the body is no JSON object")
    return message


def read_leniently(body: bytes) -> dict[str, Any]:
    """The message, empty when it can't be read."""
    try:
        return read(body)
    except Unusable:
        return {}


def is_key(event_id: object) -> bool:
    """Whether an event's id can be the inbox's key: whole, and storable as text (no NUL)."""
    if not isinstance(event_id, str) or not 0 < len(event_id) <= 255:
        return False
    return event_id.isprintable() and REPLACEMENT not in event_id


def word(value: object) -> str:
    """A word of the provider's as the inbox can store it, whatever it holds."""
    # Cut first: what stands here may be a megabyte.
    text = value[:255] if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() else REPLACEMENT for c in text)[:255]


class _NoNumber(ValueError):
    """NaN, an infinite number, or digits without end."""


def _constant(name: str) -> NoReturn:
    raise _NoNumber(name)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NoNumber("a number is out of range")
    return number


def _int(text: str) -> int:
    if len(text) > 300:
        raise _NoNumber("a number is out of range")
    return int(text)


def _read_slowly(body: bytes) -> Any:
    """What the fast reader refuses: find out why, and read what is merely odd."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unusable("payload_encoding", "the body is not UTF-8") from error
    try:
        message = json.loads(text, parse_constant=_constant, parse_float=_float, parse_int=_int)
        # Lone surrogates are all that is left to differ.
        plain = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return orjson.loads(plain.decode("utf-8", "replace"))
    except RecursionError as error:
        raise Unusable("payload_too_deep") from error
    except _NoNumber as error:
        raise Unusable("payload_number", str(error)) from error
    except ValueError as error:
        raise Unusable("payload_unparseable", "the body is no JSON") from error
