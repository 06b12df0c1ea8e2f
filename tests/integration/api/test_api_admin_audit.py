"""The audit log: one line for each change by an admin, a service or a command, else none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from api_server import Person, assert_problem
from bursar.billing import catalog
from bursar.billing.catalog import Unit
from bursar.db import Database

LOG = "/api/admin/audit-log"


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    rated = Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)})  # type: ignore[dict-item]
    async with db.transaction() as conn:
        await catalog.put_units(conn, [rated])


async def lines(client: httpx.AsyncClient, admin: Person, **query: Any) -> list[dict[str, Any]]:
    response = await client.get(LOG, params=query, headers=admin.headers)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


async def told(client: httpx.AsyncClient, admin: Person) -> list[tuple[str, str, str]]:
    """Actor, action and subject of each line, the oldest first."""
    found = await lines(client, admin, limit=100)
    return [(line["actor"], line["action"], line["subject"]) for line in reversed(found)]


def command(db: Database, *words: str) -> str:
    """Run a command on the test's database; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "bursar.entrypoints.cli", *words],
        env={**environment, "DATABASE_URL": db.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_line_says_who_what_why_and_when(
    client: httpx.AsyncClient, admin: Person, ada: Person
) -> None:
    body = {"user_id": "ada", "amount": 50, "reason": "goodwill"}
    headers = {**admin.headers, "Idempotency-Key": "k"}
    given = (await client.post("/api/admin/credits/grants", json=body, headers=headers)).json()
    [line] = await lines(client, admin)
    assert line.pop("created_at").endswith("Z")
    assert line.pop("id") > 0
    assert line.pop("key_id") > 0
    assert line == {
        "actor": "admin",
        "action": "credits.granted",
        "subject": f"transaction:{given['transaction_id']}",
        "customer_id": given["customer_id"],
        "reason": "goodwill",
        "detail": {"unit": "credit", "amount": 50},
    }


async def test_users_described_and_signed_in_by_a_service_are_logged_once_each(
    client: httpx.AsyncClient, admin: Person, service: Person
) -> None:
    described = {"email": "ada@example.com", "email_verified": True}
    for body in (described, described, {**described, "name": "Ada"}, {**described, "name": "Ada"}):
        put = await client.put("/api/users/ada", json=body, headers=service.headers)
        assert put.status_code == 200
    refused = await client.put("/api/users/ada", json={"name": ""}, headers=service.headers)
    assert refused.status_code == 422
    link = await client.post("/api/sessions", json={"user_id": "ada"}, headers=service.headers)
    assert link.status_code == 200
    assert await told(client, admin) == [
        ("service", "user.created", "user:ada"),
        ("service", "user.updated", "user:ada"),
        ("service", "sign_in_link.created", "user:ada"),
    ]
    found = await lines(client, admin)
    assert found[1]["detail"] == {"fields": ["name"]}
    # The log is for ever, so it holds nothing about a person that might have to be forgotten.
    assert "example.com" not in str(found)
    assert link.json()["url"].partition("token=")[2] not in str(found)


async def test_a_use_given_back_by_a_service_is_logged_once(
    client: httpx.AsyncClient, admin: Person, service: Person, ada: Person
) -> None:
    grant = {"user_id": "ada", "amount": 50, "reason": "goodwill"}
    headers = {**admin.headers, "Idempotency-Key": "k"}
    await client.post("/api/admin/credits/grants", json=grant, headers=headers)
    own = {**ada.headers, "Idempotency-Key": "use"}
    used = (await client.post("/api/credits/use", json={"amount": 20}, headers=own)).json()
    path = f"/api/credits/uses/{used['transaction_id']}/reverse"
    acting = {**service.headers, "Bursar-User": "ada"}
    for key, amount, status in (("a", 5, 200), ("a", 5, 200), ("b", 99, 422), ("c", 15, 200)):
        sent = {**acting, "Idempotency-Key": key}
        back = await client.post(path, json={"amount": amount}, headers=sent)
        assert back.status_code == status, back.text
    subject = f"transaction:{used['transaction_id']}"
    given_back = ("service", "credits.given_back", subject)
    assert (await told(client, admin))[1:] == [given_back, given_back]


async def test_commands_are_logged_as_such(
    client: httpx.AsyncClient, db: Database, admin: Person
) -> None:
    key = json.loads(command(db, "keys", "create", "--service", "--json"))
    made = key["id"]
    for _ in range(2):
        command(db, "keys", "revoke", str(made))
    command(db, "admin", "create", "grace")
    assert await told(client, admin) == [
        ("command", "key.created", f"key:{made}"),
        ("command", "key.revoked", f"key:{made}"),
        ("command", "sign_in_link.created", "user:grace"),
    ]
    assert key["secret"] not in str(await lines(client, admin))


async def test_the_list_is_cut_by_action_customer_and_cursor(
    client: httpx.AsyncClient, admin: Person, service: Person
) -> None:
    for user in ("ada", "bob", "eve"):
        await client.put(f"/api/users/{user}", json={}, headers=service.headers)
        await client.post("/api/sessions", json={"user_id": user}, headers=service.headers)
    links = await lines(client, admin, action="sign_in_link.created")
    assert [line["subject"] for line in links] == ["user:eve", "user:bob", "user:ada"]
    bobs = await lines(client, admin, customer_id=links[1]["customer_id"])
    assert [line["action"] for line in bobs] == ["sign_in_link.created", "user.created"]
    first = (await client.get(LOG, params={"limit": 4}, headers=admin.headers)).json()
    rest = await lines(client, admin, limit=4, cursor=first["next_cursor"])
    assert [line["subject"] for line in rest] == ["user:ada", "user:ada"]
    assert await lines(client, admin, action="nobody.did") == []


@pytest.mark.parametrize(
    "query",
    [
        {"action": "x"},
        {"action": "A.B"},
        {"action": "a." + "b" * 41},
        {"customer_id": 0},
        {"customer_id": 2**63},
        {"customer_id": "x"},
        {"limit": 0},
        {"limit": 101},
        {"cursor": "x"},
        {"actor": "admin"},
    ],
)
async def test_a_query_that_can_not_be_is_refused(
    client: httpx.AsyncClient, admin: Person, query: dict[str, Any]
) -> None:
    response = await client.get(LOG, params=query, headers=admin.headers)
    assert_problem(response, 422, "validation_error")


async def test_only_admins_read_it(client: httpx.AsyncClient, ada: Person, service: Person) -> None:
    assert_problem(await client.get(LOG), 401, "unauthenticated")
    for person in (ada, service):
        assert_problem(await client.get(LOG, headers=person.headers), 403, "forbidden")
