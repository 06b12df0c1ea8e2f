"""The webhook's address: authentic and stored, or not a trace."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from api_server import WEBHOOK_SECRET, Server, assert_problem, event, sign
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.entrypoints.api.intake import Intake
from bursar.providers.port import Received
from postgres import Postgres

PATHS = ["/api/stripe/webhook", "/api/webhooks/stripe"]
JSON = {"Content-Type": "application/json"}


async def post(
    client: httpx.AsyncClient, body: bytes, signature: str | None, path: str = PATHS[0]
) -> httpx.Response:
    headers = dict(JSON)
    if signature is not None:
        headers["Stripe-Signature"] = signature
    return await client.post(path, content=body, headers=headers)


async def stored(db: Database) -> list[tuple[str, bytes]]:
    async with db.connection() as conn:
        rows = await conn.fetch("select event_key, payload from inbox_messages order by id")
    return [(row["event_key"], row["payload"]) for row in rows]


@pytest.mark.parametrize("path", PATHS)
async def test_signed_message_is_stored_as_it_came(
    client: httpx.AsyncClient, db: Database, path: str
) -> None:
    body = event(note="ünï \u0000") + b" \n"
    response = await post(client, body, sign(body), path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"received": True}
    assert response.headers["x-request-id"].startswith("req_")
    assert await stored(db) == [("evt_1", body)]


async def test_duplicates_are_stored_once_whichever_way_they_come(
    client: httpx.AsyncClient, db: Database
) -> None:
    body = event()
    responses = await asyncio.gather(
        *(post(client, body, sign(body), PATHS[n % 2]) for n in range(40))
    )
    assert {response.status_code for response in responses} == {200}
    assert await stored(db) == [("evt_1", body)]


async def test_many_at_once_are_all_stored(client: httpx.AsyncClient, db: Database) -> None:
    bodies = [event(f"evt_{n}") for n in range(200)]
    responses = await asyncio.gather(*(post(client, body, sign(body)) for body in bodies))
    assert {response.status_code for response in responses} == {200}
    assert sorted(await stored(db)) == sorted((json.loads(body)["id"], body) for body in bodies)


def tampered(body: bytes) -> list[tuple[bytes, str | None, str]]:
    """Bodies with signatures that don't fit, and the code that says why."""
    good = sign(body)
    seconds, _, digest = good.partition(",v1=")
    return [
        (body, None, "signature_missing"),
        (body, "", "signature_malformed"),
        (body, "nonsense", "signature_malformed"),
        (body, f"v1={digest}", "signature_malformed"),
        (body, f"{seconds},v0={digest}", "signature_invalid"),
        (body, f"{seconds},v1={digest.upper()}", "signature_invalid"),
        (body, f"{seconds},v1={'0' * 64}", "signature_invalid"),
        (body, f"{seconds},v1=é", "signature_invalid"),
        (body + b"\n", good, "signature_invalid"),
        (body.replace(b"evt_1", b"evt_2"), good, "signature_invalid"),
        (b"", good, "signature_invalid"),
        (body, sign(body, secret="whsec_other"), "signature_invalid"),
        (body, sign(body, at=time.time() - 301), "timestamp_out_of_tolerance"),
        (body, sign(body, at=time.time() + 400), "timestamp_out_of_tolerance"),
        (body, f"t={int(time.time()) + 1},v1={digest}", "signature_invalid"),
    ]


async def test_what_is_not_authentic_is_400_and_leaves_no_trace(
    client: httpx.AsyncClient, db: Database
) -> None:
    for body, signature, code in tampered(event()):
        headers = [(b"Content-Type", b"application/json")]
        if signature is not None:
            headers.append((b"Stripe-Signature", signature.encode()))
        response = await client.post(PATHS[0], content=body, headers=headers)
        assert_problem(response, 400, code)
    assert await stored(db) == []
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from inbox_keys") == 0
    metrics = (await client.get("/metrics")).text
    count = f'bursar_webhooks_total{{outcome="refused",provider="stripe"}} {len(tampered(b""))}.0'
    assert count in metrics


async def test_either_secret_passes_while_they_are_rotated(
    make_server: Callable[..., Server], db: Database
) -> None:
    server = make_server(stripe_webhook_secrets="whsec_new,whsec_old")
    async with httpx.AsyncClient(base_url=server.url) as client:
        for secret, status in (("whsec_new", 200), ("whsec_old", 200), (WEBHOOK_SECRET, 400)):
            body = event(f"evt_{secret}")
            response = await post(client, body, sign(body, secret=secret))
            assert response.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"id": 7, "type": "x", "livemode": false}',
        b'{"id": "", "type": "x", "livemode": false}',
        b'{"id": "evt_\\ud800", "type": "x", "livemode": false}',
        json.dumps({"id": "e" * 10_000, "type": "t" * 10_000}).encode(),
        b'{"id": "evt_nan", "amount": NaN}',
        json.dumps({"id": "evt_\x00", "type": "a\x00b", "livemode": False}).encode(),
        b"[" * 100_000,
    ],
)
async def test_authentic_but_odd_messages_are_taken_so_that_nobody_repeats_them(
    client: httpx.AsyncClient, db: Database, body: bytes
) -> None:
    response = await post(client, body, sign(body))
    assert response.status_code == 200, response.text
    assert [payload for _, payload in await stored(db)] == [body]


async def test_large_bodies_are_413(client: httpx.AsyncClient, db: Database) -> None:
    just = event(note="x" * (1024 * 1024 - len(event(note=""))))
    assert len(just) == 1024 * 1024
    assert (await post(client, just, sign(just))).status_code == 200
    assert_problem(await post(client, just + b" ", sign(just)), 413, "payload_too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65536

    headers = {**JSON, "Stripe-Signature": sign(just)}
    response = await client.post(PATHS[0], content=endless(), headers=headers)
    assert_problem(response, 413, "payload_too_large")
    assert len(await stored(db)) == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_other_content_types_are_415(
    client: httpx.AsyncClient, db: Database, content_type: str
) -> None:
    body = event()
    headers = {"Content-Type": content_type, "Stripe-Signature": sign(body)}
    response = await client.post(PATHS[0], content=body, headers=headers)
    assert_problem(response, 415, "unsupported_media_type")
    assert await stored(db) == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405(client: httpx.AsyncClient, path: str, method: str) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.headers["x-request-id"]


async def test_provider_that_is_not_set_up_and_one_that_nobody_knows(
    client: httpx.AsyncClient, db: Database
) -> None:
    body = event()
    for provider in ("paddle", "lemonsqueezy"):
        for path in (f"/api/{provider}/webhook", f"/api/webhooks/{provider}"):
            assert_problem(await post(client, body, sign(body), path), 409, "not_supported")
    for path in ("/api/square/webhook", "/api/webhooks/square", "/api/Stripe/webhook"):
        assert_problem(await post(client, body, sign(body), path), 404, "not_found")
    assert await stored(db) == []


async def test_database_gone_is_503_and_back_is_200(
    client: httpx.AsyncClient, db: Database, database_url: str, postgres: Postgres
) -> None:
    body = event()
    assert (await post(client, body, sign(body))).status_code == 200
    name = urlsplit(database_url).path.strip("/")
    admin = await asyncpg.connect(postgres.url)
    try:
        await db.close()
        await admin.execute(f"alter database {name} allow_connections false")
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
        )
        for n in range(3):
            lost = event(f"evt_lost_{n}")
            response = await post(client, lost, sign(lost))
            problem = assert_problem(response, 503, "unavailable")
            assert int(response.headers["retry-after"]) >= 1
            assert "127.0.0.1" not in json.dumps(problem)
        await admin.execute(f"alter database {name} allow_connections true")
    finally:
        await admin.close()
    again = event("evt_2")
    assert (await post(client, again, sign(again))).status_code == 200


def message(event_key: str) -> Received:
    return Received("stripe", "", "test", event_key, "x", b"{}", {})


async def test_one_bad_message_of_a_batch_takes_no_other_with_it(db: Database) -> None:
    intake = Intake(db, SystemClock())
    keys = ["good_1", "bad\x00", "good_2", "good_3"]
    results = await asyncio.gather(
        *(intake.store(message(key)) for key in keys), return_exceptions=True
    )
    assert [result is None for result in results] == [True, False, True, True]
    assert [key for key, _ in await stored(db)] == ["good_1", "good_2", "good_3"]


async def test_caller_who_gave_up_harms_nobody(db: Database) -> None:
    intake = Intake(db, SystemClock())
    tasks = [asyncio.create_task(intake.store(message(f"evt_{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[5].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(result is None for result in results) == 8
    await intake.store(message("evt_last"))
    assert ("evt_last", b"{}") in await stored(db)
