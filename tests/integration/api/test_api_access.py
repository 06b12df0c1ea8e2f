"""Who may what: 401 before 403 before everything else, and the general limit of a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from api_server import NOW, Person, Server, assert_problem
from bursar.access import keys
from bursar.access.actors import Kind
from bursar.db import Database

USER_ROUTES = [
    ("GET", "/user/balance"),
    ("GET", "/user/transactions"),
    ("GET", "/api/payments"),
    ("GET", "/api/payments/1"),
    ("GET", "/api/stripe/payments"),
    ("GET", "/api/stripe/payments/1"),
    ("POST", "/api/credits/use"),
    ("POST", "/api/team"),
    ("GET", "/api/team"),
    ("PATCH", "/api/team"),
    ("GET", "/api/team/members"),
    ("POST", "/api/team/members"),
    ("PATCH", "/api/team/members/ada"),
    ("DELETE", "/api/team/members/ada"),
    ("POST", "/api/team/invitations/accept"),
    ("DELETE", "/api/team/invitations/1"),
    ("POST", "/api/stripe/checkout-session"),
    ("GET", "/api/stripe/checkout-session/cs_test_1"),
]
SERVICE_ROUTES = [
    ("PUT", "/api/users/ada"),
    ("POST", "/api/sessions"),
    ("POST", "/api/credits/uses/1/reverse"),
]

# Everything about these is wrong but the key; the key must be what is spoken of.
ABSURD_BODY = b"\xff{not json"
ABSURD_HEADERS = {
    "Content-Type": "text/plain",
    "Idempotency-Key": "x" * 300,
    "Bursar-User": "",
    "Bursar-Customer": "none",
}

BAD_KEYS = [
    None,
    "",
    "Bearer",
    "Bearer unknown",
    "Bearer a b",
    "Bearer bursar_user_" + "a" * 43,
    "Basic YWRhOmFkYQ==",
    "bursar_user_" + "a" * 43,
    "Bearer " + "x" * 5000,
]


@pytest.mark.parametrize("authorization", BAD_KEYS)
async def test_without_a_good_key_nothing_else_is_looked_at(
    client: httpx.AsyncClient, authorization: str | None
) -> None:
    headers = dict(ABSURD_HEADERS)
    if authorization is not None:
        headers["Authorization"] = authorization
    for method, path in [*USER_ROUTES, *SERVICE_ROUTES]:
        response = await client.request(
            method, f"{path}?limit=none&made_up=1", content=ABSURD_BODY, headers=headers
        )
        problem = assert_problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"
        assert "errors" not in problem


async def test_wrong_kind_of_key_is_forbidden_before_headers_and_body(
    client: httpx.AsyncClient, people: dict[Kind, Person]
) -> None:
    wrong: list[tuple[Kind, tuple[str, str]]] = [("admin", route) for route in USER_ROUTES]
    wrong += [("user", route) for route in SERVICE_ROUTES]
    wrong += [("admin", route) for route in SERVICE_ROUTES]
    for kind, (method, path) in wrong:
        headers = {**ABSURD_HEADERS, **people[kind].headers}
        response = await client.request(
            method, f"{path}?limit=none", content=ABSURD_BODY, headers=headers
        )
        assert_problem(response, 403, "forbidden")


async def test_two_authorization_headers_are_no_key(
    client: httpx.AsyncClient, ada: Person, bob: Person
) -> None:
    headers = [*ada.headers.items(), *bob.headers.items()]
    assert_problem(await client.get("/user/balance", headers=headers), 401, "unauthenticated")


async def test_expired_and_revoked_keys_look_like_unknown_ones(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    async with db.transaction() as conn:
        _, expired = await keys.create(conn, "user", user_id="ada", at=NOW, expires_at=NOW)
        revoked_id, revoked = await keys.create(conn, "user", user_id="ada", at=NOW)
        await keys.revoke(conn, revoked_id, at=NOW)
    bodies = []
    for secret in (expired, revoked, "bursar_user_" + "a" * 43, "nonsense"):
        response = await client.get(
            "/user/transactions", headers={"Authorization": f"Bearer {secret}"}
        )
        problem = assert_problem(response, 401, "unauthenticated")
        problem.pop("request_id")
        bodies.append(problem)
    assert all(body == bodies[0] for body in bodies)


async def test_revocation_bites_a_key_in_use_within_five_seconds(
    client: httpx.AsyncClient, db: Database, ada: Person
) -> None:
    async with db.transaction() as conn:
        key_id, secret = await keys.create(conn, "user", user_id="ada", at=NOW)
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await client.get("/user/transactions", headers=headers)).status_code == 200
    async with db.transaction() as conn:
        await keys.revoke(conn, key_id, at=NOW)
    revoked_at = time.monotonic()
    while time.monotonic() < revoked_at + 5:
        status = (await client.get("/user/transactions", headers=headers)).status_code
        if status == 401:
            break
        await asyncio.sleep(0.1)
    assert status == 401


async def test_service_acts_for_the_user_it_names_who_is_made_on_first_sight(
    client: httpx.AsyncClient, service: Person, db: Database
) -> None:
    for user_id in ("new-user", "jürgen", "auth0|x/1"):
        headers = [
            *((name.encode(), value.encode()) for name, value in service.headers.items()),
            (b"Bursar-User", user_id.encode()),
        ]
        response = await client.get("/user/transactions", headers=headers)
        assert response.status_code == 200, response.text
    async with db.connection() as conn:
        users = {row["id"] for row in await conn.fetch("select id from users")}
    assert users == {"new-user", "jürgen", "auth0|x/1"}


@pytest.mark.parametrize("user_id", [None, b"", b"x" * 129, b"a\xc2\x85b", b"\xff\xfe"])
async def test_service_names_its_user_properly(
    client: httpx.AsyncClient, service: Person, user_id: bytes | None
) -> None:
    headers = [(b"Authorization", f"Bearer {service.secret}".encode())]
    if user_id is not None:
        headers.append((b"Bursar-User", user_id))
    response = await client.get("/user/transactions", headers=headers)
    assert_problem(response, 422, "validation_error")


async def test_user_may_name_nobody_else(client: httpx.AsyncClient, ada: Person) -> None:
    for user_id, status in (("ada", 200), ("bob", 403)):
        headers = {**ada.headers, "Bursar-User": user_id}
        response = await client.get("/user/transactions", headers=headers)
        assert response.status_code == status


async def test_foreign_unknown_and_absurd_customers_look_alike(
    client: httpx.AsyncClient, ada: Person, bob: Person, db: Database
) -> None:
    async with db.connection() as conn:
        own = await conn.fetchval("select id from customers where user_id = 'ada'")
        foreign = await conn.fetchval("select id from customers where user_id = 'bob'")
    headers = {**ada.headers, "Bursar-Customer": str(own)}
    assert (await client.get("/user/transactions", headers=headers)).status_code == 200
    bodies = []
    for customer in (str(foreign), "999999", "0", "-1", "1 OR 1=1", "9" * 30, "", "x"):
        headers = {**ada.headers, "Bursar-Customer": customer}
        response = await client.get("/user/transactions", headers=headers)
        problem = assert_problem(response, 404, "not_found")
        problem.pop("request_id")
        bodies.append(problem)
    assert all(body == bodies[0] for body in bodies)


async def test_member_picks_a_team(
    client: httpx.AsyncClient, ada: Person, bob: Person, db: Database
) -> None:
    async with db.transaction() as conn:
        team = await conn.fetchval(
            "insert into customers (kind, name) values ('team', 'The team') returning id"
        )
        await conn.execute(
            "insert into members (customer_id, user_id, role) values ($1, 'ada', 'member')", team
        )
    for person, status in ((ada, 200), (bob, 404)):
        headers = {**person.headers, "Bursar-Customer": str(team)}
        response = await client.get("/user/transactions", headers=headers)
        assert response.status_code == status


async def test_general_limit_counts_each_key_and_says_how_long(
    make_server: Callable[..., Server], ada: Person, bob: Person, admin: Person
) -> None:
    server = make_server(limit_api="3/1h")
    async with httpx.AsyncClient(base_url=server.url) as client:
        statuses = [
            (await client.get("/user/transactions", headers=ada.headers)).status_code
            for _ in range(3)
        ]
        assert statuses == [200, 200, 200]
        refused = await client.get("/user/transactions?limit=none", headers=ada.headers)
        assert_problem(refused, 429, "rate_limited")
        assert 3590 <= int(refused.headers["retry-after"]) <= 3600
        other = await client.get("/user/transactions", headers=bob.headers)
        assert other.status_code == 200
        # Who may not at all is told so, however often they ask.
        for _ in range(5):
            forbidden = await client.get("/user/transactions", headers=admin.headers)
            assert forbidden.status_code == 403
