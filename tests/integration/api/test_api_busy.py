"""The busiest addresses: the short way to them, and callers who are looked up together."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.routing import Match, Route

from api_server import Person, assert_problem
from bursar.billing import catalog
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.db import Database
from bursar.entrypoints.api import addresses
from bursar.entrypoints.api.shortcuts import find_shortcuts
from bursar.providers.port import PROVIDER_NAMES

USE = "/api/credits/use"

OWNERS = """
select c.user_id, count(*) as customers, min(m.role) as role
from customers c join members m on m.customer_id = c.id and m.user_id = c.user_id
where c.user_id like 'new-%' group by c.user_id order by c.user_id
"""


@pytest.fixture
async def unit(db: Database) -> None:
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("credit", "Credits", 0, {}, {})])


async def use(client: httpx.AsyncClient, user_id: str, key: str, **headers: str) -> httpx.Response:
    sent = {"Bursar-User": user_id, "Idempotency-Key": key, **headers}
    return await client.post(USE, json={"amount": 1, "unit": "credit"}, headers=sent)


def test_a_short_way_leads_where_the_router_leads() -> None:
    async def webhooks(scope: object, receive: object, send: object) -> None: ...

    async def uses(scope: object, receive: object, send: object) -> None: ...

    addresses.register()
    routes = [
        Route("/api/{provider:provider}/webhook", webhooks, methods=["POST"]),
        Route(USE, uses, methods=["POST"]),
    ]
    found = find_shortcuts(routes, PROVIDER_NAMES)
    assert set(found) == {USE, *(f"/api/{name}/webhook" for name in PROVIDER_NAMES)}
    for path, shortcut in found.items():
        scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        matches = [(route, *route.matches(scope)) for route in routes]
        [(route, child)] = [(r, child) for r, match, child in matches if match == Match.FULL]
        assert route.app is shortcut.endpoint
        assert child["path_params"] == shortcut.path_params


@pytest.mark.usefixtures("unit")
async def test_users_seen_first_at_the_same_time_are_each_made_once(
    client: httpx.AsyncClient, db: Database, service: Person
) -> None:
    names = [f"new-{number:02}" for number in range(20)] * 3
    answers = await asyncio.gather(
        *(use(client, name, f"k{n}", **service.headers) for n, name in enumerate(names))
    )
    for answer in answers:
        assert_problem(answer, 402, "insufficient_credits")
    async with db.connection() as conn:
        rows = [tuple(row) for row in await conn.fetch(OWNERS)]
        assert await audit(conn) == []
    assert rows == [(name, 1, "owner") for name in sorted(set(names))]


@pytest.mark.usefixtures("unit")
async def test_one_bad_name_among_users_seen_first_spoils_no_other(
    client: httpx.AsyncClient, service: Person
) -> None:
    names = ["new-1", "", "new-2", "x" * 129, "new-3"]
    answers = await asyncio.gather(
        *(use(client, name, f"k{n}", **service.headers) for n, name in enumerate(names))
    )
    assert [answer.status_code for answer in answers] == [402, 422, 402, 422, 402]
