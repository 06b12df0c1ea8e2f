"""Times in bodies: RFC 3339 with an offset, in years that everybody downstream can hold. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,6}\d*)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
FINE = re.compile(r"(\.\d{6})\d+")
YEARS = range(2000, 3000)


def _time(value: object) -> datetime:
    """Bodies turn no type into another, but a time has no type of its own in JSON."""
    if isinstance(value, str) and len(value) <= 64 and TIME.fullmatch(value):
        try:
            at = datetime.fromisoformat(FINE.sub(r"\1", value.upper())).astimezone(UTC)
        except (ValueError, OverflowError):
            at = datetime.min.replace(tzinfo=UTC)
        if at.year in YEARS:
            return at
    raise PydanticCustomError(
        "time_invalid",
        "Send a time like 2026-11-30T12:00:00Z, with its offset, between 2000 and 2999",
    )


Time = Annotated[AwareDatetime, BeforeValidator(_time)]
