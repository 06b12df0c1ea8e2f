"""The work of a form that moves money: done once for each key that its page carried.

A second press finds the first one's address; one after a lost answer goes on with what was begun.
Knows nothing of what the work is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.access import idempotency
from bursar.entrypoints.api import once
from bursar.entrypoints.api.answers import Answer
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor

_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)

Work = Callable[[idempotency.Key, str | None], Awaitable[str]]
"""Does it under a claimed key, from where an earlier try got to; returns where to go then."""


class Leads(Answer):
    """Where the work led."""

    url: str


def key_of(fields: Mapping[str, str]) -> str:
    """The one-time key of a posted form. Raises errors.Invalid."""
    key = fields.get("key", "")
    if not _KEY.fullmatch(key):
        raise errors.Invalid("This form is incomplete. Open its page again.")
    return key


async def do(
    site: Site, visitor: Visitor, work: Work, *, route: str, form_key: str, words: str
) -> Response:
    """303 to where the work leads. `words` are the same for the same order of the same form.

    Raises what the work does, errors.IdempotencyKeyInUse and errors.IdempotencyKeyReused.
    """
    key = idempotency.Key(
        visitor.actor.principal,
        route,
        f"{form_key}:{words}",
        idempotency.hash_request(visitor.user.id.encode(), words.encode()),
    )

    async def lead(resume: str | None) -> Leads:
        return Leads(url=await work(key, resume))

    kept = await once.once(site.wiring.db, key, lead)
    return leave(Leads.model_validate_json(bytes(kept.body)).url)


def leave(url: str) -> Response:
    """303 there, which no cache keeps."""
    return RedirectResponse(url, 303, {"cache-control": "no-store"})
