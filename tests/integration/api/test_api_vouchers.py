"""Vouchers over HTTP: made and ended by admins, redeemed once by users, hard to guess."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api_server import NOW, Person, assert_problem, make_key, make_settings
from bursar.access import audit_log
from bursar.billing import catalog, customers, vouchers
from bursar.billing.catalog import Unit
from bursar.billing.vouchers import NewVoucher
from bursar.checks.audit import audit
from bursar.clock import SystemClock
from bursar.db import Database
from worlds import free_port, serving

VOUCHERS, REDEEM = "/api/admin/vouchers", "/api/vouchers/redeem"


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    rated = Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)})  # type: ignore[dict-item]
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("bell", "Bells", 0, {}, {}), rated])


@pytest.fixture
async def free(make_server: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server without a limit of tries."""
    server = make_server(limit_voucher="off")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


async def make(client: httpx.AsyncClient, admin: Person, **body: Any) -> dict[str, Any]:
    response = await client.post(VOUCHERS, json={"credits": 20, **body}, headers=admin.headers)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def redeem(
    client: httpx.AsyncClient, who: Person, code: str, key: str | None = None, **headers: str
) -> httpx.Response:
    sent = {**who.headers, **headers, **({"Idempotency-Key": key} if key else {})}
    return await client.post(REDEEM, json={"code": code}, headers=sent)


async def actions(db: Database) -> list[tuple[str, str]]:
    """Action and subject of each line of the audit log, the oldest first."""
    async with db.connection() as conn:
        rows = await audit_log.list_entries(conn, limit=100)
    return [(row.action, row.subject) for row in reversed(rows)]


async def test_a_voucher_is_made_listed_redeemed_and_ended(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person, bob: Person
) -> None:
    made = await make(client, admin, code="spring-2026", unit="bell", description="Spring sale")
    assert (made["code"], made["unit"], made["uses"], made["active"]) == (
        "SPRING-2026",
        "bell",
        0,
        True,
    )
    got = await redeem(client, ada, " spring 2026")
    assert got.status_code == 200, got.text
    told = got.json()
    assert told == {
        "voucher_id": made["id"],
        "unit": "bell",
        "credits": 20,
        "expires_at": None,
        "transaction_id": told["transaction_id"],
        "balance": 20,
    }
    listed = (await client.get(VOUCHERS, headers=admin.headers)).json()
    assert listed == {"data": [{**made, "uses": 1}], "next_cursor": None}
    [movement] = (await client.get("/user/transactions", headers=ada.headers)).json()["data"]
    assert (movement["id"], movement["type"]) == (told["transaction_id"], "bonus")
    for _ in range(2):
        ended = await client.delete(f"{VOUCHERS}/{made['id']}", headers=admin.headers)
        assert ended.json() == {**made, "uses": 1, "active": False}
    assert_problem(await redeem(client, bob, "SPRING-2026"), 404, "not_found")
    subject = f"voucher:{made['id']}"
    assert await actions(db) == [("voucher.created", subject), ("voucher.ended", subject)]


async def test_lists_go_on_by_cursor(client: httpx.AsyncClient, admin: Person) -> None:
    made = [await make(client, admin) for _ in range(5)]
    seen: list[int] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await client.get(VOUCHERS, params=query, headers=admin.headers)).json()
        seen += [voucher["id"] for voucher in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [voucher["id"] for voucher in reversed(made)]


async def test_refusals_say_which_they_are(
    client: httpx.AsyncClient, admin: Person, ada: Person, bob: Person
) -> None:
    await make(client, admin, code="ONCE", uses_max=1)
    await make(client, admin, code="LATER", starts_at="2998-01-01T00:00:00Z")
    await make(client, admin, code="BOBS", user_id="bob")
    assert (await redeem(client, ada, "ONCE")).status_code == 200
    assert_problem(await redeem(client, ada, "ONCE"), 409, "voucher_redeemed")
    assert_problem(await redeem(client, bob, "ONCE"), 409, "voucher_used_up")
    assert_problem(await redeem(client, ada, "LATER"), 409, "voucher_not_valid")
    others = await redeem(client, ada, "BOBS")
    unknown = await redeem(client, ada, "NOTHING")
    bodies = [
        {**assert_problem(one, 404, "not_found"), "request_id": ""} for one in (others, unknown)
    ]
    assert bodies[0] == bodies[1]
    assert (await redeem(client, bob, "BOBS")).status_code == 200


async def test_a_key_replays_its_answer_and_refuses_another_body(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person
) -> None:
    await make(client, admin, code="FIRST", uses_max=1)
    await make(client, admin, code="SECOND")
    first = await redeem(client, ada, "FIRST", "k")
    again = await redeem(client, ada, "FIRST", "k")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert_problem(await redeem(client, ada, "SECOND", "k"), 422, "idempotency_key_reused")
    assert_problem(await redeem(client, ada, "FIRST", "k2"), 409, "voucher_redeemed")


async def test_a_refused_key_is_free_for_the_next_try(
    client: httpx.AsyncClient, admin: Person, ada: Person
) -> None:
    assert_problem(await redeem(client, ada, "COMING", "k"), 404, "not_found")
    await make(client, admin, code="COMING")
    assert (await redeem(client, ada, "COMING", "k")).status_code == 200


async def test_a_created_voucher_is_replayed_and_never_made_twice(
    client: httpx.AsyncClient, db: Database, admin: Person
) -> None:
    headers = {**admin.headers, "Idempotency-Key": "k"}
    told = await asyncio.gather(
        *(client.post(VOUCHERS, json={"credits": 5}, headers=headers) for _ in range(5))
    )
    assert {(one.status_code, one.content) for one in told} == {(200, told[0].content)}
    assert len(await actions(db)) == 1
    taken = {"credits": 5, "code": told[0].json()["code"].replace("-", "")}
    again = await client.post(VOUCHERS, json=taken, headers=admin.headers)
    assert_problem(again, 409, "voucher_exists")
    assert len(await actions(db)) == 1


async def test_fifty_users_race_for_the_last_use(
    free: httpx.AsyncClient, db: Database, admin: Person, service: Person
) -> None:
    made = await make(free, admin, code="LAST", uses_max=1)
    told = await asyncio.gather(
        *(redeem(free, service, "LAST", **{"Bursar-User": f"u{n}"}) for n in range(50))
    )
    codes = Counter(one.json().get("code", one.status_code) for one in told)
    assert codes == {200: 1, "voucher_used_up": 49}
    [listed] = (await free.get(VOUCHERS, headers=admin.headers)).json()["data"]
    assert listed["uses"] == 1
    # A service acts here for somebody else, so it stands in the log; the refused ones don't.
    subject = f"voucher:{made['id']}"
    assert await actions(db) == [("voucher.created", subject), ("voucher.redeemed", subject)]
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_one_user_twenty_times_at_once_gets_it_once(
    free: httpx.AsyncClient, db: Database, admin: Person, ada: Person
) -> None:
    await make(free, admin, code="MINE")
    told = await asyncio.gather(*(redeem(free, ada, "MINE", f"k{n}") for n in range(20)))
    codes = Counter(one.json().get("code", one.status_code) for one in told)
    assert codes == {200: 1, "voucher_redeemed": 19}
    balance = await free.get("/user/balance", headers=ada.headers)
    assert balance.json()["balance"] == 20
    same = await asyncio.gather(*(redeem(free, ada, "MINE", "k") for _ in range(5)))
    assert {one.status_code for one in same} == {409}
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_one_key_in_parallel_gets_one_answer(
    free: httpx.AsyncClient, admin: Person, ada: Person
) -> None:
    await make(free, admin, code="SAME")
    told = await asyncio.gather(*(redeem(free, ada, "SAME", "k") for _ in range(20)))
    assert {(one.status_code, one.content) for one in told} == {(200, told[0].content)}


@pytest.mark.parametrize("point", ["vouchers.after_count", "vouchers.after_use"])
async def test_killed_while_redeeming_nothing_stands_and_the_retry_gives_once(
    db: Database, database_url: str, ada: Person, point: str
) -> None:
    at = SystemClock().now()
    async with db.transaction() as conn:
        wanted = NewVoucher(unit="credit", credits=20, code="LAST", uses_max=1, credits_days=7)
        voucher = await vouchers.create(conn, wanted, at=at)
    settings = make_settings(database_url, port=free_port(), public_url="", sandbox=True)
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as client:
        with serving(settings, with_worker=False, crash_at=point) as dying:
            with pytest.raises(httpx.TransportError):
                await redeem(client, ada, "LAST", "k")
            assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        async with db.connection() as conn:
            assert (await vouchers.get_voucher(conn, voucher.id)).uses == 0
            assert await conn.fetchval("select count(*) from ledger_postings") == 0
        with serving(settings, with_worker=False):
            first, again = [await redeem(client, ada, "LAST", "k") for _ in range(2)]
    assert (first.status_code, first.content) == (200, again.content)
    assert first.json()["balance"] == 20
    async with db.connection() as conn:
        assert await audit(conn) == []


async def test_tries_are_limited_for_each_user_and_replays_are_not(
    make_server: Any, admin: Person, ada: Person, bob: Person
) -> None:
    server = make_server(limit_voucher="3/1h")
    async with httpx.AsyncClient(base_url=server.url) as client:
        await make(client, admin, code="REAL")
        assert (await redeem(client, ada, "REAL", "k")).status_code == 200
        for guess in ("AAAA", "BBBB"):
            assert_problem(await redeem(client, ada, guess), 404, "not_found")
        stopped = await redeem(client, ada, "CCCC")
        assert_problem(stopped, 429, "rate_limited")
        assert int(stopped.headers["retry-after"]) > 3000
        assert_problem(await redeem(client, ada, "REAL"), 429, "rate_limited")
        assert (await redeem(client, ada, "REAL", "k")).status_code == 200
        assert (await redeem(client, bob, "REAL")).status_code == 200


async def test_a_member_redeems_for_the_team(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person, bob: Person
) -> None:
    await make(client, admin, code="TEAM", credits_days=7)
    async with db.transaction() as conn:
        team = await customers.make_team(conn, "ada", "Team", at=NOW)
    got = await redeem(client, ada, "TEAM", **{"Bursar-Customer": str(team)})
    assert got.status_code == 200, got.text
    assert got.json()["expires_at"].endswith("Z")
    theirs = await client.get(
        "/user/balance", headers={**ada.headers, "Bursar-Customer": str(team)}
    )
    own = await client.get("/user/balance", headers=ada.headers)
    assert (theirs.json()["balance"], own.json()["balance"]) == (20, 0)
    foreign = await redeem(client, bob, "TEAM", **{"Bursar-Customer": str(team)})
    assert_problem(foreign, 404, "not_found")


async def test_who_may_what(
    client: httpx.AsyncClient, db: Database, admin: Person, ada: Person, service: Person
) -> None:
    for who in (ada, service):
        for method, path in (("POST", VOUCHERS), ("GET", VOUCHERS), ("DELETE", f"{VOUCHERS}/1")):
            refused = await client.request(method, path, headers=who.headers)
            assert_problem(refused, 403, "forbidden")
    assert_problem(await redeem(client, admin, "ANY1"), 403, "forbidden")
    for voucher_id in ("999", "x", "-1", "9" * 30):
        gone = await client.delete(f"{VOUCHERS}/{voucher_id}", headers=admin.headers)
        assert_problem(gone, 404, "not_found")
    stranger = Person("", await make_key(db, "service"))
    assert_problem(await redeem(client, stranger, "ANY1"), 422, "validation_error")


@pytest.mark.parametrize(
    "change",
    [
        {"credits": 0},
        {"credits": 10**12 + 1},
        {"credits": "5"},
        {"credits": None},
        {"code": "ab1"},
        {"code": "A---"},
        {"code": "-ABCD"},
        {"code": "CAF\u00c9S"},
        {"code": "A" * 41},
        {"uses_max": 0},
        {"uses_max": 2**31},
        {"user_id": ""},
        {"starts_at": "2998-01-02T00:00:00Z", "ends_at": "2998-01-02T00:00:00Z"},
        {"ends_at": "2001-01-01T00:00:00Z"},
        {"ends_at": "soon"},
        {"credits_days": 0},
        {"credits_days": 3661},
        {"description": "x" * 501},
        {"unit": "nothing"},
        {"uses": 3},
    ],
)
async def test_what_can_not_be_is_refused(
    client: httpx.AsyncClient, db: Database, admin: Person, change: dict[str, Any]
) -> None:
    body = {"credits": 20, **change}
    response = await client.post(VOUCHERS, json=body, headers=admin.headers)
    assert response.status_code == 422, response.text
    assert await actions(db) == []


async def test_a_voucher_for_nobody_is_not_made(client: httpx.AsyncClient, admin: Person) -> None:
    body = {"credits": 20, "user_id": "eve"}
    refused = await client.post(VOUCHERS, json=body, headers=admin.headers)
    assert_problem(refused, 404, "not_found")


@pytest.mark.parametrize("code", ["", "x" * 101, "a\tb", None, 7])
async def test_a_code_is_a_short_line(client: httpx.AsyncClient, ada: Person, code: Any) -> None:
    assert (await redeem(client, ada, code)).status_code == 422


@pytest.mark.parametrize(
    "code", ["%", "'", "\u2028", "\u00df\u00df\u00df\u00df", "--", "\U0001f381"]
)
async def test_an_odd_code_is_unknown(client: httpx.AsyncClient, ada: Person, code: str) -> None:
    response = await redeem(client, ada, code)
    assert response.status_code in (404, 422), response.text
