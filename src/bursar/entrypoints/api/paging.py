"""Pages of lists: newest first, `limit` at a time, from an opaque cursor on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from bursar import errors
from bursar.entrypoints.api.callers import find_id


class Page(BaseModel):
    """The query of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")

    @property
    def before(self) -> int | None:
        """The id below which this page begins. Raises errors.Invalid for a made-up cursor."""
        if self.cursor is None:
            return None
        try:
            # Padding is left off, since it needs escaping in an address.
            text = base64.b64decode(self.cursor + "==", altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            text = ""
        found = find_id(text)
        if found is None or make_cursor(found) != self.cursor:
            message = "This is no cursor of ours; send next_cursor of the page before, or none"
            entry = {"field": "cursor", "code": "cursor_invalid", "message": message}
            raise errors.Invalid(f"cursor: {message}.", errors=[entry])
        return found


class Row(Protocol):
    """What has an id by which it is sorted."""

    @property
    def id(self) -> int: ...


R = TypeVar("R", bound=Row)


def make_cursor(row_id: int) -> str:
    """The cursor of a page that goes on below `row_id`."""
    return base64.urlsafe_b64encode(str(row_id).encode()).decode().rstrip("=")


def cut(rows: Sequence[R], limit: int) -> tuple[Sequence[R], str | None]:
    """The page's rows and the next cursor, from `limit` + 1 rows that were asked for."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], make_cursor(rows[limit - 1].id)
