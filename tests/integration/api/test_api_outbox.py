"""Webhook endpoints and the outbox over HTTP: for admins alone, secrets told once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api_server import NOW, Person, assert_problem, make_key
from bursar.access import audit_log
from bursar.db import Database
from bursar.entrypoints import sending, sending_webhooks
from bursar.messages import outbox
from bursar.messages.outbox import Event
from bursar.wiring import opened
from hook_receiver import answer, receiving

HOOKS, OUTBOX = "/api/admin/webhook-endpoints", "/api/admin/outbox"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def admin(db: Database) -> Person:
    return Person("", await make_key(db, "admin"))


@pytest.fixture
async def here(make_server: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """A client of a sandbox's server, which may send to this machine, and its settings."""
    server = make_server(sandbox=True, stripe_secret_key="sk_test_x")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client, server.settings


async def make(client: httpx.AsyncClient, admin: Person, url: str, *topics: str) -> dict[str, Any]:
    body = {"url": url, "topics": topics or ["*"]}
    made = await client.post(HOOKS, json=body, headers=admin.headers)
    assert made.status_code == 200, made.text
    fields: dict[str, Any] = made.json()
    return fields


async def send(settings: Any) -> None:
    async with opened(settings) as wiring, sending_webhooks.opened(wiring) as way:
        while await sending.send_once(wiring, way):
            pass


async def test_the_secret_is_told_once_and_listed_never(
    here: tuple[httpx.AsyncClient, Any], admin: Person, db: Database
) -> None:
    client, _ = here
    made = await make(client, admin, "http://127.0.0.1:9/x", "payment.*", "case.opened")
    assert made["secret"].startswith("whsec_")
    assert made["topics"] == ["case.opened", "payment.*"]
    listed = await client.get(HOOKS, headers=admin.headers)
    assert [one["id"] for one in listed.json()["data"]] == [made["id"]]
    rotated = await client.post(f"{HOOKS}/{made['id']}/rotate", headers=admin.headers)
    assert rotated.json()["secret"] not in ("", made["secret"])
    assert rotated.json()["former_for_seconds"] == 86400
    assert "whsec_" not in listed.text
    async with db.connection() as conn:
        lines = await audit_log.list_entries(conn, limit=10)
    actions = [line.action for line in reversed(lines)]
    assert actions == ["webhook_endpoint.created", "webhook_endpoint.rotated"]
    assert "whsec_" not in str([line.detail for line in lines])


async def test_a_test_event_arrives_at_this_endpoint_alone(
    here: tuple[httpx.AsyncClient, Any], admin: Person
) -> None:
    client, settings = here
    async with receiving() as receiver, receiving() as other:
        made = await make(client, admin, receiver.url)
        await make(client, admin, other.url)
        headers = {**admin.headers, "Idempotency-Key": "once"}
        first = await client.post(f"{HOOKS}/{made['id']}/test", headers=headers)
        again = await client.post(f"{HOOKS}/{made['id']}/test", headers=headers)
        assert first.json() == again.json()
        await send(settings)
        assert other.got == []
        [got] = receiver.got
    assert got.verified(made["secret"])
    assert got.event["type"] == "endpoint.test"
    assert got.headers["webhook-id"] == first.json()["event_id"]
    shown = await client.get(OUTBOX, headers=admin.headers)
    assert [(one["id"], one["state"]) for one in shown.json()["data"]] == [
        (first.json()["message_id"], "sent")
    ]


async def test_a_deleted_endpoint_is_gone(
    here: tuple[httpx.AsyncClient, Any], admin: Person
) -> None:
    client, _ = here
    made = await make(client, admin, "http://127.0.0.1:9/x")
    path = f"{HOOKS}/{made['id']}"
    assert (await client.delete(path, headers=admin.headers)).status_code == 200
    assert (await client.get(HOOKS, headers=admin.headers)).json() == {"data": []}
    for answered in (
        await client.delete(path, headers=admin.headers),
        await client.post(f"{path}/rotate", headers=admin.headers),
        await client.post(f"{path}/test", headers=admin.headers),
        await client.delete(f"{HOOKS}/nonsense", headers=admin.headers),
    ):
        assert_problem(answered, 404, "not_found")


async def test_an_endpoint_that_said_410_is_shown_as_disabled(
    here: tuple[httpx.AsyncClient, Any], admin: Person
) -> None:
    client, settings = here
    async with receiving() as receiver:
        receiver.says = [answer(410)]
        made = await make(client, admin, receiver.url)
        await client.post(f"{HOOKS}/{made['id']}/test", headers=admin.headers)
        await send(settings)
    [shown] = (await client.get(HOOKS, headers=admin.headers)).json()["data"]
    assert shown["disabled_at"] is not None
    assert "410" in shown["disabled_reason"]
    refused = await client.post(f"{HOOKS}/{made['id']}/test", headers=admin.headers)
    assert_problem(refused, 409, "conflict")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://localhost:8443/"]
)
async def test_outside_a_sandbox_no_neighbour_is_an_endpoint(
    client: httpx.AsyncClient, admin: Person, url: str
) -> None:
    body = {"url": url, "topics": ["*"]}
    problem = assert_problem(
        await client.post(HOOKS, json=body, headers=admin.headers), 422, "validation_error"
    )
    assert problem["errors"][0]["code"] == "url_not_allowed"


async def test_live_endpoints_speak_https(make_server: Any, admin: Person) -> None:
    server = make_server(stripe_secret_key="sk_live_x")
    body = {"url": "http://8.8.8.8/", "topics": ["*"]}
    headers = {**admin.headers, "x-forwarded-proto": "https"}
    async with httpx.AsyncClient(base_url=server.url) as client:
        refused = await client.post(HOOKS, json=body, headers=headers)
    assert refused.status_code in (403, 422)


@pytest.mark.parametrize("topics", [[], ["payment.nonsense"], ["mail.*"], ["**"], "payment.*"])
async def test_topics_that_there_are_not_are_refused(
    client: httpx.AsyncClient, admin: Person, topics: object
) -> None:
    body = {"url": "https://8.8.8.8/", "topics": topics}
    answered = await client.post(HOOKS, json=body, headers=admin.headers)
    assert answered.status_code == 422


async def test_a_dead_message_is_sent_again_by_an_admin(
    here: tuple[httpx.AsyncClient, Any], admin: Person, db: Database
) -> None:
    client, settings = here
    async with receiving() as receiver:
        await make(client, admin, receiver.url, "payment.completed")
        async with db.transaction() as conn:
            told = Event("payment.completed", "ref", 7, {"number": 1})
            await outbox.emit(conn, [told], at=NOW)
            await conn.execute("update outbox_messages set state = 'dead', attempts = 8")
        query = {"state": "dead", "destination": "webhook:1"}
        shown = (await client.get(OUTBOX, params=query, headers=admin.headers)).json()
        [message] = shown["data"]
        path = f"{OUTBOX}/{message['id']}/retry"
        queued = (await client.post(path, headers=admin.headers)).json()
        assert (queued["state"], queued["attempts"]) == ("queued", 0)
        await send(settings)
        assert [got.event["data"] for got in receiver.got] == [{"number": 1}]
        async with db.transaction() as conn:
            await outbox.retry(conn, [message["id"]])
            await outbox.claim(conn, ["webhook:1"], limit=1, lease_seconds=60)
        assert_problem(await client.post(path, headers=admin.headers), 409, "conflict")
        missing = await client.post(f"{OUTBOX}/999/retry", headers=admin.headers)
        assert_problem(missing, 404, "not_found")


async def test_nobody_but_an_admin_sees_any_of_it(client: httpx.AsyncClient, ada: Person) -> None:
    calls = [("GET", HOOKS), ("POST", HOOKS), ("DELETE", f"{HOOKS}/1"), ("GET", OUTBOX)]
    calls += [("POST", f"{HOOKS}/1/{act}") for act in ("rotate", "test")]
    for verb, path in [*calls, ("POST", f"{OUTBOX}/1/retry")]:
        answered = await client.request(verb, path, headers=ada.headers)
        assert answered.status_code == 403, path
