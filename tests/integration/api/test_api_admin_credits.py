"""Credits by hand over HTTP: admins alone, once for each key, bounded, with a line in the log."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_server import Person, assert_problem, make_settings
from bursar.access import audit_log
from bursar.billing import catalog
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.money import AMOUNT_MAX
from worlds import eventually, free_port, serving

GRANTS, ADJUSTMENTS = "/api/admin/credits/grants", "/api/admin/credits/adjustments"
WELL = {"user_id": "ada", "amount": 50, "reason": "goodwill"}
FAR = "2999-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    rated = Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)})  # type: ignore[dict-item]
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("bell", "Bells", 0, {}, {}), rated])


async def post(
    client: httpx.AsyncClient, who: Person, path: str, body: Any, key: str = "k"
) -> httpx.Response:
    headers = {**who.headers, "Idempotency-Key": key}
    return await client.post(path, json=body, headers=headers)


async def balance(client: httpx.AsyncClient, person: Person, unit: str = "credit") -> Any:
    response = await client.get("/user/balance", params={"unit": unit}, headers=person.headers)
    return response.json()


async def count_lines(db: Database) -> int:
    async with db.connection() as conn:
        return len(await audit_log.list_entries(conn, limit=100))


async def test_a_grant_is_there_and_a_repeat_gets_its_answer(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person
) -> None:
    first = await post(client, admin, GRANTS, WELL)
    assert first.status_code == 200, first.text
    told = first.json()
    assert set(told) == {"transaction_id", "customer_id", "unit", "balance"}
    assert (told["unit"], told["balance"]) == ("credit", 50)
    again = await post(client, admin, GRANTS, WELL)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    other = await post(client, admin, GRANTS, {**WELL, "amount": 51})
    assert_problem(other, 422, "idempotency_key_reused")
    there = await balance(client, ada)
    assert (there["customer_id"], there["pools"]["bonus"]) == (told["customer_id"], 50)
    listed = await client.get("/user/transactions", headers=ada.headers)
    [movement] = listed.json()["data"]
    assert (movement["type"], movement["description"]) == ("bonus", "goodwill")
    assert await count_lines(db) == 1


async def test_an_answer_names_the_unit_that_was_meant_then(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person
) -> None:
    first = await post(client, admin, GRANTS, WELL)
    rate = {"usd": 1}
    async with db.transaction() as conn:
        await catalog.put_units(
            conn,
            [
                Unit("bell", "Bells", 0, rate, {"usd": (500, 5000)}),  # type: ignore[arg-type]
                Unit("credit", "Credits", 0, {}, {}),
            ],
        )
    again = await post(client, admin, GRANTS, WELL)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_adjustments_go_both_ways_and_never_below_nothing(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person
) -> None:
    up = await post(client, admin, ADJUSTMENTS, {**WELL, "unit": "bell"}, "up")
    customer_id = up.json()["customer_id"]
    body = {"customer_id": customer_id, "unit": "bell", "amount": -20, "reason": "sold twice"}
    assert (await post(client, admin, ADJUSTMENTS, body, "down")).json()["balance"] == 30
    too_much = await post(client, admin, ADJUSTMENTS, {**body, "amount": -31}, "more")
    assert_problem(too_much, 402, "insufficient_credits")
    # A refusal leaves the key free.
    assert (await post(client, admin, ADJUSTMENTS, body, "more")).json()["balance"] == 10
    assert (await balance(client, ada, "bell"))["pools"]["purchased"] == 10
    assert await count_lines(db) == 3
    async with db.connection() as conn:
        assert await audit(conn) == []


@pytest.mark.parametrize("path", [GRANTS, ADJUSTMENTS])
async def test_only_an_admin_may_and_only_with_a_key(
    client: httpx.AsyncClient, ada: Person, service: Person, admin: Person, path: str
) -> None:
    assert_problem(await client.post(path, json=WELL), 401, "unauthenticated")
    for person in (ada, service):
        assert_problem(await post(client, person, path, WELL), 403, "forbidden")
    without = await client.post(path, json=WELL, headers=admin.headers)
    assert_problem(without, 400, "idempotency_key_required")


@pytest.mark.parametrize("path", [GRANTS, ADJUSTMENTS])
@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": AMOUNT_MAX + 1},
        {"amount": 1.5},
        {"amount": "5"},
        {"amount": None},
        {"reason": None},
        {"reason": ""},
        {"reason": "x" * 501},
        {"reason": "two\nlines"},
        {"user_id": None},
        {"customer_id": 1},
        {"user_id": "x" * 129},
        {"unit": "No Unit"},
        {"unit": "nothing"},
        {"pool": "plan"},
    ],
)
@pytest.mark.usefixtures("ada")
async def test_what_can_not_be_is_refused(
    client: httpx.AsyncClient, db: Database, admin: Person, path: str, change: dict[str, Any]
) -> None:
    response = await post(client, admin, path, {**WELL, **change})
    assert response.status_code == 422, response.text
    assert await count_lines(db) == 0


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-30",
        "2026-11-30T12:00:00",
        "2026-02-30T12:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "1999-12-31T23:59:59Z",
        "2001-01-01T00:00:00Z",
        "2026-11-30T12:00:00+99:00",
        "tomorrow",
        "",
        4070908800,
        True,
    ],
)
async def test_times_that_are_none_or_have_passed_are_refused(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person, time: Any
) -> None:
    response = await post(client, admin, GRANTS, {**WELL, "expires_at": time})
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["field"] == "expires_at"
    assert await count_lines(db) == 0


async def test_an_end_may_be_written_in_any_zone_and_is_listed(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person
) -> None:
    same = ("2999-01-01T00:00:00Z", "2999-01-01t02:00:00.000000000+02:00")
    for number, time in enumerate(same):
        given = await post(client, admin, GRANTS, {**WELL, "expires_at": time}, f"k{number}")
        assert given.status_code == 200, given.text
    async with db.connection() as conn:
        ends = await conn.fetch(
            "select distinct expires_at from ledger_accounts where pool='bonus'"
        )
        due = await conn.fetch("select due_at from timers where kind = 'credits.expire'")
    assert len(ends) == 1
    assert {row["due_at"] for row in due} == {ends[0]["expires_at"]}
    assert len(due) == 2


@pytest.mark.parametrize("path", [GRANTS, ADJUSTMENTS])
async def test_nobody_there_is_not_found(
    client: httpx.AsyncClient, db: Database, admin: Person, path: str
) -> None:
    bare = {"amount": 5, "reason": "x"}
    for named in ({"user_id": "eve"}, {"customer_id": 999_999}, {"customer_id": 2**63 - 1}):
        assert_problem(await post(client, admin, path, {**bare, **named}), 404, "not_found")
    house = await post(client, admin, path, {**bare, "customer_id": 0})
    assert house.status_code == 422
    assert await count_lines(db) == 0


async def test_killed_while_an_end_is_written_it_is_written_once(
    db: Database, database_url: str, admin: Person, ada: Person
) -> None:
    settings = make_settings(database_url, port=free_port(), public_url="", sandbox=True)
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as client:
        with serving(settings, crash_at="credits.after_expiry") as dying:
            soon = (SystemClock().now() + timedelta(seconds=3)).isoformat()
            given = await post(client, admin, GRANTS, {**WELL, "expires_at": soon})
            assert given.json()["balance"] == 50
            assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        async with db.connection() as conn:
            assert await conn.fetchval("select count(*) from ledger_postings") == 1
        with serving(settings):
            assert (await balance(client, ada))["balance"] == 0

            async def written() -> bool:
                async with db.connection() as conn:
                    waiting = "select count(*) from timers where kind = 'credits.expire'"
                    return await conn.fetchval(waiting) == 0

            await eventually(written)
    async with db.connection() as conn:
        rows = await conn.fetch("select type, amount from ledger_postings order by id")
        assert await audit(conn) == []
    assert [tuple(row) for row in rows] == [("bonus", 50), ("expiry", -50)]
