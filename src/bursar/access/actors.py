"""Actors: who is asking. Pure; how one proves it is in keys and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bursar import errors

Kind = Literal["user", "service", "admin"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who proved who they are: by a key (`key_id`) or by a browser's session (None).

    `user_id` is set for users and for an admin who signed in by a link; a service names the user
    for whom it acts with each request, so here it is None.
    """

    kind: Kind
    user_id: str | None
    key_id: int | None

    @property
    def principal(self) -> str:
        """The name under which requests are remembered: it outlives any key."""
        return f"user:{self.user_id}" if self.kind == "user" else self.kind

    def require(self, *kinds: Kind) -> None:
        """Raise errors.Denied unless this actor is of one of `kinds`."""
        if self.kind not in kinds:
            wanted = " or ".join(_one(kind) for kind in kinds)
            raise errors.Denied(f"This needs the key of {wanted}; yours is of {_one(self.kind)}.")


def _one(kind: Kind) -> str:
    return f"an {kind}" if kind == "admin" else f"a {kind}"
