"""Users and sign-in links, as the host app's service makes them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from api_server import Person, assert_problem
from bursar import errors
from bursar.access import sessions
from bursar.access.actors import Actor
from bursar.db import Database


async def test_user_is_made_and_brought_up_to_date(
    client: httpx.AsyncClient, service: Person
) -> None:
    first = await client.put(
        "/api/users/ada",
        json={"email": "ada@example.com", "email_verified": True, "name": "Ada"},
        headers=service.headers,
    )
    assert first.status_code == 200
    made = first.json()
    assert isinstance(made["customer_id"], int)
    assert made == {
        "user_id": "ada",
        "customer_id": made["customer_id"],
        "email": "ada@example.com",
        "email_verified": True,
        "name": "Ada",
    }
    second = await client.put("/api/users/ada", json={"name": "A."}, headers=service.headers)
    assert second.json() == made | {"email": None, "email_verified": False, "name": "A."}


async def test_ids_of_the_host_app_are_opaque(client: httpx.AsyncClient, service: Person) -> None:
    for path, user_id in (
        ("auth0%7C1", "auth0|1"),
        ("tenant%2F7", "tenant/7"),
        ("tenant/7", "tenant/7"),
        ("J%C3%BCrgen%20M", "Jürgen M"),
        ("x" * 128, "x" * 128),
    ):
        response = await client.put(f"/api/users/{path}", json={}, headers=service.headers)
        assert response.status_code == 200, response.text
        assert response.json()["user_id"] == user_id


@pytest.mark.parametrize("path", ["", "%00", "a%09b", "x" * 129, "%ED%A0%80", "%FF"])
async def test_ids_that_are_none_are_refused(
    client: httpx.AsyncClient, service: Person, path: str
) -> None:
    response = await client.put(f"/api/users/{path}", json={}, headers=service.headers)
    assert_problem(response, 422, "validation_error")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "ada"},
        {"email": ""},
        {"email": "a@b@c"},
        {"email": "ada@example.com\r\nBcc: bob@example.com"},
        {"email": "a" * 320 + "@example.com"},
        {"email": 7},
        {"email_verified": "true"},
        {"email_verified": 1},
        {"email_verified": None},
        {"name": "Ada\r\nBcc: bob@example.com"},
        {"name": "Ada\x00"},
        {"name": "x" * 201},
        {"name": ""},
        {"is_admin": True},
    ],
)
async def test_values_that_are_none_are_refused(
    client: httpx.AsyncClient, service: Person, body: dict[str, Any]
) -> None:
    response = await client.put("/api/users/ada", json=body, headers=service.headers)
    problem = assert_problem(response, 422, "validation_error")
    assert [entry["field"] for entry in problem["errors"]] == list(body)


async def test_link_signs_the_browser_in_once(
    client: httpx.AsyncClient, service: Person, db: Database
) -> None:
    response = await client.post(
        "/api/sessions", json={"user_id": "new-user"}, headers=service.headers
    )
    assert response.status_code == 200
    assert set(response.json()) == {"url"}
    address = re.fullmatch(
        r"https://shop\.example/sign-in\?token=([A-Za-z0-9_-]{43})", response.json()["url"]
    )
    assert address is not None
    async with db.transaction() as conn:
        signed_in = await sessions.redeem(conn, address[1])
        actor = await sessions.find(conn, signed_in.session_token)
        assert actor == Actor("user", "new-user", None)
        with pytest.raises(errors.Unauthenticated):
            await sessions.redeem(conn, address[1])


async def test_link_is_never_an_admins_and_ends_in_ten_minutes(
    client: httpx.AsyncClient, service: Person, db: Database
) -> None:
    await client.post("/api/sessions", json={"user_id": "ada"}, headers=service.headers)
    async with db.connection() as conn:
        row = await conn.fetchrow(
            "select admin, reusable, extract(epoch from expires_at - created_at)::int as seconds "
            "from sign_in_links"
        )
    assert row is not None
    assert dict(row) == {"admin": False, "reusable": False, "seconds": 600}


@pytest.mark.parametrize(
    "body", [{}, {"user_id": ""}, {"user_id": "a\x00"}, {"user_id": 7}, {"user_id": "x" * 129}]
)
async def test_link_for_no_user_is_refused(
    client: httpx.AsyncClient, service: Person, body: dict[str, Any]
) -> None:
    response = await client.post("/api/sessions", json=body, headers=service.headers)
    assert_problem(response, 422, "validation_error")
