"""Card numbers in requests: refused by a code of their own, in no log line and in no table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import pytest

from api_server import Person, Server, assert_problem
from bursar.access.actors import Kind
from bursar.db import Database
from bursar.entrypoints.api.card_numbers import holds_card_number
from worlds import eventually

CARD = "4242424242424242"

HELD = [
    CARD,
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "4242\u00a04242\u00a04242\u00a04242",
    "card: 4242-4242 4242-4242, thanks",
    "paid on 2024-01-15 4242 4242 4242 4242 123",
    "378282246310005",
    "3782 822463 10005",
    "30569309025904",
    "2223003122003222",
    "6011111111111117",
    "6205500000000000004",
    "4222222222222",
    f"{CARD}@example.com",
    " ".join(CARD),
]
NOT_HELD = [
    "",
    "4242424242424241",
    "pi_4242424242424242",
    "4242424242424242x",
    "ord4242424242424242",
    "42424242424242424242",
    "424242424242",
    "4242.4242.4242.4242",
    "1772366400000",
    "9424242424242424",
    "0000000000000000",
    "550e8400-e29b-41d4-a716-446655440000",
    "44444444-4444-4444-8444-424242424242",
    "+49 30 901820 und 0 30 90 18 20",
]


@pytest.mark.parametrize("text", HELD)
def test_a_card_number_is_seen_however_it_is_grouped(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize("text", NOT_HELD)
def test_what_is_no_card_number_is_let_through(text: str) -> None:
    assert not holds_card_number(text)


def test_ids_that_machines_make_are_let_through() -> None:
    drawn = Random(11)  # noqa: S311
    for _ in range(5000):
        made = uuid.UUID(int=drawn.getrandbits(128), version=4)
        assert not holds_card_number(str(made))
        assert not holds_card_number(f"order {made.hex} of {made}")


Where = tuple[str, str, Kind, dict[str, Any], str]

FIELDS: list[Where] = [
    ("PUT", "/api/users/ada", "service", {"name": f"Ada {CARD}"}, "name"),
    ("PUT", "/api/users/ada", "service", {"email": f"{CARD}@example.com"}, "email"),
    (
        "POST",
        "/api/stripe/checkout-session",
        "user",
        {"package": "starter", "description": "4242 4242 4242 4242"},
        "description",
    ),
    (
        "POST",
        "/api/stripe/checkout-session",
        "user",
        {"package": "starter", "metadata": {"note": "4242-4242-4242-4242"}},
        "metadata.note",
    ),
    (
        "POST",
        "/api/stripe/checkout-session",
        "user",
        {"package": "starter", "metadata": {CARD: "x"}},
        "metadata",
    ),
    ("POST", "/api/credits/use", "user", {"amount": 1, "description": CARD}, "description"),
    ("POST", "/api/credits/uses/1/reverse", "service", {"description": CARD}, "description"),
    ("POST", "/api/stripe/refund", "admin", {"payment_id": 1, "reason": CARD}, "reason"),
    (
        "POST",
        "/api/sessions",
        "service",
        {"user_id": "ada", "card": [{"number": CARD}]},
        "card.0.number",
    ),
]


async def test_requests_with_card_numbers_are_422_and_leave_no_trace_of_them(
    make_server: Callable[..., Server],
    people: dict[Kind, Person],
    db: Database,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = make_server()
    async with httpx.AsyncClient(base_url=server.url) as client:
        for number, (method, path, kind, body, field) in enumerate(FIELDS):
            headers = {**people[kind].headers, "Idempotency-Key": f"card-{number}"}
            if path.startswith("/api/credits/uses"):
                headers["Bursar-User"] = "ada"
            response = await client.request(method, path, json=body, headers=headers)
            problem = assert_problem(response, 422, "card_number_refused")
            assert [entry["field"] for entry in problem["errors"]] == [field]
            assert "4242" not in response.text
    logged = ""

    async def told() -> bool:
        # On which of the two is the process's choice, and the last line may follow its answer.
        nonlocal logged
        logged += "".join(capsys.readouterr())
        return logged.count("card_number_refused") == len(FIELDS)

    await eventually(told)
    assert "4242" not in logged
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from idempotency_keys") == 0
        assert await conn.fetchval("select name from users where id = 'ada'") is None


async def test_the_host_apps_own_ids_may_be_digits(
    client: httpx.AsyncClient, service: Person
) -> None:
    response = await client.post(
        "/api/sessions",
        content=json.dumps({"user_id": CARD}),
        headers={**service.headers, "Content-Type": "application/json"},
    )
    assert response.status_code == 200, response.text
