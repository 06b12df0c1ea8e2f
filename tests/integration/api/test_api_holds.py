"""Credits reserved over HTTP, settled for what the work took, or given back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api_server import NOW, Person, Server, assert_problem, make_settings
from bursar.billing import catalog, customers
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from worlds import eventually, free_port, serving

PATH = "/api/credits/holds"


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    """Two units, of which only `credit` has a rate."""
    rated = Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)})  # type: ignore[dict-item]
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("bell", "Bells", 0, {}, {}), rated])


async def customer_of(db: Database, user_id: str) -> int:
    async with db.connection() as conn:
        return (await customers.ensure_user(conn, user_id, at=NOW)).customer_id


async def post(db: Database, customer_id: int, amount: int, **fields: Any) -> None:
    """Purchased credits without a payment, or what `fields` say."""
    async with db.transaction() as conn:
        number = await conn.fetchval("select count(*) from ledger_causes")
        said = {"unit": "credit", "type": "adjustment", **fields}
        cause = Cause("test", str(number), "test")
        one = Posting(customer_id=customer_id, amount=amount, cause=cause, **said)
        [made] = await entries.post(conn, [one], at=NOW)
    assert made.outcome == "posted"


@pytest.fixture
async def rich(db: Database, ada: Person) -> Person:
    """Ada with a hundred credits."""
    await post(db, await customer_of(db, "ada"), 100)
    return ada


async def reserve(
    client: httpx.AsyncClient, person: Person, key: str, body: Any = None, **headers: str
) -> httpx.Response:
    sent = {**person.headers, "Idempotency-Key": key, **headers}
    return await client.post(PATH, json={"amount": 70} if body is None else body, headers=sent)


async def reserved(client: httpx.AsyncClient, person: Person, **headers: str) -> int:
    response = await reserve(client, person, "open", **headers)
    assert response.status_code == 200, response.text
    number: int = response.json()["hold_id"]
    return number


async def capture(
    client: httpx.AsyncClient, person: Person, hold_id: object, key: str, body: Any = None, **h: str
) -> httpx.Response:
    sent = {**person.headers, "Idempotency-Key": key, **h}
    return await client.post(f"{PATH}/{hold_id}/capture", json=body or {}, headers=sent)


async def release(
    client: httpx.AsyncClient, person: Person, hold_id: object, **headers: str
) -> httpx.Response:
    return await client.delete(f"{PATH}/{hold_id}", headers={**person.headers, **headers})


async def show(
    client: httpx.AsyncClient, person: Person, hold_id: object, **headers: str
) -> httpx.Response:
    return await client.get(f"{PATH}/{hold_id}", headers={**person.headers, **headers})


async def balance(client: httpx.AsyncClient, person: Person) -> tuple[int, int, int]:
    told = (await client.get("/user/balance", headers=person.headers)).json()
    return told["balance"], told["held"], told["owed"]


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []
        assert await conn.fetchval("select count(*) from idempotency_keys") == 0


async def test_a_hold_is_reserved_shown_and_settled(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    body = {"amount": 70, "description": "A film — “Ünï”", "expires_in_seconds": 120}
    response = await reserve(client, rich, "open", body)
    assert response.status_code == 200
    assert "idempotent-replayed" not in response.headers
    held = response.json()
    number, ends = held["hold_id"], datetime.fromisoformat(held["expires_at"])
    assert held == {
        "hold_id": number,
        "status": "held",
        "unit": "credit",
        "amount": 70,
        "captured": 0,
        "balance": 30,
        "expires_at": held["expires_at"],
    }
    left = ends - SystemClock().now()
    assert timedelta(seconds=60) < left <= timedelta(seconds=120)
    assert (await show(client, rich, number)).json() == held
    assert await balance(client, rich) == (30, 70, 0)

    settled = await capture(client, rich, number, "settle", {"amount": 25})
    told = settled.json()
    assert settled.status_code == 200
    assert told == {
        "hold_id": number,
        "status": "settled",
        "captured": 25,
        "returned": 45,
        "transaction_id": told["transaction_id"],
        "balance": 75,
    }
    after = (await show(client, rich, number)).json()
    assert (after["status"], after["captured"], after["balance"]) == ("settled", 25, 75)
    listed = (await client.get("/user/transactions", headers=rich.headers)).json()["data"]
    used = [line for line in listed if line["id"] == told["transaction_id"]]
    assert [(line["type"], line["amount"]) for line in used] == [("usage", -25)]
    assert used[0]["description"] == "A film — “Ünï”"
    await assert_clean(db)


async def test_without_an_amount_all_of_it_is_settled(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    number = await reserved(client, rich)
    told = (await capture(client, rich, number, "settle")).json()
    assert (told["captured"], told["returned"], told["balance"]) == (70, 0, 30)
    await assert_clean(db)


async def test_a_hold_without_a_time_lasts_an_hour(client: httpx.AsyncClient, rich: Person) -> None:
    held = (await reserve(client, rich, "open")).json()
    left = datetime.fromisoformat(held["expires_at"]) - SystemClock().now()
    assert timedelta(minutes=58) < left <= timedelta(hours=1)


async def test_what_the_balance_does_not_cover_is_402_and_leaves_the_key_free(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    refused = await reserve(client, rich, "open", {"amount": 101})
    assert "100" in assert_problem(refused, 402, "insufficient_credits")["detail"]
    assert_problem(
        await reserve(client, rich, "b", {"amount": 1, "unit": "bell"}), 402, "insufficient_credits"
    )
    await post(db, await customer_of(db, "ada"), 1)
    assert (await reserve(client, rich, "open", {"amount": 101})).status_code == 200
    await assert_clean(db)


async def test_one_key_in_parallel_reserves_once_and_settles_once(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    opened = await asyncio.gather(*(reserve(client, rich, "open") for _ in range(30)))
    assert {response.status_code for response in opened} == {200}
    assert len({response.content for response in opened}) == 1
    replayed = [response.headers.get("idempotent-replayed") for response in opened]
    assert (replayed.count("true"), replayed.count(None)) == (29, 1)
    number = opened[0].json()["hold_id"]
    settled = await asyncio.gather(
        *(capture(client, rich, number, "settle", {"amount": 20}) for _ in range(30))
    )
    assert {response.status_code for response in settled} == {200}
    assert len({response.content for response in settled}) == 1
    replayed = [response.headers.get("idempotent-replayed") for response in settled]
    assert (replayed.count("true"), replayed.count(None)) == (29, 1)
    assert await balance(client, rich) == (80, 0, 0)
    again = await reserve(client, rich, "open")
    assert again.content == opened[0].content
    await assert_clean(db)


async def test_thirty_keys_settle_a_hold_once(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    number = await reserved(client, rich)
    settled = await asyncio.gather(
        *(capture(client, rich, number, f"k{n}", {"amount": 20}) for n in range(30))
    )
    assert [response.status_code for response in settled].count(200) == 1
    for response in settled:
        if response.status_code != 200:
            assert_problem(response, 409, "hold_closed")
    assert await balance(client, rich) == (80, 0, 0)
    await assert_clean(db)


async def test_a_key_stands_for_one_request(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    number = await reserved(client, rich)
    other = await reserve(client, rich, "open", {"amount": 30})
    assert_problem(other, 422, "idempotency_key_reused")
    longer = await reserve(client, rich, "open", {"amount": 70, "expires_in_seconds": 60})
    assert_problem(longer, 422, "idempotency_key_reused")
    second = (await reserve(client, rich, "second", {"amount": 30})).json()["hold_id"]
    await capture(client, rich, number, "settle")
    for hold_id, body in ((number, {"amount": 70}), (second, {})):
        again = await capture(client, rich, hold_id, "settle", body)
        assert_problem(again, 422, "idempotency_key_reused")
    assert await balance(client, rich) == (0, 30, 0)


async def test_a_release_gives_all_back_and_may_be_repeated(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    number = await reserved(client, rich)
    first = await release(client, rich, number)
    told = first.json()
    assert first.status_code == 200
    assert (told["status"], told["captured"], told["balance"]) == ("released", 0, 100)
    await post(db, await customer_of(db, "ada"), 1)
    assert (await release(client, rich, number)).content == first.content
    assert_problem(await capture(client, rich, number, "late"), 409, "hold_closed")
    await assert_clean(db)


async def test_a_settled_hold_is_not_released_and_not_settled_again(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    number = await reserved(client, rich)
    first = await capture(client, rich, number, "settle", {"amount": 70})
    assert_problem(await release(client, rich, number), 409, "hold_closed")
    assert_problem(await capture(client, rich, number, "other"), 409, "hold_closed")
    again = await capture(client, rich, number, "settle", {"amount": 70})
    assert (again.status_code, again.content) == (200, first.content)
    await assert_clean(db)


async def test_more_than_is_held_is_refused_and_the_hold_stays(
    client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    number = await reserved(client, rich)
    problem = assert_problem(
        await capture(client, rich, number, "settle", {"amount": 71}), 422, "capture_exceeds_hold"
    )
    assert problem["errors"] == [
        {
            "field": "amount",
            "code": "capture_exceeds_hold",
            "message": "This hold reserves 70",
        }
    ]
    assert (await capture(client, rich, number, "settle", {"amount": 70})).status_code == 200


async def test_a_foreign_hold_looks_like_none(
    client: httpx.AsyncClient, db: Database, rich: Person, bob: Person, service: Person
) -> None:
    number = await reserved(client, rich)
    sent = {"Bursar-User": "bob"}

    def without_id(response: httpx.Response) -> dict[str, Any]:
        problem = assert_problem(response, 404, "not_found")
        del problem["request_id"]
        return problem

    for person, headers in ((bob, {}), (service, sent)):
        for act in (
            lambda which: show(client, person, which, **headers),  # noqa: B023 - called at once
            lambda which: release(client, person, which, **headers),  # noqa: B023
            lambda which: capture(client, person, which, "k", **headers),  # noqa: B023
        ):
            told = [without_id(await act(which)) for which in (number, 10**17, "1" * 19, "x", "-1")]
            assert told == [told[0]] * 5
    assert await balance(client, rich) == (30, 70, 0)


async def test_what_a_service_reserved_the_user_does_not_close(
    client: httpx.AsyncClient, db: Database, rich: Person, service: Person
) -> None:
    sent = {"Bursar-User": "ada"}
    number = await reserved(client, service, **sent)
    assert (await show(client, rich, number)).json()["status"] == "held"
    assert_problem(await release(client, rich, number), 403, "forbidden")
    assert_problem(await capture(client, rich, number, "k", {"amount": 1}), 403, "forbidden")
    settled = await capture(client, service, number, "settle", {"amount": 50}, **sent)
    transaction_id = settled.json()["transaction_id"]
    headers = {**service.headers, **sent, "Idempotency-Key": "back"}
    path = f"/api/credits/uses/{transaction_id}/reverse"
    given = await client.post(path, json={"amount": 20}, headers=headers)
    assert given.json()["balance"] == 70
    await assert_clean(db)


async def test_who_owes_neither_uses_nor_reserves_where_that_is_set(
    make_server: Callable[..., Server], client: httpx.AsyncClient, db: Database, rich: Person
) -> None:
    ada = await customer_of(db, "ada")
    await post(db, ada, 50, type="bonus", pool="bonus", source="gift")
    await post(db, ada, -120, type="refund")
    assert await balance(client, rich) == (50, 0, 20)
    strict = make_server(block_use_while_owing=True)
    async with httpx.AsyncClient(base_url=strict.url) as blocked:
        assert_problem(await reserve(blocked, rich, "h", {"amount": 10}), 402, "credits_owed")
        headers = {**rich.headers, "Idempotency-Key": "u"}
        use = await blocked.post("/api/credits/use", json={"amount": 10}, headers=headers)
        assert_problem(use, 402, "credits_owed")
        await post(db, ada, 20)
        use = await blocked.post("/api/credits/use", json={"amount": 10}, headers=headers)
        assert use.status_code == 200
        assert (await reserve(blocked, rich, "h", {"amount": 10})).status_code == 200
    await post(db, ada, -1, type="refund")
    assert (await reserve(client, rich, "i", {"amount": 10})).status_code == 200
    await assert_clean(db)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -5}, "amount"),
        ({"amount": "5"}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 10**12 + 1}, "amount"),
        ({"amount": 1, "unit": "Not a unit"}, "unit"),
        ({"amount": 1, "description": ""}, "description"),
        ({"amount": 1, "description": "a\nb"}, "description"),
        ({"amount": 1, "expires_in_seconds": 59}, "expires_in_seconds"),
        ({"amount": 1, "expires_in_seconds": 604801}, "expires_in_seconds"),
        ({"amount": 1, "expires_in_seconds": 60.0}, "expires_in_seconds"),
        ({"amount": 1, "expires_in_seconds": None}, "expires_in_seconds"),
        ({"amount": 1, "expires": 60}, "expires"),
    ],
)
async def test_a_hold_that_is_not_valid_is_refused_by_field(
    client: httpx.AsyncClient, rich: Person, body: Any, field: str
) -> None:
    problem = assert_problem(await reserve(client, rich, "k", body), 422, "validation_error")
    assert problem["errors"][0]["field"] == field


async def test_who_may_and_what_must_be_there_is_decided_in_order(
    client: httpx.AsyncClient, rich: Person, service: Person, admin: Person
) -> None:
    number = await reserved(client, rich)
    for path in (PATH, f"{PATH}/{number}/capture"):
        bad = {"content": "{", "headers": {"Content-Type": "application/json"}}
        assert_problem(await client.post(path, **bad), 401, "unauthenticated")
        bad["headers"] |= admin.headers  # type: ignore[operator]
        assert_problem(await client.post(path, **bad), 403, "forbidden")
        bad["headers"] |= rich.headers  # type: ignore[operator]
        assert_problem(await client.post(path, **bad), 400, "idempotency_key_required")
        bad["headers"] |= {"Idempotency-Key": "k"}  # type: ignore[operator]
        assert_problem(await client.post(path, **bad), 400, "json_invalid")
    assert_problem(await client.get(f"{PATH}/{number}"), 401, "unauthenticated")
    assert_problem(await client.delete(f"{PATH}/{number}"), 401, "unauthenticated")
    assert_problem(await release(client, admin, number), 403, "forbidden")
    assert_problem(await show(client, service, number), 422, "validation_error")
    unknown = await reserve(client, rich, "u", {"amount": 1, "unit": "nothing"})
    assert_problem(unknown, 422, "unknown_unit")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["hold.after_post", "hold.after_commit"])
async def test_a_server_that_dies_while_it_reserves_reserves_once(
    database_url: str, db: Database, rich: Person, point: str
) -> None:
    settings = make_settings(database_url, port=free_port(), public_url="", sandbox=True)
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as client:
        with serving(settings, with_worker=False, crash_at=point) as dying:
            with pytest.raises(httpx.TransportError):
                await reserve(client, rich, "open")
            assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        with serving(settings, with_worker=False):
            told = await reserve(client, rich, "open")
            assert told.status_code == 200
            replayed = told.headers.get("idempotent-replayed")
            assert replayed == ("true" if point == "hold.after_commit" else None)
            assert await balance(client, rich) == (30, 70, 0)
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from timers where kind = 'hold.lapse'") == 1
    await assert_clean(db)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["hold.after_close", "hold.after_commit:2"])
async def test_a_server_that_dies_while_it_settles_settles_once(
    database_url: str, db: Database, rich: Person, point: str
) -> None:
    settings = make_settings(database_url, port=free_port(), public_url="", sandbox=True)
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as client:
        with serving(settings, with_worker=False, crash_at=point) as dying:
            number = await reserved(client, rich)
            with pytest.raises(httpx.TransportError):
                await capture(client, rich, number, "settle", {"amount": 20})
            assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        with serving(settings, with_worker=False):
            told = await capture(client, rich, number, "settle", {"amount": 20})
            assert (told.status_code, told.json()["balance"]) == (200, 80)
            assert await balance(client, rich) == (80, 0, 0)
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from timers where kind = 'hold.lapse'") == 0
    await assert_clean(db)


@pytest.mark.timeout(120)
async def test_a_worker_that_dies_while_a_hold_lapses_is_followed_by_the_next(
    database_url: str, db: Database, rich: Person
) -> None:
    settings = make_settings(database_url, port=free_port(), public_url="", sandbox=True)
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as client:
        with serving(settings, crash_at="hold.after_lapse") as dying:
            number = await reserved(client, rich)
            async with db.transaction() as conn:
                await conn.execute("update timers set due_at = now()")
                await conn.execute("update holds set expires_at = now()")
            assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        with serving(settings):

            async def lapsed() -> bool:
                return bool((await show(client, rich, number)).json()["status"] == "lapsed")

            await eventually(lapsed)
            told = (await release(client, rich, number)).json()
            assert (told["status"], told["balance"]) == ("lapsed", 100)
            assert await balance(client, rich) == (100, 0, 0)
    await assert_clean(db)


async def test_a_member_reserves_for_the_team(
    client: httpx.AsyncClient, db: Database, ada: Person, bob: Person
) -> None:
    async with db.transaction() as conn:
        team: int = await conn.fetchval("insert into customers (kind) values ('team') returning id")
        await conn.execute(
            "insert into members (customer_id, user_id, role)"
            " select $1, id, 'member' from users where id = 'ada'",
            team,
        )
        await customers.ensure_user(conn, "boss", at=NOW)
        await customers.put_member(conn, team, "boss", "owner", at=NOW)
    await post(db, team, 80)
    chosen = {"Bursar-Customer": str(team)}
    number = await reserved(client, ada, **chosen)
    assert_problem(await show(client, ada, number), 404, "not_found")
    assert_problem(await show(client, bob, number, **chosen), 404, "not_found")
    assert (await release(client, ada, number, **chosen)).json()["balance"] == 80
    await assert_clean(db)
