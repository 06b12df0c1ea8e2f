"""Bodies and headers that can't be right: each is refused in its own way, none is a crash."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from api_server import Person, Server, assert_problem, make_settings
from bursar.db import Database
from postgres import Postgres

PATH = "/api/stripe/checkout-session"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def database_url(postgres: Postgres, schema_template: str) -> Iterator[str]:
    """One database for the module: hardly anything here gets as far as to store something."""
    with postgres.database(schema_template) as url:
        yield url


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[Server]:
    """One server for the module."""
    running = Server(make_settings(database_url, limit_checkout="off", limit_api="off"))
    yield running
    running.stop()


async def post(
    client: httpx.AsyncClient, person: Person, content: bytes, **headers: str
) -> httpx.Response:
    return await client.post(PATH, content=content, headers={**JSON, **person.headers, **headers})


@pytest.mark.parametrize(
    "content",
    [
        b" ",
        b"{",
        b"nothing",
        b'{"amount": NaN, "currency": "usd"}',
        b'{"amount": Infinity, "currency": "usd"}',
        b'{"amount": -Infinity, "currency": "usd"}',
        b'{"amount": 1e400, "currency": "usd"}',
        b'{"amount": ' + b"9" * 5000 + b', "currency": "usd"}',
        b'{"package": "starter", "package": "basic"}',
        b'{"package": "starter", "metadata": {"a": "1", "a": "2"}}',
        b'\xef\xbb\xbf{"package": "starter"}',
        '{"package": "starter"}'.encode("utf-16"),
        '{"package": "starter"}'.encode("utf-16-le"),
        '{"package": "starter"}'.encode("utf-32"),
        b'{"package": "\xff"}',
        b'{"package": "start\x01er"}',
        b'{"package": "starter"} trailing',
        b"{'package': 'starter'}",
        b"[" * 30_000,
        b'{"metadata": ' * 5000,
        b"[" * 30 + b"]" * 30,
    ],
)
async def test_what_is_no_json_is_400(
    client: httpx.AsyncClient, ada: Person, content: bytes
) -> None:
    assert_problem(await post(client, ada, content), 400, "json_invalid")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ("starter", ""),
        (None, ""),
        (1, ""),
        ({}, ""),
        ({"package": "starter", "price_id": "price_1"}, ""),
        ({"package": "starter", "amount": 500, "currency": "usd"}, ""),
        ({"plan": "pro", "package": "starter"}, ""),
        ({"amount": 500}, ""),
        ({"amount": 500, "currency": "usd", "quantity": 2}, ""),
        ({"package": 7}, "package"),
        ({"package": ""}, "package"),
        ({"package": "x" * 65}, "package"),
        ({"package": "a\x00b"}, "package"),
        ({"package": ["starter"]}, "package"),
        ({"price_id": "x" * 256}, "price_id"),
        ({"amount": 0, "currency": "usd"}, "amount"),
        ({"amount": -1, "currency": "usd"}, "amount"),
        ({"amount": 2**70, "currency": "usd"}, "amount"),
        ({"amount": 10**12 + 1, "currency": "usd"}, "amount"),
        ({"amount": "500", "currency": "usd"}, "amount"),
        ({"amount": 500.0, "currency": "usd"}, "amount"),
        ({"amount": True, "currency": "usd"}, "amount"),
        ({"amount": 500, "currency": "USD"}, "currency"),
        ({"amount": 500, "currency": "dollar"}, "currency"),
        ({"amount": 500, "currency": "us\n"}, "currency"),
        ({"amount": 500, "currency": 840}, "currency"),
        ({"package": "starter", "quantity": 0}, "quantity"),
        ({"package": "starter", "quantity": -1}, "quantity"),
        ({"package": "starter", "quantity": 10**9}, "quantity"),
        ({"package": "starter", "quantity": True}, "quantity"),
        ({"package": "starter", "quantity": 1.5}, "quantity"),
        ({"package": "starter", "quantity": None}, "quantity"),
        ({"package": "starter", "capture_method": "automatic"}, "capture_method"),
        ({"package": "starter", "description": "x" * 501}, "description"),
        ({"package": "starter", "description": "a\r\nBcc: b"}, "description"),
        ({"package": "starter", "metadata": {"bursar_user": "bob"}}, "metadata"),
        ({"package": "starter", "metadata": {"Bursar": "bob"}}, "metadata"),
        ({"package": "starter", "metadata": {"a[b]": "1"}}, "metadata"),
        ({"package": "starter", "metadata": {"": "1"}}, "metadata"),
        ({"package": "starter", "metadata": {"a": 1}}, "metadata.a"),
        ({"package": "starter", "metadata": {"a": "x" * 501}}, "metadata.a"),
        ({"package": "starter", "metadata": {"a": {"b": "c"}}}, "metadata.a"),
        ({"package": "starter", "metadata": {"a": "\x00"}}, "metadata.a"),
        ({"package": "starter", "metadata": {str(n): "" for n in range(21)}}, "metadata"),
        ({"package": "starter", "metadata": []}, "metadata"),
    ],
)
async def test_values_out_of_bounds_are_422_and_named(
    client: httpx.AsyncClient, ada: Person, body: Any, field: str
) -> None:
    response = await post(client, ada, json.dumps(body).encode())
    problem = assert_problem(response, 422, "validation_error")
    assert [entry["field"] for entry in problem["errors"]] == [field]


@pytest.mark.parametrize("name", ["is_admin", "user_id", "status", "price", "Package", "__proto__"])
async def test_unknown_fields_are_refused(
    client: httpx.AsyncClient, ada: Person, name: str
) -> None:
    body = json.dumps({"package": "starter", name: "x"}).encode()
    problem = assert_problem(await post(client, ada, body), 422, "validation_error")
    assert [(e["field"], e["code"]) for e in problem["errors"]] == [(name, "unknown_field")]


@pytest.mark.parametrize(
    "content",
    [
        b'{"package": "\\ud800"}',
        b'{"package": "starter", "metadata": {"a": "\\udfff"}}',
        b'{"package": "starter", "\\ud800": "x"}',
        b'{"package": "starter", "\\u0000": "x"}',
    ],
)
async def test_text_that_cannot_be_stored_is_422(
    client: httpx.AsyncClient, ada: Person, content: bytes
) -> None:
    assert_problem(await post(client, ada, content), 422, "validation_error")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/vnd.api+json",
        "text/json",
    ],
)
async def test_other_content_types_are_415(
    client: httpx.AsyncClient, ada: Person, content_type: str | None
) -> None:
    headers = dict(ada.headers)
    if content_type is not None:
        headers["Content-Type"] = content_type
    response = await client.post(PATH, content=b'{"package": "starter"}', headers=headers)
    assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'],
)
async def test_json_is_taken_however_it_is_spelled(
    client: httpx.AsyncClient, ada: Person, content_type: str
) -> None:
    headers = {**ada.headers, "Content-Type": content_type}
    response = await client.post(PATH, content=b"{}", headers=headers)
    assert_problem(response, 422, "validation_error")


async def test_compressed_bodies_are_415(client: httpx.AsyncClient, ada: Person) -> None:
    response = await post(client, ada, b"{}", **{"Content-Encoding": "gzip"})
    assert_problem(response, 415, "unsupported_media_type")


async def test_large_body_is_413_by_its_length_and_by_its_bytes(
    client: httpx.AsyncClient, ada: Person
) -> None:
    just = b'{"package": "' + b"x" * (64 * 1024 - 15) + b'"}'
    assert len(just) == 64 * 1024
    assert_problem(await post(client, ada, just), 422, "validation_error")
    assert_problem(await post(client, ada, just + b" "), 413, "payload_too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1024

    response = await client.post(PATH, content=endless(), headers={**JSON, **ada.headers})
    assert_problem(response, 413, "payload_too_large")
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel".encode().decode("latin-1")])
async def test_idempotency_key_that_is_none_is_400(
    client: httpx.AsyncClient, ada: Person, service: Person, key: str
) -> None:
    for person, path in ((ada, PATH), (service, "/api/sessions")):
        headers = [
            (b"Idempotency-Key", key.encode("latin-1")),
            *((name.encode(), value.encode()) for name, value in (JSON | person.headers).items()),
        ]
        response = await client.post(path, content=b"not looked at", headers=headers)
        assert_problem(response, 400, "idempotency_key_invalid")


async def test_idempotency_key_sent_twice_is_400(client: httpx.AsyncClient, ada: Person) -> None:
    headers = [
        *(JSON | ada.headers).items(),
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "a"),
    ]
    response = await client.post(PATH, content=b"{}", headers=headers)
    assert_problem(response, 400, "idempotency_key_invalid")


@pytest.mark.parametrize("field", ["success_url", "cancel_url"])
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://app.example/",
        "https://app.example:8443/",
        "https://app.example.evil.example/",
        "https://evil.example/?https://app.example/",
        "https://app.example@evil.example/",
        "https://user:word@app.example/",
        "https://@app.example/",
        "https://evil.example\\@app.example/",
        "https:\\\\app.example/",
        "https://app.example\\.evil.example/",
        "//app.example/",
        "/checkout/success",
        "app.example",
        "",
        " https://app.example/",
        "https://app.example/\t",
        "https://app.exam\nple/",
        "javascript:alert(1)",
        "data:text/html,hello",
        "ftp://app.example/",
        "https:///app.example/",
        "https://app.example:99999/",
        "https://app.example:x/",
        "https://[::1/",
        "https://ápp.example/",
        "https://app.example/ä",
    ],
)
async def test_redirects_lead_to_allowed_origins_alone(
    client: httpx.AsyncClient, ada: Person, field: str, url: str
) -> None:
    body = json.dumps({"package": "starter", field: url}).encode()
    problem = assert_problem(await post(client, ada, body), 422, "redirect_not_allowed")
    assert problem["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example",
        "https://app.example/done?session_id={CHECKOUT_SESSION_ID}#top",
        "HTTPS://APP.example:443/@done",
        "https://shop.example/checkout/success",
    ],
)
async def test_allowed_redirects_pass_to_the_catalogue(
    client: httpx.AsyncClient, ada: Person, url: str
) -> None:
    body = json.dumps({"package": "none", "success_url": url, "cancel_url": url}).encode()
    assert_problem(await post(client, ada, body), 422, "unknown_item")


async def test_plans_and_unknown_packages_are_unknown_items(
    client: httpx.AsyncClient, ada: Person
) -> None:
    for body in (
        {"plan": "pro"},
        {"package": "none"},
        {"price_id": "price_none"},
    ):
        response = await post(client, ada, json.dumps(body).encode())
        assert_problem(response, 422, "unknown_item")


async def test_nothing_that_was_refused_left_a_payment(
    client: httpx.AsyncClient, ada: Person, db: Database
) -> None:
    for content in (b"{", b"{}", b'{"package": "none"}'):
        await post(client, ada, content, **{"Idempotency-Key": "k"})
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 0
        assert await conn.fetchval("select count(*) from idempotency_keys") == 0
