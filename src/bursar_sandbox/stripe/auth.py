"""Who calls: any test key is the one account of the sandbox.

A publishable key is in every browser, so it opens the few calls that browsers make and no other.
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from bursar_sandbox.stripe.errors import StripeError

_PREFIXES = ("sk_test_", "rk_test_")
_PUBLISHABLE = "pk_test_"
_SHORTEST = 12


def check(header: str | None) -> Literal["secret", "publishable"]:
    """The kind of test key that the Authorization header carries. Raises StripeError (401)."""
    key = _key_of(header)
    if not key:
        raise StripeError(
            "You did not provide an API key. You need to provide your API key in the Authorization "
            "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
        )
    if key.startswith(_PUBLISHABLE) and len(key) >= _SHORTEST:
        return "publishable"
    if not key.startswith(_PREFIXES) or len(key) < _SHORTEST:
        shown = f"{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:]}"
        raise StripeError(f"Invalid API Key provided: {shown}", status=401)
    return "secret"


def secret_key_required() -> StripeError:
    """A call that no browser may make."""
    return StripeError(
        "This API call cannot be made with a publishable API key. Please use a secret API key. "
        "You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
        status=401,
        code="secret_key_required",
    )


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
