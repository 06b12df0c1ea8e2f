"""Bad input, kind by kind, at every address that takes it: the one expected answer, never a crash.

The kinds are tables: transport and signature of webhooks, bodies, keys, amounts, ids, queries.
What comes of authentic but odd webhooks is the fuzz tests' to say.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from api_server import (
    NOW,
    WEBHOOK_SECRET,
    Person,
    Server,
    assert_problem,
    event,
    make_settings,
    sign,
)
from bursar.access import keys
from bursar.access.actors import Kind
from bursar.billing import catalog
from bursar.billing.catalog import Unit
from bursar.db import Database
from postgres import Postgres

WEBHOOK = "/api/stripe/webhook"
CHECKOUT, REFUND = "/api/stripe/checkout-session", "/api/stripe/refund"
USE, REVERSE = "/api/credits/use", "/api/credits/uses/1/reverse"
JSON = {"Content-Type": "application/json"}

# Every address that takes a body from a client: who may, and a body that gets past the reader.
BODIES: dict[str, tuple[str, Kind, dict[str, Any]]] = {
    "/api/users/ada": ("PUT", "service", {"name": "Ada"}),
    "/api/sessions": ("POST", "service", {"user_id": "ada"}),
    CHECKOUT: ("POST", "user", {"package": "none"}),
    REFUND: ("POST", "admin", {"payment_id": 1}),
    USE: ("POST", "user", {"amount": 1}),
    REVERSE: ("POST", "service", {"amount": 1}),
    "/api/admin/vouchers": ("POST", "admin", {"credits": 1, "user_id": "nobody"}),
    "/api/vouchers/redeem": ("POST", "user", {"code": "NONE"}),
}
KEYED = (REFUND, USE, REVERSE)
ADDRESSES = sorted(BODIES)


@pytest.fixture(scope="module")
def database_url(postgres: Postgres, schema_template: str) -> Iterator[str]:
    """One database for the module: next to nothing that is refused leaves a trace."""
    with postgres.database(schema_template) as url:
        yield url


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[Server]:
    """One server for the module."""
    running = Server(
        make_settings(database_url, limit_checkout="off", limit_api="off", limit_voucher="off")
    )
    yield running
    running.stop()


@pytest.fixture(autouse=True)
async def units(db: Database) -> None:
    """A unit, so that uses get as far as the balance."""
    rated = Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)})  # type: ignore[dict-item]
    async with db.transaction() as conn:
        await catalog.put_units(conn, [rated])


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


class Sender:
    """Sends to an address as whoever may use it, with all that is right but what is replaced."""

    def __init__(self, client: httpx.AsyncClient, people: dict[Kind, Person]) -> None:
        self._client = client
        self._people = people

    async def send(
        self, path: str, content: bytes | None = None, **headers: str | None
    ) -> httpx.Response:
        method, kind, body = BODIES[path]
        given: dict[str, str | None] = {**JSON, **self._people[kind].headers}
        if path in (USE, REVERSE, CHECKOUT) and kind == "service":
            given["Bursar-User"] = "ada"
        if path in KEYED:
            given["Idempotency-Key"] = f"bad-{time.monotonic_ns()}"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._client.request(
            method,
            path,
            content=json.dumps(body).encode() if content is None else content,
            headers=[
                (name.encode(), value.encode("latin-1"))
                for name, value in given.items()
                if value is not None
            ],
        )


@pytest.fixture
def sender(client: httpx.AsyncClient, people: dict[Kind, Person]) -> Sender:
    return Sender(client, people)


# What the bodies above come to when nothing is wrong with them.
EXPECTED = {
    "/api/users/ada": (200, ""),
    "/api/sessions": (200, ""),
    CHECKOUT: (422, "unknown_item"),
    REFUND: (404, "not_found"),
    USE: (402, "insufficient_credits"),
    REVERSE: (404, "not_found"),
    "/api/admin/vouchers": (404, "not_found"),
    "/api/vouchers/redeem": (404, "not_found"),
}


@pytest.mark.parametrize("path", ADDRESSES)
async def test_what_is_right_gets_past_the_reader(sender: Sender, path: str) -> None:
    status, code = EXPECTED[path]
    response = await sender.send(path)
    assert response.status_code == status, response.text
    assert not code or response.json()["code"] == code


NO_JSON = [
    b" ",
    b"{",
    b'{"amount": NaN}',
    b'{"amount": 1e400}',
    b'{"amount": -Infinity}',
    b'{"amount": 1, "amount": 1}',
    b'\xef\xbb\xbf{"amount": 1}',
    '{"amount": 1}'.encode("utf-16"),
    b'{"description": "\xff"}',
    b'{"amount": ' + b"9" * 5000 + b"}",
    b"[" * 40_000,
]


@pytest.mark.parametrize("path", ADDRESSES)
async def test_what_is_no_json_is_400_everywhere(sender: Sender, path: str) -> None:
    for content in NO_JSON:
        assert_problem(await sender.send(path, content), 400, "json_invalid")


@pytest.mark.parametrize("path", ADDRESSES)
async def test_values_of_other_shapes_are_422_everywhere(sender: Sender, path: str) -> None:
    _, _, body = BODIES[path]
    for value in (None, [], [body], "x", 1, True):
        content = json.dumps(value).encode()
        assert_problem(await sender.send(path, content), 422, "validation_error")


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize(
    "name", ["is_admin", "customer_id", "status", "price", "\\u0000", "\\ud800"]
)
async def test_unknown_and_unstorable_names_are_422_everywhere(
    sender: Sender, path: str, name: str
) -> None:
    body = json.dumps(BODIES[path][2])[:-1]
    response = await sender.send(path, f'{body}, "{name}": 1}}'.encode())
    problem = assert_problem(response, 422, "validation_error")
    code = "string_unstorable" if name.startswith("\\") else "unknown_field"
    assert [entry["code"] for entry in problem["errors"]] == [code]


@pytest.mark.parametrize("path", ADDRESSES)
async def test_other_types_and_sizes_are_415_and_413_everywhere(sender: Sender, path: str) -> None:
    for content_type in ("text/plain", "multipart/form-data; boundary=x", None):
        response = await sender.send(path, Content_Type=content_type)
        assert_problem(response, 415, "unsupported_media_type")
    response = await sender.send(path, Content_Encoding="gzip")
    assert_problem(response, 415, "unsupported_media_type")
    large = await sender.send(path, b" " * (5 * 1024 * 1024))
    assert_problem(large, 413, "payload_too_large")


NO_AMOUNTS = ["0", "-1", str(10**12 + 1), str(2**63), str(2**70), '"1"', "1.0", "true", "[]", "{}"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (CHECKOUT, "amount"),
        (CHECKOUT, "quantity"),
        (REFUND, "amount"),
        (USE, "amount"),
        (REVERSE, "amount"),
    ],
)
async def test_amounts_that_are_none_are_422_everywhere(
    sender: Sender, path: str, field: str
) -> None:
    rest = {name: value for name, value in BODIES[path][2].items() if name != field}
    if (path, field) == (CHECKOUT, "amount"):
        rest = {"currency": "usd"}
    for amount in NO_AMOUNTS:
        content = json.dumps(rest)[:-1] + (", " if rest else "") + f'"{field}": {amount}}}'
        problem = assert_problem(await sender.send(path, content.encode()), 422, "validation_error")
        assert [entry["field"] for entry in problem["errors"]] == [field], amount


@pytest.mark.parametrize("path", [CHECKOUT, "/api/sessions", *KEYED])
async def test_idempotency_keys_that_are_none_are_400(sender: Sender, path: str) -> None:
    for key in ("", "x" * 256, "a\tb", "schl\xfcssel"):
        response = await sender.send(path, Idempotency_Key=key)
        assert_problem(response, 400, "idempotency_key_invalid")
    if path in KEYED:
        response = await sender.send(path, b"not looked at", Idempotency_Key=None)
        assert_problem(response, 400, "idempotency_key_required")


@pytest.mark.parametrize("path", ADDRESSES)
async def test_bad_keys_are_401_and_alike_and_wrong_ones_403(
    sender: Sender, people: dict[Kind, Person], db: Database, path: str
) -> None:
    async with db.transaction() as conn:
        _, expired = await keys.create(conn, "admin", at=NOW, expires_at=NOW)
        revoked_id, revoked = await keys.create(conn, "service", at=NOW)
        await keys.revoke(conn, revoked_id, at=NOW)
    answers = []
    for authorization in (
        None,
        "Bearer",
        "Bearer nonsense",
        f"Bearer {expired}",
        f"Bearer {revoked}",
        "Bearer " + "k" * 5000,
    ):
        response = await sender.send(path, b"\xff{", Authorization=authorization)
        problem = assert_problem(response, 401, "unauthenticated")
        problem.pop("request_id")
        answers.append(problem)
    assert all(answer == answers[0] for answer in answers)
    needed = BODIES[path][1]
    for kind in {"user", "admin"} - {needed}:
        wrong = people["admin" if kind == "admin" else "user"].headers["Authorization"]
        response = await sender.send(path, b"\xff{", Authorization=wrong)
        assert_problem(response, 403, "forbidden")


NO_IDS = ["1 OR 1=1", "x", "-1", "0", "1.5", "9" * 18, "9" * 40, "\u0661", "%00", "999999"]
NO_SESSIONS = ["cs_none", "%00", "x" * 300, "cs_1%20OR%201=1", "%F0%9F%92%B8", "%FF"]


async def test_ids_that_are_none_are_404_and_alike(
    client: httpx.AsyncClient, sender: Sender, ada: Person, service: Person
) -> None:
    acting = {**service.headers, **JSON, "Bursar-User": "ada"}
    for where, absurd in (
        ("/api/payments/{}", NO_IDS),
        ("/api/stripe/payments/{}", NO_IDS),
        ("/api/stripe/checkout-session/{}", NO_SESSIONS),
        ("/api/credits/uses/{}/reverse", NO_IDS),
    ):
        answers = []
        for number, text in enumerate(absurd):
            path = where.format(text)
            if where.endswith("reverse"):
                headers = {**acting, "Idempotency-Key": f"id-{number}"}
                response = await client.post(path, content=b"{}", headers=headers)
            else:
                response = await client.get(path, headers=ada.headers)
            problem = assert_problem(response, 404, "not_found")
            problem.pop("request_id")
            answers.append(problem)
        assert all(answer == answers[0] for answer in answers), where


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=1&limit=2x", "cursor=x", "cursor=%00", "a=1"],
)
async def test_queries_that_are_none_are_422(
    client: httpx.AsyncClient, ada: Person, query: str
) -> None:
    for path in ("/user/transactions", "/api/payments", "/api/stripe/payments"):
        response = await client.get(f"{path}?{query}", headers=ada.headers)
        assert_problem(response, 422, "validation_error")


def webhook_cases() -> list[tuple[str, bytes, dict[str, str], int, str]]:
    """What may be wrong with a webhook's transport and signature, and what it is answered."""
    body = event("evt_case")
    good = sign(body)
    seconds, _, digest = good.partition(",v1=")
    signed = {**JSON, "Stripe-Signature": good}
    old, early = time.time() - 301, time.time() + 400
    plain = {name: value for name, value in signed.items() if name != "Content-Type"}

    def signature(text: str) -> dict[str, str]:
        return {**JSON, "Stripe-Signature": text}

    return [
        ("GET", b"", signed, 405, "method_not_allowed"),
        ("PUT", body, signed, 405, "method_not_allowed"),
        ("POST", body, plain, 415, "unsupported_media_type"),
        ("POST", body, {**signed, "Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (
            "POST",
            body,
            {**signed, "Content-Type": "application/x-www-form-urlencoded"},
            415,
            "unsupported_media_type",
        ),
        (
            "POST",
            body,
            {**signed, "Content-Type": "multipart/form-data; boundary=x"},
            415,
            "unsupported_media_type",
        ),
        ("POST", body + b" " * 1024 * 1024, signed, 413, "payload_too_large"),
        ("POST", b"", JSON, 400, "signature_missing"),
        ("POST", b"", signed, 400, "signature_invalid"),
        ("POST", body, JSON, 400, "signature_missing"),
        ("POST", body, signature(""), 400, "signature_malformed"),
        ("POST", body, signature(f"v1={digest}"), 400, "signature_malformed"),
        ("POST", body, signature(f"{seconds},v1={digest[:-1]}"), 400, "signature_invalid"),
        ("POST", body, signature(f"{seconds},v0={digest}"), 400, "signature_invalid"),
        ("POST", body, signature(f"{seconds},v1={digest.upper()}"), 400, "signature_invalid"),
        ("POST", body, signature(f"{seconds},v1=sha256={digest}"), 400, "signature_invalid"),
        ("POST", body, signature(f"ts={seconds[2:]};h1={digest}"), 400, "signature_malformed"),
        ("POST", body, signature(sign(body, at=old)), 400, "timestamp_out_of_tolerance"),
        ("POST", body, signature(sign(body, at=early)), 400, "timestamp_out_of_tolerance"),
        (
            "POST",
            body,
            signature(f"t={int(seconds[2:]) + 1},v1={digest}"),
            400,
            "signature_invalid",
        ),
        ("POST", body + b"\n", signed, 400, "signature_invalid"),
        ("POST", body, signature(sign(body, secret="whsec_other")), 400, "signature_invalid"),
        ("POST", body, signature("x" * 70_000), 400, "signature_malformed"),
        ("POST", body, signature(f"{seconds},v1={'0' * 64},v1={digest}"), 200, ""),
        ("POST", body, signed, 200, ""),
    ]


async def stored(db: Database, event_key: str) -> int:
    async with db.connection() as conn:
        found: int = await conn.fetchval(
            "select count(*) from inbox_messages where event_key = $1", event_key
        )
    return found


async def test_webhooks_are_answered_by_the_table_and_stored_once(
    client: httpx.AsyncClient, db: Database
) -> None:
    for method, content, headers, status, code in webhook_cases():
        response = await client.request(method, WEBHOOK, content=content, headers=headers)
        if status == 200:
            assert (response.status_code, response.text) == (200, '{"received": true}')
        else:
            assert_problem(response, status, code)
        assert await stored(db, "evt_case") == (status == 200), (status, code, content[:50])


async def test_an_endless_body_is_cut_off(client: httpx.AsyncClient, ada: Person) -> None:
    """The answer is 413; who goes on sending past it may lose the answer with the connection."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(2000):
            sent += 1
            yield b" " * 65536

    for path, signed in ((WEBHOOK, {"Stripe-Signature": sign(b"")}), (CHECKOUT, ada.headers)):
        sent = 0
        try:
            response = await client.post(path, content=endless(), headers={**JSON, **signed})
        except (httpx.ReadError, httpx.WriteError):
            response = None
        if response is not None:
            assert_problem(response, 413, "payload_too_large")
        assert sent < 2000
    assert (await client.get("/healthz")).status_code == 200


async def test_an_old_secret_is_good_while_it_is_listed_and_no_longer(
    client: httpx.AsyncClient, database_url: str
) -> None:
    rotating = Server(make_settings(database_url, stripe_webhook_secrets="whsec_new,whsec_old"))
    try:
        async with httpx.AsyncClient(base_url=rotating.url) as both:
            for secret, status in (("whsec_old", 200), ("whsec_new", 200), (WEBHOOK_SECRET, 400)):
                body = event(f"evt_rotated_{secret}")
                headers = {**JSON, "Stripe-Signature": sign(body, secret=secret)}
                response = await both.post(WEBHOOK, content=body, headers=headers)
                assert response.status_code == status
    finally:
        rotating.stop()
    body = event("evt_rotated_late")
    headers = {**JSON, "Stripe-Signature": sign(body, secret="whsec_old")}
    late = await client.post(WEBHOOK, content=body, headers=headers)
    assert_problem(late, 400, "signature_invalid")
