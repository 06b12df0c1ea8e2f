"""The form on the account page that turns a voucher's code into credits.

Owns `/account/voucher`. It leads back to the account, which says what came of it; the form's
one-time key makes a second post, or a reload, find the first one's credits instead of a refusal.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.access import idempotency, limits
from bursar.access.idempotency import Key
from bursar.billing import vouchers
from bursar.db import Connection
from bursar.entrypoints.web import account, forms, visitors
from bursar.entrypoints.web.codes import CODE_LENGTH_MAX, TypedCode
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor

ROUTE = "POST /account/voucher"
LIMIT_SCOPE = "voucher"
NO_STORE = {"cache-control": "no-store"}
_FORM_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


async def to_form(site: Site, request: Request) -> Response:
    """GET /account/voucher: a reload of the page that a refused form left behind starts over."""
    return RedirectResponse("/account#voucher", 303, NO_STORE)


async def redeem(site: Site, request: Request) -> Response:
    """POST /account/voucher: redeem the code for the visitor's own account."""
    fields = await forms.read(request)
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
    form_key = fields.get("key", "")
    if not _FORM_KEY.fullmatch(form_key):
        raise errors.Invalid("This form is incomplete. Open your account again.")
    typed = fields.get("code", "")
    code = vouchers.read_code(typed)
    if not code:
        fault = "Type the code as it stands on the voucher."
        return await _again(site, request, visitor, TypedCode("", fault), 422)
    if len(typed) > CODE_LENGTH_MAX or not code.isprintable():
        fault = "There is no such voucher. Check the code and type it again."
        return await _again(site, request, visitor, TypedCode(typed[:CODE_LENGTH_MAX], fault), 404)
    # The code is part of the key, so that whoever goes back may try another one.
    said = idempotency.hash_request(visitor.user.id.encode(), code.encode())
    key = Key(visitor.actor.principal, ROUTE, f"{form_key}:{code}", said)
    try:
        await _count(site, visitor, key)
        voucher_id = await site.wiring.db.run(lambda conn: _redeem(conn, site, visitor, code, key))
    except (errors.NotFound, errors.Conflict, errors.Throttled) as error:
        status = {errors.NotFound: 404, errors.Throttled: 429}.get(type(error), 409)
        return await _again(site, request, visitor, TypedCode(typed, error.detail), status)
    return RedirectResponse(f"/account?redeemed={voucher_id}", 303, NO_STORE)


async def _redeem(conn: Connection, site: Site, visitor: Visitor, code: str, key: Key) -> int:
    """Redeem once for each form and code; returns the voucher's id."""
    claim = await idempotency.claim(conn, key)
    if isinstance(claim, idempotency.Replay):
        return int(claim.response)
    got = await vouchers.redeem(
        conn,
        code,
        user_id=visitor.user.id,
        customer_id=visitor.user.customer_id,
        at=site.wiring.clock.now(),
    )
    await idempotency.complete(conn, key, 303, str(got.voucher.id).encode())
    return got.voucher.id


async def _count(site: Site, visitor: Visitor, key: Key) -> None:
    """Hold the user to the limit of tries, together with those over the API; repeats are free."""
    async with site.wiring.db.connection() as conn:
        if await idempotency.find_answer(conn, key) is None:
            limit = site.wiring.settings.limit_voucher
            await limits.take(conn, LIMIT_SCOPE, visitor.user.id, limit)


async def _again(
    site: Site, request: Request, visitor: Visitor, code: TypedCode, status: int
) -> Response:
    """The account page with what was typed, and why it gave nothing."""
    async with site.wiring.db.connection() as conn:
        return await account.page(site, request, conn, visitor, code=code, status=status)
