"""The account page: what a customer has, what was paid, and every movement of the balance.

Owns `/account`. It only reads.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from bursar.billing import catalog, payments
from bursar.entrypoints.web import pages, statements, visitors
from bursar.entrypoints.web.pages import Site
from bursar.ledger import balances

PAGE_LENGTH = 25
ID_MAX = 2**63 - 1


async def show(site: Site, request: Request) -> Response:
    """GET /account: balance, payments and ledger of the signed-in user's own customer."""
    now = site.wiring.clock.now()
    payments_before = _cursor(request, "payments")
    entries_before = _cursor(request, "entries")
    async with site.wiring.db.connection() as conn:
        visitor = await visitors.require(conn, request)
        customer_id = visitor.user.customer_id
        units = {unit.name: unit for unit in await catalog.list_units(conn)}
        held = await balances.list_units(conn, customer_id)
        views = [
            statements.balance_view(
                units[name], await balances.balance(conn, customer_id, name, at=now)
            )
            for name in held
            if name in units
        ]
        # One more than is shown tells whether there are older ones.
        paid = await payments.list_payments(
            conn, customer_id, before=payments_before, limit=PAGE_LENGTH + 1
        )
        postings = await balances.list_postings(
            conn, customer_id, unit=None, before=entries_before, limit=PAGE_LENGTH + 1
        )
    lines, unpaid = statements.split_payments(paid[:PAGE_LENGTH], now)
    values: dict[str, object] = {
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
    return pages.render(site, request, "account.html", values, visitor=visitor)


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
