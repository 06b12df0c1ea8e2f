"""The pages on which a user makes and revokes API keys. The list of them is on the account page.

Owns `/account/keys` and `/account/keys/{id}/revoke`. A secret goes into the answer to the post that
made it, and nowhere else: a redirect could carry it only in an address or a cookie. The form's
one-time key keeps a second post, or a reload, from making another key; it never shows the secret
again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.access import idempotency, keys
from bursar.access.keys import KeyRow
from bursar.clock import SystemClock
from bursar.db import Connection
from bursar.entrypoints.web import account, forms, keyring, pages, visitors
from bursar.entrypoints.web.keyring import TypedName
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor

ROUTE = "POST /account/keys"
LIST = "/account#keys"
_FORM_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_KEY_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Made:
    """The key that a form made; `secret` is None when the form made it before."""

    key_id: int
    secret: str | None


async def to_list(site: Site, request: Request) -> Response:
    """GET /account/keys: to the list, for instance from a reload of the page with the secret."""
    return _to_list()


async def create(site: Site, request: Request) -> Response:
    """POST /account/keys: make a key and show its secret, this once."""
    fields = await forms.read(request)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
    form_key = fields.get("key", "")
    if not _FORM_KEY.fullmatch(form_key):
        raise errors.Invalid("This form is incomplete. Open your account again.")
    typed = fields.get("name", "")
    try:
        name = keyring.read_name(typed)
        made = await site.wiring.db.run(lambda conn: _make(conn, visitor, name, form_key))
    except errors.Invalid as error:
        return await _again(site, request, visitor, TypedName(typed, error.detail), 422)
    if made is None:
        return await _again(site, request, visitor, TypedName(typed, keyring.FULL), 409)
    values: dict[str, object] = {"made": made, "name": name or f"Key {made.key_id}"}
    return pages.render(site, request, "key_made.html", values, visitor=visitor)


async def _make(conn: Connection, visitor: Visitor, name: str | None, form_key: str) -> Made | None:
    """Make a key once for each form; None when the user has as many as one may have.

    Claim, key and answer are one transaction, so there is no half and a parallel post waits.
    """
    user_id = visitor.user.id
    # The name is no part of the request here: whoever changes it after going back has the key.
    key = idempotency.Key(
        visitor.actor.principal, ROUTE, form_key, idempotency.hash_request(user_id.encode())
    )
    claim = await idempotency.claim(conn, key)
    if isinstance(claim, idempotency.Replay):
        return Made(int(claim.response), None)
    if await keys.count_active(conn, user_id) >= keys.ACTIVE_PER_USER_MAX:
        await idempotency.release(conn, key)
        return None
    at = SystemClock().now()
    key_id, secret = await keys.create(conn, "user", user_id=user_id, name=name, at=at)
    await idempotency.complete(conn, key, 200, str(key_id).encode())
    return Made(key_id, secret)


async def _again(
    site: Site, request: Request, visitor: Visitor, typed: TypedName, status: int
) -> Response:
    """The account page with what was typed, and why it made no key."""
    async with site.wiring.db.connection() as conn:
        return await account.page(site, request, conn, visitor, typed=typed, status=status)


async def confirm(site: Site, request: Request) -> Response:
    """GET /account/keys/{key_id}/revoke: what revoking means, before it is done."""
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        row = await _own(conn, visitor, request)
    if row.revoked_at is not None:
        return _to_list(row.id)
    values: dict[str, object] = {"line": keyring.key_line(row, SystemClock().now())}
    return pages.render(site, request, "key_revoke.html", values, visitor=visitor)


async def revoke(site: Site, request: Request) -> Response:
    """POST /account/keys/{key_id}/revoke: end the key. A second time changes nothing."""
    async with site.wiring.db.transaction() as conn:
        visitor = await visitors.require(conn, request)
        row = await _own(conn, visitor, request)
        await keys.revoke(conn, row.id, at=SystemClock().now())
    return _to_list(row.id)


async def _own(conn: Connection, visitor: Visitor, request: Request) -> KeyRow:
    """The key of the address, if it is the visitor's. Raises errors.NotFound."""
    key_id = str(request.path_params["key_id"])
    if not _KEY_ID.fullmatch(key_id):
        raise errors.NotFound()
    return await keys.get_own(conn, int(key_id), visitor.user.id)


def _to_list(revoked: int | None = None) -> Response:
    where = LIST if revoked is None else f"/account?revoked={revoked}"
    return RedirectResponse(where, 303, {"cache-control": "no-store"})
