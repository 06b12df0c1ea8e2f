"""Entitlements over HTTP: checked, used up once for each key, given and taken by hand; plans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_server import Person, Server, assert_problem
from bursar.access import audit_log
from bursar.billing import customers, entitlements
from bursar.billing.entitlements import Grant, Source
from bursar.billing.rights import Right
from bursar.clock import SystemClock
from bursar.db import Database
from worlds import eventually

LIST, ADMIN = "/api/entitlements", "/api/admin/entitlements"


async def give(
    client: httpx.AsyncClient, admin: Person, body: dict[str, Any], **headers: str
) -> dict[str, Any]:
    said = {"user_id": "ada", "reason": "beta tester", **body}
    response = await client.post(ADMIN, json=said, headers={**admin.headers, **headers})
    assert response.status_code == 200, response.text
    given: dict[str, Any] = response.json()
    return given


async def check(client: httpx.AsyncClient, person: Person, feature: str) -> dict[str, Any]:
    response = await client.get(f"{LIST}/{feature}", headers=person.headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def consume(
    client: httpx.AsyncClient, person: Person, feature: str, amount: int = 1, **headers: str
) -> httpx.Response:
    return await client.post(
        f"{LIST}/{feature}/consume",
        json={"amount": amount},
        headers={**person.headers, **headers},
    )


async def test_who_has_nothing_is_told_so(client: httpx.AsyncClient, ada: Person) -> None:
    assert await check(client, ada, "history") == {
        "feature": "history",
        "entitled": False,
        "limit": 0,
        "used": 0,
        "left": 0,
        "resets_at": None,
    }
    listed = await client.get(LIST, headers=ada.headers)
    assert listed.json() == {"data": [], "next_cursor": None}
    assert_problem(await consume(client, ada, "history"), 403, "not_entitled")


async def test_what_is_given_by_hand_is_there_until_it_is_taken(
    client: httpx.AsyncClient, db: Database, ada: Person, bob: Person, admin: Person
) -> None:
    assert not (await check(client, ada, "history"))["entitled"]
    given = await give(client, admin, {"feature": "history"})
    assert (given["source_kind"], given["amount"], given["ends_at"]) == ("grant", None, None)
    assert (await check(client, ada, "history"))["entitled"]
    assert not (await check(client, bob, "history"))["entitled"]
    gone = await client.delete(f"{ADMIN}/{given['id']}", headers=admin.headers)
    assert gone.json()["ends_at"] is not None
    assert not (await check(client, ada, "history"))["entitled"]
    # Taking it again changes nothing and writes no second line.
    again = await client.delete(f"{ADMIN}/{given['id']}", headers=admin.headers)
    assert again.json() == gone.json()
    async with db.connection() as conn:
        lines = await audit_log.list_entries(conn, limit=10)
    assert [(line.action, line.subject, line.reason) for line in lines] == [
        ("entitlement.ended", f"entitlement:{given['id']}", None),
        ("entitlement.granted", f"entitlement:{given['id']}", "beta tester"),
    ]
    assert {line.customer_id for line in lines} == {given["customer_id"]}


async def test_a_feature_taken_by_one_server_is_refused_by_another(
    make_server: Callable[..., Server], ada: Person, admin: Person
) -> None:
    async with (
        httpx.AsyncClient(base_url=make_server().url) as one,
        httpx.AsyncClient(base_url=make_server().url) as other,
    ):
        given = await give(one, admin, {"feature": "history"})

        async def there() -> bool:
            return bool((await check(other, ada, "history"))["entitled"])

        await eventually(there)
        await one.delete(f"{ADMIN}/{given['id']}", headers=admin.headers)

        async def gone() -> bool:
            return not (await check(other, ada, "history"))["entitled"]

        await eventually(gone)


async def test_a_limit_is_used_up_and_refused_then(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    await give(client, admin, {"feature": "exports", "amount": 3, "per": "month"})
    used = await consume(client, ada, "exports", 2)
    assert used.status_code == 200, used.text
    found = used.json()
    assert (found["used"], found["left"], found["limit"], found["entitled"]) == (2, 1, 3, True)
    assert found["resets_at"].endswith("-01T00:00:00Z")
    assert found == await check(client, ada, "exports")
    problem = assert_problem(await consume(client, ada, "exports", 2), 409, "limit_reached")
    assert "1 of 3" in problem["detail"]
    [listed] = (await client.get(LIST, headers=ada.headers)).json()["data"]
    assert listed == {name: found[name] for name in listed if name != "ends_at"} | {"ends_at": None}


async def test_the_list_says_until_when_over_all_that_gives_it(
    client: httpx.AsyncClient, db: Database, ada: Person, admin: Person
) -> None:
    now = SystemClock().now().replace(microsecond=0)
    week, month = now + timedelta(days=7), now + timedelta(days=30)
    given = await give(
        client, admin, {"feature": "exports", "amount": 10, "ends_at": week.isoformat()}
    )
    await give(client, admin, {"feature": "history"})

    async def ends() -> dict[str, Any]:
        rows = (await client.get(LIST, headers=ada.headers)).json()["data"]
        return {row["feature"]: row["ends_at"] for row in rows}

    assert await ends() == {"exports": f"{week:%Y-%m-%dT%H:%M:%SZ}", "history": None}
    customer_id = given["customer_id"]
    # Less of it for longer is not what the customer has now; as much of it from then on is.
    for source, amount, begins in (("less", 5, now), ("next", 10, week), ("apart", 10, month)):
        right = Right("exports", amount)
        wanted = Grant(
            Source(customer_id, "plan", source), right, begins, begins + timedelta(days=3)
        )
        async with db.transaction() as conn:
            await entitlements.grant(conn, [wanted], at=now)
    after = week + timedelta(days=3)
    assert (await ends())["exports"] == f"{after:%Y-%m-%dT%H:%M:%SZ}"


async def test_an_empty_body_says_nothing_where_nothing_has_to_be_said(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    await give(client, admin, {"feature": "exports", "amount": 3})
    headers = {**ada.headers, "Content-Type": "application/json"}
    used = await client.post(f"{LIST}/exports/consume", content=b"", headers=headers)
    assert (used.status_code, used.json()["used"]) == (200, 1)
    # What has to be said is missed all the same.
    headers = {**admin.headers, "Content-Type": "application/json"}
    assert_problem(await client.post(ADMIN, content=b"", headers=headers), 400, "json_invalid")


async def test_fifty_at_once_use_up_the_last_ten(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    await give(client, admin, {"feature": "exports", "amount": 10})
    answers = await asyncio.gather(*(consume(client, ada, "exports") for _ in range(50)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(409)) == (10, 40)
    assert (await check(client, ada, "exports"))["left"] == 0


async def test_a_repeat_under_one_key_counts_once(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    await give(client, admin, {"feature": "exports", "amount": 10})
    key = {"Idempotency-Key": "export-1"}
    answers = await asyncio.gather(*(consume(client, ada, "exports", 2, **key) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    repeat = await consume(client, ada, "exports", 2, **key)
    assert repeat.headers["idempotent-replayed"] == "true"
    assert (repeat.json()["used"], (await check(client, ada, "exports"))["used"]) == (2, 2)
    other = await consume(client, ada, "exports", 3, **key)
    assert_problem(other, 422, "idempotency_key_reused")
    # A refusal leaves the key free.
    key = {"Idempotency-Key": "export-2"}
    assert_problem(await consume(client, ada, "exports", 9, **key), 409, "limit_reached")
    await give(client, admin, {"feature": "exports", "amount": 20})
    assert (await consume(client, ada, "exports", 9, **key)).status_code == 200


async def test_a_grant_under_one_key_is_given_once(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    key = {"Idempotency-Key": "give-1"}
    first = await give(client, admin, {"feature": "history"}, **key)
    assert await give(client, admin, {"feature": "history"}, **key) == first
    query = {"customer_id": first["customer_id"]}
    listed = await client.get(ADMIN, params=query, headers=admin.headers)
    assert listed.json() == {"data": [first], "next_cursor": None}


async def test_sources_are_listed_in_pages_newest_first(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    given = [await give(client, admin, {"feature": f"f{number}"}) for number in range(3)]
    query: dict[str, Any] = {"customer_id": given[0]["customer_id"], "limit": 2}
    first = (await client.get(ADMIN, params=query, headers=admin.headers)).json()
    query["cursor"] = first["next_cursor"]
    rest = (await client.get(ADMIN, params=query, headers=admin.headers)).json()
    assert [*first["data"], *rest["data"]] == given[::-1]
    assert rest["next_cursor"] is None


async def test_a_team_has_its_own_and_its_members_use_it(
    client: httpx.AsyncClient, db: Database, ada: Person, bob: Person, admin: Person
) -> None:
    async with db.transaction() as conn:
        team = await conn.fetchval("insert into customers (kind) values ('team') returning id")
        await conn.execute(
            "insert into members (customer_id, user_id, role) values ($1, 'ada', 'member')", team
        )
    said = {"customer_id": team, "feature": "exports", "amount": 5, "reason": "team plan"}
    made = await client.post(ADMIN, json=said, headers=admin.headers)
    assert made.status_code == 200, made.text
    header = {"Bursar-Customer": str(team)}
    assert (await consume(client, ada, "exports", **header)).json()["left"] == 4
    assert_problem(await consume(client, ada, "exports"), 403, "not_entitled")
    assert_problem(await consume(client, bob, "exports", **header), 404, "not_found")


async def test_a_grant_ends_at_its_end(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    ends_at = SystemClock().now() + timedelta(seconds=2)
    await give(client, admin, {"feature": "history", "ends_at": ends_at.isoformat()})
    assert (await check(client, ada, "history"))["entitled"]

    async def ended() -> bool:
        return not (await check(client, ada, "history"))["entitled"]

    await eventually(ended)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "feature"),
        ({"feature": "History"}, "feature"),
        ({"feature": "x" * 41}, "feature"),
        ({"feature": "history", "amount": -1}, "amount"),
        ({"feature": "history", "amount": 10**13}, "amount"),
        ({"feature": "history", "amount": "5"}, "amount"),
        ({"feature": "history", "per": "month"}, ""),
        ({"feature": "history", "amount": 1, "per": "week"}, "per"),
        ({"feature": "history", "customer_id": 1}, ""),
        ({"feature": "history", "ends_at": 1893456000}, "ends_at"),
        ({"feature": "history", "ends_at": "2030-01-01T00:00:00"}, "ends_at"),
        ({"feature": "history", "ends_at": "9999-12-31T23:59:59-14:00"}, "ends_at"),
        ({"feature": "history", "ends_at": "2020-01-01T00:00:00Z"}, None),
        ({"feature": "history", "reason": ""}, "reason"),
        ({"feature": "history", "colour": "red"}, "colour"),
    ],
)
async def test_a_faulty_grant_is_refused_by_its_field(
    client: httpx.AsyncClient, ada: Person, admin: Person, body: dict[str, Any], field: str | None
) -> None:
    said = {"user_id": "ada", "reason": "beta tester", **body}
    response = await client.post(ADMIN, json=said, headers=admin.headers)
    problem = assert_problem(response, 422, "validation_error")
    if field is not None:
        assert field in [entry["field"] for entry in problem["errors"]]


async def test_what_is_not_there_is_not_found_alike(
    client: httpx.AsyncClient, db: Database, ada: Person, admin: Person
) -> None:
    said = {"feature": "history", "reason": "beta tester"}
    for whom in ({"user_id": "nobody"}, {"customer_id": 999}):
        response = await client.post(ADMIN, json={**said, **whom}, headers=admin.headers)
        assert_problem(response, 404, "not_found")
    response = await client.get(ADMIN, params={"customer_id": 999}, headers=admin.headers)
    assert_problem(response, 404, "not_found")
    async with db.transaction() as conn:
        user = await customers.ensure_user(conn, "ada", at=SystemClock().now())
        pack = await conn.fetchval(
            "insert into entitlements (customer_id, source_kind, source, feature, starts_at,"
            " created_at) values ($1, 'pack', 'p', 'history', now(), now()) returning id",
            user.customer_id,
        )
    # What a pack gives goes with its payment alone.
    texts = set()
    for grant_id in (pack, 999, "x", 10**18, "9" * 40):
        response = await client.delete(f"{ADMIN}/{grant_id}", headers=admin.headers)
        problem = assert_problem(response, 404, "not_found")
        texts.add(problem["detail"])
    assert len(texts) == 1
    for name in ("History", "a" * 41, "%00", "sp ace"):
        response = await client.get(f"{LIST}/{name}", headers=ada.headers)
        assert_problem(response, 404, "not_found")
        assert_problem(await consume(client, ada, name), 404, "not_found")


async def test_who_may_is_decided_first(
    client: httpx.AsyncClient, ada: Person, service: Person, admin: Person
) -> None:
    for path, verb in ((ADMIN, "POST"), (ADMIN, "GET"), (f"{ADMIN}/1", "DELETE")):
        assert_problem(await client.request(verb, path), 401, "unauthenticated")
        for person in (ada, service):
            response = await client.request(verb, path, headers=person.headers)
            assert_problem(response, 403, "forbidden")
    for path, verb in ((LIST, "GET"), (f"{LIST}/x", "GET"), (f"{LIST}/x/consume", "POST")):
        assert_problem(await client.request(verb, path), 401, "unauthenticated")
        response = await client.request(verb, path, headers=admin.headers)
        assert_problem(response, 403, "forbidden")
    headers = {**service.headers, "Bursar-User": "ada"}
    assert (await client.get(f"{LIST}/x", headers=headers)).status_code == 200


@pytest.mark.parametrize("amount", [0, -1, 10**13, 1.5, "1", True, None])
async def test_only_whole_numbers_within_bounds_are_consumed(
    client: httpx.AsyncClient, ada: Person, amount: Any
) -> None:
    path = f"{LIST}/exports/consume"
    response = await client.post(path, json={"amount": amount}, headers=ada.headers)
    assert_problem(response, 422, "validation_error")


async def test_plans_are_listed_for_anyone(shop: httpx.AsyncClient) -> None:
    sold = (await shop.get("/api/plans")).json()["data"]
    assert sold == [
        {
            "id": "pages-team",
            "name": "Team",
            "description": "Members share one balance.",
            "unit": "page",
            "credits": 200,
            "features": ["history"],
            "limits": {
                "seats": {"count": 10, "per": None},
                "exports": {"count": 100, "per": "day"},
            },
            "trial_days": 14,
            "group": "main",
            "prices": [
                {
                    "interval": "month",
                    "amount": 9900,
                    "currency": "usd",
                    "price_formatted": "$99.00",
                },
                {
                    "interval": "year",
                    "amount": 99000,
                    "currency": "usd",
                    "price_formatted": "$990.00",
                },
            ],
            "durations": [],
        }
    ]


async def test_a_plan_is_on_sale_by_checkout(shop: httpx.AsyncClient, ada: Person) -> None:
    response = await shop.post(
        "/api/stripe/checkout-session", json={"plan": "pages-team"}, headers=ada.headers
    )
    assert response.status_code == 200, response.text
    # Its trial comes first.
    assert (response.json()["amount"], response.json()["currency"]) == (0, "usd")


async def test_without_a_push_no_plan_is_listed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/plans")).json() == {"data": []}


async def test_what_was_given_is_listed_by_customer_or_by_user(
    client: httpx.AsyncClient, ada: Person, admin: Person
) -> None:
    given = await give(client, admin, {"feature": "history"})
    by_user = await client.get(ADMIN, params={"user_id": "ada"}, headers=admin.headers)
    assert [line["id"] for line in by_user.json()["data"]] == [given["id"]]
    named = {"customer_id": given["customer_id"]}
    by_customer = await client.get(ADMIN, params=named, headers=admin.headers)
    assert by_customer.json() == by_user.json()
    nobody = await client.get(ADMIN, params={"user_id": "nobody"}, headers=admin.headers)
    assert_problem(nobody, 404, "not_found")
    for both_or_none in ({}, {**named, "user_id": "ada"}):
        refused = await client.get(ADMIN, params=both_or_none, headers=admin.headers)
        assert_problem(refused, 422, "validation_error")
