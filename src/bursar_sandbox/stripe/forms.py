"""Decodes form-encoded nested parameters: `a[b][0][c]=x`. Owns the syntax, never the meaning.

Everything stays text, and lists stay mappings from index to value, because only the one who asks
knows whether `metadata[1]` is an index or a key.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from bursar_sandbox.stripe.errors import StripeError

MAX_FIELDS = 2000
MAX_DEPTH = 10


def decode(raw: bytes) -> dict[str, Any]:
    """The nested parameters of a query string or body. Raises StripeError when it is no form."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise StripeError("Invalid request: the parameters could not be decoded.") from error
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if "[" in name:
            _put(fields, _parts(name), value)
        else:
            fields[name] = value
    return fields


def _parts(name: str) -> list[str]:
    head, _, rest = name.partition("[")
    parts = [head, *rest.removesuffix("]").split("][")]
    if len(parts) > MAX_DEPTH:
        raise StripeError("Invalid request: the parameters are nested too deeply.", param=head)
    return parts


def _put(fields: dict[str, Any], parts: list[str], value: str) -> None:
    place = fields
    for part in parts[:-1]:
        inner = place.get(part or str(len(place)))
        if not isinstance(inner, dict):
            inner = {}
            place[part or str(len(place))] = inner
        place = inner
    place[parts[-1] or str(len(place))] = value
