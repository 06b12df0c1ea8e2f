"""Metadata: merged key by key, an empty value removes, all unset by an empty string."""

from __future__ import annotations

from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.params import Params

MAX_KEYS = 50
MAX_KEY = 40
MAX_VALUE = 500


def merged(params: Params, current: dict[str, str] | None = None) -> dict[str, str]:
    """`current` with what `params` says under `metadata`. Raises StripeError beyond the limits."""
    before = current or {}
    if "metadata" not in params:
        return before
    given = params.table("metadata")
    if given is None:
        return {}
    result = dict(before)
    for key in given.fields:
        if len(key) > MAX_KEY:
            raise _refused(given, key, f"Metadata keys can be at most {MAX_KEY} characters long")
        value = given.text(key, limit=10**9)
        if value is None:
            result.pop(key, None)
            continue
        if len(value) > MAX_VALUE:
            raise _refused(
                given, key, f"Metadata values can be at most {MAX_VALUE} characters long"
            )
        result[key] = value
    if len(result) > MAX_KEYS:
        raise StripeError(f"Metadata can have at most {MAX_KEYS} keys", param="metadata")
    return result


def _refused(given: Params, key: str, rule: str) -> StripeError:
    return StripeError(f"{rule}: '{key[:60]}'", param=given.name(key))
