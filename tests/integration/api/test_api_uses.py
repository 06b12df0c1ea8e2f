"""Credits used over HTTP and given back: once for each key, never more than there is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_server import NOW, Person, Server, assert_problem, make_key, make_settings
from bursar import errors
from bursar.billing import catalog, customers
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.entrypoints.api.collector import Collector
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from worlds import free_port, serving

PATH, REVERSE = "/api/credits/use", "/api/credits/uses/1/reverse"
FAR = SystemClock().now() + timedelta(days=365)


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    """Two units, of which only `credit` has a rate."""
    rated = Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)})  # type: ignore[dict-item]
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("bell", "Bells", 0, {}, {}), rated])


async def customer_of(db: Database, person: Person) -> int:
    async with db.connection() as conn:
        return (await customers.ensure_user(conn, person.user_id, at=NOW)).customer_id


async def gift(db: Database, customer_id: int, amount: int, **fields: Any) -> None:
    """A bonus of `amount` in the rated unit, without an end unless `fields` say otherwise."""
    said = {"unit": "credit", "source": "gift", **fields}
    cause = Cause("test", f"{customer_id}:{said['unit']}:{said['source']}", "gift")
    posting = Posting(
        customer_id=customer_id, type="bonus", amount=amount, cause=cause, pool="bonus", **said
    )
    async with db.transaction() as conn:
        await entries.post(conn, [posting], at=NOW)


async def make_team(db: Database, *members: str) -> int:
    """A team with ten credits."""
    async with db.transaction() as conn:
        team: int = await conn.fetchval("insert into customers (kind) values ('team') returning id")
        await conn.execute(
            "insert into members (customer_id, user_id, role)"
            " select $1, id, 'member' from users where id = any ($2)",
            team,
            list(members),
        )
    await gift(db, team, 10)
    return team


async def use(
    client: httpx.AsyncClient, person: Person, key: str, body: Any = None, **headers: str
) -> httpx.Response:
    sent = {**person.headers, "Idempotency-Key": key, **headers}
    return await client.post(PATH, json={"amount": 1} if body is None else body, headers=sent)


async def reverse(
    client: httpx.AsyncClient, service: Person, key: str, use_id: object, body: Any = None, **h: str
) -> httpx.Response:
    sent = {**service.headers, "Bursar-User": "ada", "Idempotency-Key": key, **h}
    return await client.post(f"/api/credits/uses/{use_id}/reverse", json=body or {}, headers=sent)


async def balance(client: httpx.AsyncClient, person: Person, **headers: str) -> Any:
    response = await client.get("/user/balance", headers={**person.headers, **headers})
    return response.json()["balance"]


async def count_uses(db: Database) -> int:
    async with db.connection() as conn:
        found: int = await conn.fetchval("select count(*) from ledger_postings where type='usage'")
    return found


async def assert_clean(db: Database) -> None:
    async with db.connection() as conn:
        assert await audit(conn) == []
        assert await conn.fetchval("select count(*) from idempotency_keys") == 0


async def test_a_use_takes_credits_and_is_listed(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 100)
    response = await use(client, ada, "k1", {"amount": 30, "description": "A picture — “Ünï”"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert "idempotent-replayed" not in response.headers
    told = response.json()
    assert told == {"transaction_id": told["transaction_id"], "balance": 70}
    listed = (await client.get("/user/transactions", headers=ada.headers)).json()["data"][0]
    assert listed["id"] == told["transaction_id"]
    assert (listed["type"], listed["amount"], listed["balance_after"]) == ("usage", -30, 70)
    assert listed["description"] == "A picture — “Ünï”"
    assert await balance(client, ada) == 70
    await assert_clean(db)


async def test_fifty_parallel_uses_of_a_balance_for_ten(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 10)
    responses = await asyncio.gather(*(use(client, ada, f"k{number}") for number in range(50)))
    statuses = [response.status_code for response in responses]
    assert (statuses.count(200), statuses.count(402)) == (10, 40)
    used = [response.json() for response in responses if response.status_code == 200]
    assert sorted(one["balance"] for one in used) == list(range(10))
    assert len({one["transaction_id"] for one in used}) == 10
    assert await balance(client, ada) == 0
    assert await count_uses(db) == 10
    await assert_clean(db)


async def test_one_key_twenty_times_in_parallel_uses_once(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 100)
    responses = await asyncio.gather(*(use(client, ada, "one", {"amount": 7}) for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    replayed = [response.headers.get("idempotent-replayed") for response in responses]
    assert (replayed.count("true"), replayed.count(None)) == (19, 1)
    assert await balance(client, ada) == 93
    await assert_clean(db)


async def test_two_servers_with_one_key_use_once(
    make_server: Callable[..., Server], db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 100)
    first, second = make_server(), make_server()
    async with (
        httpx.AsyncClient(base_url=first.url) as one,
        httpx.AsyncClient(base_url=second.url) as other,
    ):
        calls = [use(client, ada, f"k{n}") for n in range(5) for client in (one, other) * 2]
        responses = await asyncio.gather(*calls)
    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 5
    assert await count_uses(db) == 5
    await assert_clean(db)


async def test_a_replay_answers_as_before_and_another_body_is_refused(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 10)
    first = await use(client, ada, "k1", {"amount": 4})
    assert (await use(client, ada, "k2", {"amount": 6})).json()["balance"] == 0
    again = await use(client, ada, "k1", {"amount": 4})
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    # Spaces and order are the wire's: the request is the same.
    content = b' {"unit":null,\n"amount" : 4}'
    headers = {**ada.headers, "Idempotency-Key": "k1", "Content-Type": "application/json"}
    spaced = await client.post(PATH, content=content, headers=headers)
    assert (spaced.status_code, spaced.content) == (200, first.content)
    for other in ({"amount": 5}, {"amount": 4, "unit": "bell"}, {"amount": 4, "description": "x"}):
        assert_problem(await use(client, ada, "k1", other), 422, "idempotency_key_reused")
    assert await count_uses(db) == 2


async def test_a_refused_use_says_why_and_leaves_its_key_free(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    customer_id = await customer_of(db, ada)
    await gift(db, customer_id, 3)
    refused = await use(client, ada, "k1", {"amount": 5})
    problem = assert_problem(refused, 402, "insufficient_credits")
    assert "balance is 3" in problem["detail"]
    assert "needs 5" in problem["detail"]
    await gift(db, customer_id, 3, source="more")
    paid = await use(client, ada, "k1", {"amount": 5})
    assert (paid.status_code, paid.json()["balance"]) == (200, 1)
    assert "idempotent-replayed" not in paid.headers
    await assert_clean(db)


async def test_keys_of_two_members_of_a_team_never_meet(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    # Written one after the other, names and keys of the two would be the same.
    other = Person("ada:x", await make_key(db, "user", "ada:x"))
    header = {"Bursar-Customer": str(await make_team(db, "ada", "ada:x"))}
    for person, key, left in ((ada, "k", 9), (other, "k", 8), (ada, "x:k", 7)):
        assert (await use(client, person, key, **header)).json()["balance"] == left
    assert await balance(client, other, **header) == 7
    # The personal account is another scope again, and it is empty.
    assert_problem(await use(client, ada, "k"), 402, "insufficient_credits")


async def test_who_leaves_a_team_can_soon_use_nothing_of_it(
    client: httpx.AsyncClient, db: Database, ada: Person, bob: Person
) -> None:
    team = await make_team(db, "ada")
    header = {"Bursar-Customer": str(team)}
    assert (await use(client, ada, "in", **header)).status_code == 200
    assert_problem(await use(client, bob, "in", **header), 404, "not_found")
    async with db.transaction() as conn:
        await conn.execute("delete from members where customer_id = $1", team)
    for number in range(80):
        last = await use(client, ada, f"k{number}", {"amount": 10**9}, **header)
        if last.status_code == 404:
            break
        await asyncio.sleep(0.1)
    assert_problem(last, 404, "not_found")


async def test_service_uses_for_the_user_it_names(
    client: httpx.AsyncClient, db: Database, service: Person, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 10)
    answer = await use(client, service, "k1", **{"Bursar-User": "ada"})
    assert answer.json()["balance"] == 9
    # The same key in the user's own hand is another request.
    assert (await use(client, ada, "k1")).json()["balance"] == 8
    assert_problem(
        await use(client, service, "k1", **{"Bursar-User": "new"}), 402, "insufficient_credits"
    )
    assert_problem(await use(client, service, "k1"), 422, "validation_error")
    assert_problem(await use(client, ada, "k1", **{"Bursar-User": "bob"}), 403, "forbidden")


async def test_order_of_use_skips_what_has_expired(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    customer_id = await customer_of(db, ada)
    await gift(db, customer_id, 50, source="gone", expires_at=NOW - timedelta(days=1))
    await gift(db, customer_id, 5, source="later", expires_at=FAR + timedelta(days=1))
    await gift(db, customer_id, 5, source="soon", expires_at=FAR)
    assert_problem(await use(client, ada, "k0", {"amount": 11}), 402, "insufficient_credits")
    assert (await use(client, ada, "k1", {"amount": 6})).json()["balance"] == 4
    async with db.connection() as conn:
        rows = await conn.fetch("select source, balance from ledger_accounts where pool = 'bonus'")
    left = {row["source"]: row["balance"] for row in rows}
    assert left == {"gone": 50, "later": 4, "soon": 0}


async def test_unit_is_the_rated_one_unless_another_is_named(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    customer_id = await customer_of(db, ada)
    await gift(db, customer_id, 10)
    await gift(db, customer_id, 20, unit="bell")
    assert (await use(client, ada, "k1")).json()["balance"] == 9
    assert (await use(client, ada, "k2", {"amount": 1, "unit": "bell"})).json()["balance"] == 19
    for number in range(2):
        answer = await use(client, ada, f"u{number}", {"amount": 1, "unit": "no-such"})
        assert_problem(answer, 422, "unknown_unit")
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("no-such", "New", 0, {}, {})])
    answer = await use(client, ada, "u0", {"amount": 1, "unit": "no-such"})
    assert_problem(answer, 402, "insufficient_credits")


BAD: dict[str, tuple[object, ...]] = {
    "amount": (0, -1, 10**12 + 1, 10**30, "1", 1.0, True, None),
    "unit": ("", "Credit", "credit\n", 7),
    "description": ("", "a\nb", "x" * 501, "a\x00b"),
    "price": (1,),
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in BAD.items() for v in values])
async def test_bodies_that_can_not_be_right(
    client: httpx.AsyncClient, db: Database, ada: Person, field: str, value: object
) -> None:
    await gift(db, await customer_of(db, ada), 10)
    answer = await use(client, ada, "k1", {"amount": 1, field: value})
    problem = assert_problem(answer, 422, "validation_error")
    assert [entry["field"] for entry in problem["errors"]] == [field]
    assert await balance(client, ada) == 10


async def test_the_greatest_amount_and_the_longest_names_pass(
    client: httpx.AsyncClient, db: Database, service: Person
) -> None:
    user_id = "ü" * 128
    await gift(db, await customer_of(db, Person(user_id, "")), 10**12)
    headers = [
        (b"Authorization", f"Bearer {service.secret}".encode()),
        (b"Bursar-User", user_id.encode()),
        (b"Idempotency-Key", b"k" * 255),
    ]
    body = {"amount": 10**12, "description": "x" * 500}
    for _ in range(2):
        answer = await client.post(PATH, json=body, headers=headers)
        assert (answer.status_code, answer.json()["balance"]) == (200, 0)
    await assert_clean(db)


async def test_key_is_asked_for_after_the_caller_and_before_the_body(
    client: httpx.AsyncClient, db: Database, ada: Person, service: Person, admin: Person
) -> None:
    expected = [
        *((PATH, ada, "idempotency_key_required"), (PATH, admin, "forbidden")),
        *((REVERSE, service, "idempotency_key_required"), (REVERSE, ada, "forbidden")),
        (REVERSE, admin, "forbidden"),
    ]
    for path, person, code in expected:
        headers = {"Content-Type": "text/plain", "Bursar-User": "ada"}
        response = await client.post(path, content=b"\xff", headers=headers)
        assert_problem(response, 401, "unauthenticated")
        response = await client.post(path, content=b"\xff", headers={**headers, **person.headers})
        assert_problem(response, 403 if code == "forbidden" else 400, code)
    assert_problem(await use(client, ada, "x" * 256), 400, "idempotency_key_invalid")
    headers = {**ada.headers, "Idempotency-Key": "k", "Content-Type": "application/json"}
    assert_problem(await client.post(PATH, content=b"{", headers=headers), 400, "json_invalid")
    headers["Content-Type"] = "text/plain"
    response = await client.post(PATH, content=b"{}", headers=headers)
    assert_problem(response, 415, "unsupported_media_type")
    response = await client.get(PATH, headers=ada.headers)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


async def test_uses_count_against_the_general_limit_of_a_key(
    make_server: Callable[..., Server], db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 10)
    server = make_server(limit_api="3/1h")
    async with httpx.AsyncClient(base_url=server.url) as client:
        statuses = [(await use(client, ada, f"k{number}")).status_code for number in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert await count_uses(db) == 3


async def test_service_gives_a_use_back_in_parts_and_never_more_than_was_used(
    client: httpx.AsyncClient, db: Database, ada: Person, service: Person
) -> None:
    await gift(db, await customer_of(db, ada), 100)
    used = (await use(client, ada, "u", {"amount": 30})).json()["transaction_id"]
    part = await reverse(client, service, "r1", used, {"amount": 10, "description": "failed"})
    assert (part.status_code, part.json()["balance"]) == (200, 80)
    again = await reverse(client, service, "r1", used, {"amount": 10, "description": "failed"})
    assert (again.content, again.headers["idempotent-replayed"]) == (part.content, "true")
    for other in (reverse(client, service, "r1", used), reverse(client, service, "r1", used + 1)):
        assert_problem(await other, 422, "idempotency_key_reused")
    over = await reverse(client, service, "r2", used, {"amount": 21})
    problem = assert_problem(over, 422, "reversal_exceeds_use")
    assert "20 can still be given back" in problem["detail"]
    assert problem["errors"][0]["field"] == "amount"
    rest = await reverse(client, service, "r2", used)
    assert (rest.status_code, rest.json()["balance"]) == (200, 100)
    assert_problem(await reverse(client, service, "r3", used), 422, "reversal_exceeds_use")
    rows = (await client.get("/user/transactions", headers=ada.headers)).json()["data"]
    assert [(row["type"], row["amount"]) for row in rows[:3]] == [
        ("usage", 20), ("usage", 10), ("usage", -30)
    ]  # fmt: skip
    assert rows[1]["description"] == "failed"
    await assert_clean(db)


async def test_twenty_parallel_reversals_give_back_what_was_used(
    client: httpx.AsyncClient, db: Database, ada: Person, service: Person
) -> None:
    await gift(db, await customer_of(db, ada), 50)
    used = (await use(client, ada, "u", {"amount": 50})).json()["transaction_id"]
    calls = [reverse(client, service, f"r{n}", used, {"amount": 7}) for n in range(20)]
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert (statuses.count(200), statuses.count(422)) == (7, 13)
    same = await asyncio.gather(*(reverse(client, service, "last", used) for _ in range(20)))
    assert {(answer.status_code, answer.json()["balance"]) for answer in same} == {(200, 50)}
    assert await balance(client, ada) == 50
    await assert_clean(db)


async def test_unknown_foreign_and_other_transactions_look_alike(
    client: httpx.AsyncClient, db: Database, ada: Person, bob: Person, service: Person
) -> None:
    customer_id = await customer_of(db, ada)
    await gift(db, customer_id, 50)
    gifted = (await client.get("/user/transactions", headers=ada.headers)).json()["data"][0]["id"]
    used = (await use(client, ada, "u")).json()["transaction_id"]
    bobs = {"Bursar-User": "bob"}
    answers = [
        await reverse(client, service, "r", used, **bobs),
        await reverse(client, service, "r", used, {"amount": 1}, **bobs),
        *[await reverse(client, service, "r", x) for x in (gifted, 999999, 0, "9" * 30, "-1", "x")],
    ]
    bodies = [assert_problem(answer, 404, "not_found") for answer in answers]
    assert len({str({**body, "request_id": ""}) for body in bodies}) == 1
    foreign = {**bobs, "Bursar-Customer": str(customer_id)}
    assert_problem(await reverse(client, service, "r", used, **foreign), 404, "not_found")
    assert_problem(await reverse(client, ada, "r", used), 403, "forbidden")
    own = {"Bursar-Customer": str(customer_id)}
    assert (await reverse(client, service, "r", used, **own)).status_code == 200
    await assert_clean(db)


async def test_what_returns_to_expired_credits_expires_at_once(
    client: httpx.AsyncClient, db: Database, ada: Person, service: Person
) -> None:
    customer_id = await customer_of(db, ada)
    await gift(db, customer_id, 5, source="dated", expires_at=FAR)
    await gift(db, customer_id, 5)
    used = (await use(client, ada, "u", {"amount": 8})).json()["transaction_id"]
    async with db.transaction() as conn:
        await conn.execute("update ledger_accounts set expires_at = now() where source = 'dated'")
    assert (await reverse(client, service, "r", used)).json()["balance"] == 5
    rows = (await client.get("/user/transactions", headers=ada.headers)).json()["data"]
    assert [(row["type"], row["amount"]) for row in rows[:2]] == [("expiry", -5), ("usage", 8)]
    await assert_clean(db)


@pytest.mark.parametrize("point", ["credits.after_post", "credits.after_commit"])
async def test_killed_while_using_the_retry_uses_once(
    db: Database, database_url: str, ada: Person, point: str
) -> None:
    """Claim and effect are one transaction, so nothing can die between them: only before and
    after its commit."""
    await gift(db, await customer_of(db, ada), 10)
    settings = make_settings(database_url, port=free_port(), public_url="", sandbox=True)
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as client:
        with serving(settings, with_worker=False, crash_at=point) as dying:
            with pytest.raises(httpx.TransportError):
                await use(client, ada, "k", {"amount": 4})
            assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        assert await count_uses(db) == (point == "credits.after_commit")
        with serving(settings, with_worker=False):
            first, again = [await use(client, ada, "k", {"amount": 4}) for _ in range(2)]
    assert (first.status_code, first.content) == (200, again.content)
    assert ("idempotent-replayed" in first.headers) == (point == "credits.after_commit")
    assert first.json()["balance"] == 6
    assert await count_uses(db) == 1
    await assert_clean(db)


async def test_a_connection_lost_on_the_way_is_503_and_the_key_still_uses_once(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    await gift(db, await customer_of(db, ada), 10)
    assert (await use(client, ada, "k0")).status_code == 200
    async with db.transaction() as conn:
        await conn.execute("select 1 from customers for update")
        calls = [asyncio.create_task(use(client, ada, "k1", {"amount": 4})) for _ in range(5)]
        cut = (
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where wait_event_type = 'Lock' and datname = current_database()"
        )
        async with asyncio.timeout(10):
            while not await conn.fetchval(cut):
                await asyncio.sleep(0.02)
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    answers = [await call for call in calls]
    lost = [answer for answer in answers if answer.status_code != 200]
    assert lost
    for answer in lost:
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    again = await use(client, ada, "k1", {"amount": 4})
    assert (again.status_code, again.json()["balance"]) == (200, 5)
    assert await count_uses(db) == 2
    await assert_clean(db)


async def test_collector_sheds_what_is_too_much_and_spares_the_good() -> None:
    batches: list[list[int]] = []

    async def work(items: list[int]) -> list[int]:
        batches.append(items)
        await asyncio.sleep(0)
        if 13 in items:
            raise ValueError("thirteen")
        if 99 in items:
            await asyncio.Event().wait()
        return [item * 2 for item in items]

    collector = Collector(work, batch_max=4, waiting_max=6, seconds=0.2)
    items = [0, 1, 13, 3, 4, 5, 6, 7]
    found = await asyncio.gather(*(collector.submit(n) for n in items), return_exceptions=True)
    assert [x if isinstance(x, int) else type(x) for x in found] == [
        0, 2, ValueError, 6, 8, 10, errors.Unavailable, errors.Unavailable
    ]  # fmt: skip
    assert batches == [[0, 1, 13, 3], [0], [1], [13], [3], [4, 5]]
    stuck = await asyncio.gather(collector.submit(99), collector.submit(1), return_exceptions=True)
    assert [type(x) for x in stuck] == [errors.Unavailable] * 2
    assert await collector.submit(7) == 14
