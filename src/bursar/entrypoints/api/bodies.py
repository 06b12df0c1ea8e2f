"""Bodies: read whole within a limit, as JSON in the strict sense, into a model that is strict too.

What passes here is safe to store: text without NUL or lone surrogates, numbers that are numbers,
no name twice, no card's number. It never reads a body before it is told to, so that who asks is
decided first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from bursar import errors
from bursar.entrypoints.api.card_numbers import CardNumberRefused, holds_card_number
from bursar.entrypoints.api.problems import Refusal, invalid

BODY_BYTES_MAX = 64 * 1024
DEPTH_MAX = 20
DISCARD_BYTES_MAX = 8 * 1024 * 1024
DISCARD_SECONDS = 2.0

JSON_TYPE = re.compile(rb'application/json\s*(?:;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)
# The host app's own ids are digits at times, and a tenth of long ones would look like a card's.
OPAQUE = frozenset(("user_id",))
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

M = TypeVar("M", bound=BaseModel)


class Disconnected(Exception):
    """The client went away before its request was whole; nobody waits for an answer."""


def _check_headers(scope: Scope, limit: int) -> None:
    """Refuse by the headers alone what need not be read. Raises Refusal (413, 415)."""
    types = []
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value[:20]) > limit):
            raise _too_large(limit)
        if name == b"content-type":
            types.append(value)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Refusal("unsupported_media_type")
    if len(types) != 1 or not JSON_TYPE.fullmatch(types[0].strip()):
        raise Refusal("unsupported_media_type")


def _too_large(limit: int) -> Refusal:
    return Refusal("payload_too_large", f"The body may have {limit} bytes at most.")


async def read(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body of a JSON request, at most `limit` bytes of it kept.

    Raises Refusal (413, 415) and Disconnected.
    """
    try:
        _check_headers(scope, limit)
    except Refusal as refusal:
        if refusal.rule.status == 413:
            await _discard(receive)
        raise
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        # One piece is what small bodies are; it needs no copying.
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    return await _collect(message, receive, limit)


async def _collect(message: Message, receive: Receive, limit: int) -> bytes:
    """The rest of a body that comes in pieces, of which `message` is the first."""
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        more = message.get("more_body", False)
        if len(parts) > limit:
            if more:
                await _discard(receive)
            raise _too_large(limit)
        if not more:
            return bytes(parts)
        message = await receive()
    raise Disconnected


async def _discard(receive: Receive) -> None:
    """Read on for a moment and keep nothing, before a refusal that ends the connection.

    A client that is cut off while it sends may lose the answer which says why.
    """
    left = DISCARD_BYTES_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            more = True
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message["type"] == "http.request" and message.get("more_body", False)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return number


def parse(body: bytes) -> Any:
    """JSON as RFC 8259 has it, in UTF-8 without a byte order mark.

    NaN, infinite numbers, a name twice in one object, absurd depth and absurd digits are
    refused. Raises Refusal.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float
        )
    except (ValueError, RecursionError):
        raise Refusal("json_invalid") from None
    _check(value, "", 0)
    return value


def _check(value: Any, place: str, depth: int) -> None:
    """Raise errors.Invalid for text that PostgreSQL can't store and for card numbers, Refusal for
    absurd depth."""
    if depth > DEPTH_MAX:
        raise Refusal("json_invalid", f"The body is nested deeper than {DEPTH_MAX} levels.")
    if isinstance(value, str):
        if UNSTORABLE.search(value):
            entry = {
                "field": place,
                "code": "string_unstorable",
                "message": "Text must not contain NUL or a lone surrogate",
            }
            raise errors.Invalid(f"{place}: {entry['message']}.", errors=[entry])
        if place not in OPAQUE and holds_card_number(value):
            _refuse_card_number(place)
    elif isinstance(value, dict):
        for name, part in value.items():
            _check(name, place, depth + 1)
            _check(part, f"{place}.{name}" if place else name, depth + 1)
    elif isinstance(value, list):
        for position, part in enumerate(value):
            _check(part, f"{place}.{position}", depth + 1)


def _refuse_card_number(place: str) -> NoReturn:
    """Raise CardNumberRefused. The place is a field's name, never the text that is refused."""
    message = "This text holds a card number; cards are entered on the payment page alone"
    entry = {"field": place, "code": CardNumberRefused.code, "message": message}
    raise CardNumberRefused(f"{place}: {message}." if place else f"{message}.", errors=[entry])


def body_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads the body into `model`; place it after the one that says who asks.

    Where a POST has to say nothing, its empty body says nothing.
    """
    optional = not any(field.is_required() for field in model.model_fields.values())

    async def read_model(request: Request) -> M:
        body = await read(request.scope, request.receive, BODY_BYTES_MAX)
        empty = optional and not body and request.method == "POST"
        return _fill(model, {} if empty else parse(body))

    return read_model


def model_of(model: type[M], value: dict[str, Any]) -> M:
    """`value` as a body would be read that holds it: for callers who send none.

    Raises errors.Invalid.
    """
    _check(value, "", 0)
    return _fill(model, value)


def _fill(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid([dict(entry) for entry in found]) from None
