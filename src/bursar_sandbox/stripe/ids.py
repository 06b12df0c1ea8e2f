"""Object ids in Stripe's manner: a prefix and random letters and digits. Owns nothing else."""

from __future__ import annotations

import os

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# A table of 256 places turns random bytes into letters in one call. The first eight letters come a
# little more often than the others, which ids in a sandbox can bear.
_LETTERS = bytes(_ALPHABET[n % len(_ALPHABET)] for n in range(256))


def random_text(size: int) -> str:
    """`size` random letters and digits."""
    return os.urandom(size).translate(_LETTERS).decode("ascii")


def new_id(prefix: str, size: int = 24) -> str:
    """A fresh id, `prefix` and an underscore first."""
    return f"{prefix}_{random_text(size)}"
