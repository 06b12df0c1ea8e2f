"""The account page: what a customer has, what was paid, every movement, the user's teams and keys.

Owns `/account`. It only reads.
"""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.access import keys
from bursar.billing import catalog, entitlements, payments, plan_terms, reversals, vouchers
from bursar.clock import SystemClock
from bursar.db import Connection
from bursar.entrypoints.web import (
    codes,
    keyring,
    pages,
    plan_lines,
    statements,
    subscriptions,
    teams,
    visitors,
)
from bursar.entrypoints.web.codes import TypedCode
from bursar.entrypoints.web.keyring import TypedName
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.ledger import balances

PAGE_LENGTH = 25
ID_MAX = 2**63 - 1
NOTHING_TYPED = TypedName()
NO_CODE = TypedCode()
ENDINGS_MAX = 20


async def show(site: Site, request: Request) -> Response:
    """GET /account: balance, payments, ledger and keys of the signed-in user."""
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        return await page(site, request, conn, visitor)


async def page(
    site: Site,
    request: Request,
    conn: Connection,
    visitor: Visitor,
    *,
    typed: TypedName = NOTHING_TYPED,
    code: TypedCode = NO_CODE,
    status: int = 200,
) -> Response:
    """The account of `visitor`, with the name `typed` for a new key, or the voucher's `code`, where
    one was refused."""
    values: dict[str, object] = {
        **await _money(site, request, conn, visitor.user.customer_id),
        **await teams.section(
            conn, visitor.user.id, _cursor(request, "joined"), at=site.wiring.clock.now()
        ),
        **await _plans(site, conn, visitor.user.customer_id),
        **await subscriptions.section(site, request, conn, visitor),
        **await _keys(request, conn, visitor.user.id),
        "typed": typed,
        "code": code,
        "code_length_max": codes.CODE_LENGTH_MAX,
        "gain": await _gain(site, request, conn, visitor.user.id),
    }
    return pages.render(
        site,
        request,
        "account.html",
        values,
        visitor=visitor,
        status=status,
        ways_out=subscriptions.ways_out(site),
    )


async def _money(
    site: Site, request: Request, conn: Connection, customer_id: int
) -> dict[str, object]:
    """The user's own customer: balances, payments with what went back, movements."""
    now = site.wiring.clock.now()
    payments_before = _cursor(request, "payments")
    entries_before = _cursor(request, "entries")
    units = {unit.name: unit for unit in await catalog.list_units(conn)}
    held = await balances.list_units(conn, customer_id)
    ending = await balances.list_ending(conn, customer_id, at=now, limit=ENDINGS_MAX)
    views = [
        statements.balance_view(
            units[name],
            await balances.balance(conn, customer_id, name, at=now),
            statements.ending_line(units[name], ending, now),
        )
        for name in held
        if name in units
    ]
    # One more than is shown tells whether there are older ones.
    paid = await payments.list_payments(
        conn, customer_id, before=payments_before, limit=PAGE_LENGTH + 1
    )
    shown = paid[:PAGE_LENGTH]
    returned = await reversals.list_for_payments(conn, customer_id, [p.id for p in shown])
    postings = await balances.list_postings(
        conn, customer_id, unit=None, before=entries_before, limit=PAGE_LENGTH + 1
    )
    lines, unpaid = statements.split_payments(shown, returned, now)
    return {
        "balances": views,
        "payments": lines,
        "unpaid": unpaid,
        "entries": [
            statements.ledger_line(posting, units, now) for posting in postings[:PAGE_LENGTH]
        ],
        "payments_newest": _link(payments=None, entries=entries_before),
        "payments_older": _older(paid, "payments", entries_before),
        "entries_newest": _link(payments=payments_before, entries=None),
        "entries_older": _older(postings, "entries", payments_before),
        "payments_first": payments_before is None,
        "entries_first": entries_before is None,
        "many_units": len(held) > 1,
    }


async def _plans(site: Site, conn: Connection, customer_id: int) -> dict[str, object]:
    """The plans that were bought for some months, and all that the customer is entitled to."""
    now = site.wiring.clock.now()
    plans = []
    for stretch in plan_lines.stretches(await plan_terms.list_terms(conn, customer_id), now):
        bought = await payments.get_payment(conn, customer_id, stretch[0].payment_id)
        name = plan_lines.plan_name(str(bought.snapshot["name"]))
        plans.append(plan_lines.plan_line(stretch, name, now))
    found = await entitlements.list_for(conn, customer_id, at=now)
    ends = await entitlements.list_ends(conn, customer_id, found, at=now)
    return {"plans": plans, "features": plan_lines.feature_lines(found, ends, now)}


async def _keys(request: Request, conn: Connection, user_id: str) -> dict[str, object]:
    """The user's keys, the form's one-time key, and the name of a key revoked just now."""
    now = SystemClock().now()
    rows = await keys.list_own(conn, user_id, limit=keyring.LISTED_MAX)
    return {
        "keys": keyring.keyring(rows, now),
        "keys_full": keyring.FULL,
        "name_length_max": keyring.NAME_LENGTH_MAX,
        "form_key": uuid4().hex,
        "revoked": await _revoked(request, conn, user_id),
    }


async def _revoked(request: Request, conn: Connection, user_id: str) -> str:
    """The name of the key that the address says was revoked, if it is the user's and was."""
    key_id = _cursor(request, "revoked")
    if key_id is None:
        return ""
    try:
        row = await keys.get_own(conn, key_id, user_id)
    except errors.NotFound:
        return ""
    return keyring.key_line(row, SystemClock().now()).name if row.revoked_at else ""


async def _gain(site: Site, request: Request, conn: Connection, user_id: str) -> codes.Gain | None:
    """What the voucher gave that the address says was redeemed, if the user did redeem it."""
    voucher_id = _cursor(request, "redeemed")
    use = None if voucher_id is None else await vouchers.find_use(conn, voucher_id, user_id)
    if use is None:
        return None
    units = {unit.name: unit for unit in await catalog.list_units(conn)}
    return codes.gain(use, units, site.wiring.clock.now())


def _cursor(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return min(int(text), ID_MAX)


def _older(
    rows: list[payments.Payment] | list[balances.PostingRow], name: str, other: int | None
) -> str | None:
    """The link to what is older than the last row shown; None when there is nothing older."""
    if len(rows) <= PAGE_LENGTH:
        return None
    last = rows[PAGE_LENGTH - 1].id
    return (
        _link(payments=last, entries=other)
        if name == "payments"
        else _link(payments=other, entries=last)
    )


def _link(*, payments: int | None, entries: int | None) -> str:
    query = {"payments": payments, "entries": entries}
    kept = {name: str(value) for name, value in query.items() if value is not None}
    return f"/account?{urlencode(kept)}" if kept else "/account"
