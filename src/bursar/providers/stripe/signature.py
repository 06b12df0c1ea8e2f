"""Stripe's webhook signature, checked on the raw bytes. Pure; never raises but NotAuthentic.

Header: `t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`, with one v1 for each active secret.
Other schemes (v0) are ignored, so that nobody can talk us down to one.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256

from bursar import errors

TOLERANCE_SECONDS = 300
HEADER_LENGTH_MAX = 4096

_HEX = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"[0-9]{1,12}")


class SignatureMissing(errors.NotAuthentic):
    """The Stripe-Signature header is missing."""

    code = "signature_missing"


class SignatureMalformed(errors.NotAuthentic):
    """The Stripe-Signature header is not of the form t=…,v1=…."""

    code = "signature_malformed"


class TimestampOutOfTolerance(errors.NotAuthentic):
    """The signature is older than five minutes, or from the future: check both clocks."""

    code = "timestamp_out_of_tolerance"


def verify(body: bytes, header: str | None, secrets: Sequence[str], *, now: float) -> None:
    """Check `header` against `body`. `now` is real time in unix seconds.

    Raises SignatureMissing, SignatureMalformed, TimestampOutOfTolerance or NotAuthentic.
    """
    if header is None:
        raise SignatureMissing()
    timestamp, signatures = _parse(header)
    signed = timestamp.encode() + b"." + body
    expected = [hmac.new(secret.encode(), signed, sha256).hexdigest() for secret in secrets]
    # Every pair is compared, each in constant time, so that nothing is learned from the clock.
    matches = [hmac.compare_digest(e, given) for e in expected for given in signatures]
    if not any(matches):
        raise errors.NotAuthentic(
            "No signature matches. Check that STRIPE_WEBHOOK_SECRET is this endpoint's secret, "
            "and that nothing on the way changes the body."
        )
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise TimestampOutOfTolerance()


def _parse(header: str) -> tuple[str, list[str]]:
    timestamp: str | None = None
    signatures: list[str] = []
    if len(header) > HEADER_LENGTH_MAX:
        raise SignatureMalformed()
    for part in header.split(","):
        name, separator, value = part.strip().partition("=")
        if not separator:
            raise SignatureMalformed()
        if name == "t":
            if timestamp is not None or not _SECONDS.fullmatch(value):
                raise SignatureMalformed()
            timestamp = value
        elif name == "v1":
            # Upper case or a wrong length can't be what Stripe sent; it just does not match.
            signatures.append(value if _HEX.fullmatch(value) else "")
    if timestamp is None:
        raise SignatureMalformed()
    return timestamp, signatures
