"""Lists: newest first, by cursor, with the filters that Stripe documents. Never writes."""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import records
from bursar_sandbox.stripe.call import Call
from bursar_sandbox.stripe.errors import StripeError, no_such
from bursar_sandbox.stripe.params import Params

PAGING = "limit starting_after ending_before created"
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Query:
    """The conditions of a list, gathered one by one."""

    __slots__ = ("conditions", "kind", "values")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.conditions = ["object = ?", "deleted = 0"]
        self.values: list[Any] = [kind]

    def add(self, condition: str, *values: Any) -> None:
        """One more condition, as SQL with its values."""
        self.conditions.append(condition)
        self.values.extend(values)

    def one_of(self, column: str, values: list[str]) -> None:
        """The column has one of `values`."""
        self.add(f"{column} IN ({', '.join('?' * len(values))})", *values)

    def equal(self, params: Params, *names: str) -> None:
        """Filter by each text parameter that was given."""
        columns = records.filters_of(self.kind)
        for name in names:
            value = params.text(name)
            if value is not None:
                # The path is one of our own words, never a caller's.
                self.add(f"{columns.get(name) or f'''body ->> '$.{name}' '''} = ?", value)

    def flag(self, params: Params, *names: str) -> None:
        """Filter by each boolean parameter that was given."""
        for name in names:
            if params.given(name):
                self.add(f"body ->> '$.{name}' = ?", int(params.boolean(name)))

    def created(self, params: Params) -> None:
        """Filter by `created`: a time, or bounds."""
        if not params.given("created"):
            return
        if isinstance(params.fields["created"], str):
            self.add("created = ?", params.integer("created"))
            return
        bounds = params.table("created")
        if bounds is not None:
            bounds.allow(_BOUNDS)
            for name in bounds.fields:
                self.add(f"created {_BOUNDS[name]} ?", bounds.need_integer(name))


def page(call: Call, query: Query, url: str | None = None) -> dict[str, Any]:
    """The list object that the call asks for."""
    params = call.params
    query.created(params)
    limit = params.integer("limit", low=1, high=100) or 10
    after, before = params.text("starting_after"), params.text("ending_before")
    if after and before:
        raise StripeError(
            "You cannot use both `starting_after` and `ending_before` at the same time.",
            code="parameters_exclusive",
            param="ending_before",
        )
    if after:
        query.add("seq < ?", _place(call.tx, query.kind, after, "starting_after"))
    if before:
        query.add("seq > ?", _place(call.tx, query.kind, before, "ending_before"))
    order = "ASC" if before else "DESC"
    rows = call.tx.execute(
        f"SELECT body FROM objects WHERE {' AND '.join(query.conditions)}"  # noqa: S608
        f" ORDER BY seq {order} LIMIT ?",
        (*query.values, limit + 1),
    ).fetchall()
    data = [orjson.loads(row[0]) for row in rows[:limit]]
    if before:
        data.reverse()
    return {
        "object": "list",
        "data": data,
        "has_more": len(rows) > limit,
        "url": url or call.path,
    }


def page_of(call: Call, items: list[dict[str, Any]], word: str) -> dict[str, Any]:
    """The list object that the call asks for, out of items that are at hand in their order.

    `word` is what Stripe calls one of them. Raises StripeError for a cursor that is none of them.
    """
    params = call.params
    limit = params.integer("limit", low=1, high=100) or 10
    ids = [item["id"] for item in items]
    start, stop = 0, len(items)
    for name in ("starting_after", "ending_before"):
        cursor = params.text(name)
        if cursor is not None and cursor not in ids:
            raise no_such(word, cursor, name)
    if params.given("starting_after"):
        start = ids.index(params.need_text("starting_after")) + 1
    if params.given("ending_before"):
        stop = ids.index(params.need_text("ending_before"))
        start = max(start, stop - limit)
    return {
        "object": "list",
        "data": items[start : min(stop, start + limit)],
        "has_more": start + limit < stop or (params.given("ending_before") and start > 0),
        "url": call.path,
    }


def _place(tx: Transaction, kind: str, object_id: str, param: str) -> int:
    row = tx.execute(
        "SELECT seq FROM objects WHERE id = ? AND object = ?", (object_id, kind)
    ).fetchone()
    if row is None:
        raise no_such(kind, object_id, param)
    return int(row[0])
