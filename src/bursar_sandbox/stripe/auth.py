"""Who calls: any test secret key is the one account of the sandbox."""

from __future__ import annotations

import base64
import binascii

from bursar_sandbox.stripe.errors import StripeError

_PREFIXES = ("sk_test_", "rk_test_")
_SHORTEST = 12


def check(header: str | None) -> None:
    """Raise StripeError (401) unless the Authorization header carries a test secret key."""
    key = _key_of(header)
    if not key:
        raise StripeError(
            "You did not provide an API key. You need to provide your API key in the Authorization "
            "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
        )
    if not key.startswith(_PREFIXES) or len(key) < _SHORTEST:
        shown = f"{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:]}"
        raise StripeError(f"Invalid API Key provided: {shown}", status=401)


def _key_of(header: str | None) -> str:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("latin-1").partition(":")[0]
        except (binascii.Error, ValueError):
            return ""
    return ""
