"""Holds Stripe-shaped documents against the types of Stripe's own Node library.

`schema_or_skip` for tests; `check` for one document, `recorded.problems` for a recording. It is
for tests only and imports nothing of Bursar.
"""

import pytest

from stripe_schema.build import SchemaUnavailableError
from stripe_schema.schema import Schema, check, load

__all__ = ["Schema", "SchemaUnavailableError", "check", "load", "schema_or_skip"]


def schema_or_skip() -> Schema:
    """Return the schema; skip the calling test, and say why, where it can't be made."""
    schema = load()
    if schema is None:
        pytest.skip("Stripe's schema needs node, npm and a way to the packages (see build.py)")
    return schema
