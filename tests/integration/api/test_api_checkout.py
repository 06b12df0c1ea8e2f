"""Hosted checkouts over HTTP, against the Stripe sandbox: once for each key, limited, paid."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe

from api_server import SECRET_KEY, Person, Server, assert_problem
from bursar.db import Database
from bursar_sandbox.running import Sandbox

PATH = "/api/stripe/checkout-session"
Push = Callable[[Server], Any]


async def open_checkout(
    shop: httpx.AsyncClient, person: Person, key: str | None = None, **wanted: Any
) -> httpx.Response:
    headers = dict(person.headers)
    if key is not None:
        headers["Idempotency-Key"] = key
    return await shop.post(PATH, json=wanted or {"package": "starter"}, headers=headers)


def sessions_at(sandbox: Sandbox, session_id: str) -> Any:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": sandbox.base_url})
    return client.v1.checkout.sessions.retrieve(session_id, {"expand": ["line_items", "customer"]})


async def pay(sandbox: Sandbox, session_id: str, card: str = "tok_visa") -> None:
    """Pay as the buyer's page does."""
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    async with httpx.AsyncClient(base_url=sandbox.base_url, headers=headers) as http:
        made = await http.post("/v1/payment_methods", data={"type": "card", "card[token]": card})
        await http.post(
            f"/v1/payment_pages/{session_id}/confirm",
            data={"payment_method": made.json()["id"]},
        )


async def test_checkout_of_a_package_is_opened_at_the_provider(
    shop: httpx.AsyncClient, sandbox: Sandbox, ada: Person
) -> None:
    response = await open_checkout(shop, ada, package="starter", metadata={"cart": "7"})
    assert response.status_code == 200, response.text
    opened = response.json()
    assert set(opened) == {
        "session_id",
        "url",
        "payment_id",
        "status",
        "amount",
        "currency",
        "expires_at",
    }
    assert type(opened["payment_id"]) is int
    assert (opened["status"], opened["amount"], opened["currency"]) == ("pending", 500, "usd")
    assert opened["url"].startswith(sandbox.base_url)
    lasts = datetime.fromisoformat(opened["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=20) < lasts <= timedelta(hours=24)
    session = sessions_at(sandbox, opened["session_id"])
    assert session.amount_total == 500
    assert session.metadata["cart"] == "7"
    assert session.success_url == (
        "https://app.example/checkout/success?session_id={CHECKOUT_SESSION_ID}"
    )
    assert session.cancel_url == "https://app.example/pricing"


@pytest.mark.parametrize(
    ("wanted", "amount", "currency"),
    [
        ({"package": "starter", "quantity": 3}, 1500, "usd"),
        ({"package": "starter", "currency": "eur"}, 450, "eur"),
        ({"amount": 1234, "currency": "usd"}, 1234, "usd"),
        ({"package": "basic", "capture_method": "manual"}, 1000, "usd"),
    ],
)
async def test_price_is_the_catalogues(
    shop: httpx.AsyncClient, ada: Person, wanted: dict[str, Any], amount: int, currency: str
) -> None:
    opened = (await open_checkout(shop, ada, **wanted)).json()
    assert (opened["amount"], opened["currency"]) == (amount, currency)


async def test_price_id_of_the_catalogue_is_sold(
    shop: httpx.AsyncClient, ada: Person, db: Database
) -> None:
    async with db.connection() as conn:
        price_id = await conn.fetchval(
            "select provider_price_id from catalog_prices where key = 'basic' and active"
        )
    opened = (await open_checkout(shop, ada, price_id=price_id)).json()
    assert opened["amount"] == 1000


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"package": "starter", "currency": "jpy"}, "currency_not_sold"),
        ({"amount": 1000, "currency": "eur"}, "currency_not_sold"),
        ({"amount": 499, "currency": "usd"}, "amount_out_of_bounds"),
        ({"amount": 500_001, "currency": "usd"}, "amount_out_of_bounds"),
        ({"package": "gone"}, "unknown_item"),
        ({"price_id": "price_gone"}, "unknown_item"),
        ({"plan": "pro"}, "unknown_item"),
    ],
)
async def test_what_is_not_sold_is_422_and_leaves_the_key_free(
    shop: httpx.AsyncClient, ada: Person, wanted: dict[str, Any], code: str
) -> None:
    assert_problem(await open_checkout(shop, ada, "k", **wanted), 422, code)
    again = await open_checkout(shop, ada, "k")
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers


async def test_providers_that_are_not_set_up_are_409_and_unknown_ones_404(
    shop: httpx.AsyncClient, ada: Person
) -> None:
    for provider in ("paddle", "lemonsqueezy"):
        path = f"/api/{provider}/checkout-session"
        response = await shop.post(path, json={"package": "starter"}, headers=ada.headers)
        assert_problem(response, 409, "not_supported")
        response = await shop.get(f"{path}/cs_1", headers=ada.headers)
        assert_problem(response, 409, "not_supported")
    response = await shop.post("/api/square/checkout-session", json={}, headers=ada.headers)
    assert_problem(response, 404, "not_found")


async def test_same_key_gives_the_same_answer_and_says_so(
    shop: httpx.AsyncClient, ada: Person, db: Database
) -> None:
    first = await open_checkout(shop, ada, "order-1")
    again = await open_checkout(shop, ada, "order-1")
    assert again.status_code == first.status_code == 200
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    # The words may stand in another order, or be said outright where they are the default.
    same = await open_checkout(shop, ada, "order-1", quantity=1, package="starter")
    assert same.headers["idempotent-replayed"] == "true"
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 1


async def test_other_body_under_the_key_is_422(shop: httpx.AsyncClient, ada: Person) -> None:
    await open_checkout(shop, ada, "order-1")
    other = await open_checkout(shop, ada, "order-1", package="basic")
    assert_problem(other, 422, "idempotency_key_reused")


async def test_users_and_services_have_their_keys_to_themselves(
    shop: httpx.AsyncClient, ada: Person, bob: Person, service: Person
) -> None:
    answers = [await open_checkout(shop, ada, "order-1"), await open_checkout(shop, bob, "order-1")]
    for user_id in ("ada", "bob"):
        headers = {**service.headers, "Bursar-User": user_id, "Idempotency-Key": "order-1"}
        answers.append(await shop.post(PATH, json={"package": "starter"}, headers=headers))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["session_id"] for answer in answers}) == 4
    assert not any("idempotent-replayed" in answer.headers for answer in answers)


async def test_ten_at_once_under_one_key_open_one_checkout(
    shop: httpx.AsyncClient, ada: Person, db: Database
) -> None:
    answers = await asyncio.gather(*(open_checkout(shop, ada, "order-1") for _ in range(10)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 409}
    assert statuses[200] >= 1
    for answer in answers:
        if answer.status_code == 409:
            assert_problem(answer, 409, "idempotency_key_in_use")
    assert len({a.json()["session_id"] for a in answers if a.status_code == 200}) == 1
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 1


async def test_provider_away_is_503_and_the_key_goes_on_with_the_same_payment(
    make_server: Callable[..., Server],
    push_catalog: Push,
    sandbox: Sandbox,
    ada: Person,
    db: Database,
) -> None:
    selling = make_server(stripe_api_base=sandbox.base_url)
    await push_catalog(selling)
    cut_off = make_server(stripe_api_base="http://127.0.0.1:9")
    async with httpx.AsyncClient(base_url=cut_off.url, timeout=60) as shop:
        refused = await open_checkout(shop, ada, "order-1")
        assert_problem(refused, 503, "provider_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    async with httpx.AsyncClient(base_url=selling.url, timeout=60) as shop:
        opened = await open_checkout(shop, ada, "order-1")
    assert opened.status_code == 200, opened.text
    async with db.connection() as conn:
        assert await conn.fetchval("select array_agg(id) from payments") == [
            opened.json()["payment_id"]
        ]


@pytest.fixture
async def limited(
    make_server: Callable[..., Server], push_catalog: Push, sandbox: Sandbox
) -> AsyncIterator[httpx.AsyncClient]:
    """A shop with the default limit of checkouts."""
    server = make_server(stripe_api_base=sandbox.base_url)
    await push_catalog(server)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


async def test_sixth_checkout_within_ten_seconds_is_429_and_touches_nobody_else(
    limited: httpx.AsyncClient, ada: Person, bob: Person
) -> None:
    # What was refused for its body has not counted.
    for _ in range(6):
        assert (await open_checkout(limited, ada, package=7)).status_code == 422
    statuses = Counter(
        answer.status_code
        for answer in await asyncio.gather(*(open_checkout(limited, ada) for _ in range(8)))
    )
    assert statuses == {200: 5, 429: 3}
    refused = await open_checkout(limited, ada, "order-1")
    assert_problem(refused, 429, "rate_limited")
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 10
    assert (await open_checkout(limited, bob)).status_code == 200
    await asyncio.sleep(wait)
    opened = await open_checkout(limited, ada, "order-1")
    assert opened.status_code == 200
    assert "idempotent-replayed" not in opened.headers


async def test_replays_are_not_counted(limited: httpx.AsyncClient, ada: Person) -> None:
    answers = [await open_checkout(limited, ada, "order-1") for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}


async def test_state_of_a_checkout_is_the_providers_and_its_owners_alone(
    shop: httpx.AsyncClient, sandbox: Sandbox, ada: Person, bob: Person
) -> None:
    opened = (await open_checkout(shop, ada)).json()
    path = f"{PATH}/{opened['session_id']}"
    before = (await shop.get(path, headers=ada.headers)).json()
    assert before["session_id"] == opened["session_id"]
    assert before["session_status"] == "open"
    assert before["url"] == opened["url"]
    assert before["payment"]["id"] == opened["payment_id"]
    assert before["payment"]["status"] == "pending"

    await pay(sandbox, opened["session_id"], "tok_chargeDeclinedInsufficientFunds")
    declined = (await shop.get(path, headers=ada.headers)).json()
    assert declined["session_status"] == "open"

    await pay(sandbox, opened["session_id"])
    # No webhook came here: asking the provider is enough, and asking twice changes nothing.
    after = [(await shop.get(path, headers=ada.headers)).json() for _ in range(2)]
    assert after[0] == after[1]
    assert after[0]["session_status"] == "complete"
    assert after[0]["url"] is None
    payment = after[0]["payment"]
    assert (payment["status"], payment["captured"], payment["credits"]) == ("completed", 500, 5)
    balance = await shop.get("/user/balance?unit=page", headers=ada.headers)
    assert balance.json()["balance"] == 5
    moved = (await shop.get("/user/transactions", headers=ada.headers)).json()["data"]
    assert [(m["amount"], m["type"], m["payment_id"]) for m in moved] == [
        (5, "purchase", opened["payment_id"])
    ]

    texts = set()
    for person, session_id in (
        (bob, opened["session_id"]),
        (ada, "cs_test_none"),
        (ada, "%00"),
        (ada, "x" * 300),
        (ada, "1%20OR%201=1"),
    ):
        response = await shop.get(f"{PATH}/{session_id}", headers=person.headers)
        problem = assert_problem(response, 404, "not_found")
        texts.add(response.text.replace(problem["request_id"], "req"))
    assert len(texts) == 1


async def test_price_list_is_what_is_sold(shop: httpx.AsyncClient) -> None:
    for path in ("/api/credit-packages", "/api/stripe/credit-packages"):
        listed = (await shop.get(path)).json()
        assert listed == {
            "data": [
                {
                    "id": "starter",
                    "name": "Starter",
                    "unit": "page",
                    "credits": 5,
                    "amount": 500,
                    "currency": "usd",
                    "price_formatted": "$5.00",
                    "per_credit": "$1.00",
                },
                {
                    "id": "basic",
                    "name": "Basic",
                    "unit": "page",
                    "credits": 12,
                    "amount": 1000,
                    "currency": "usd",
                    "price_formatted": "$10.00",
                    "per_credit": "$0.83",
                },
            ]
        }
    euros = (await shop.get("/api/credit-packages?currency=eur")).json()["data"]
    assert [(pack["id"], pack["amount"], pack["currency"]) for pack in euros] == [
        ("starter", 450, "eur")
    ]
    response = await shop.get("/api/credit-packages?currency=jpy")
    assert_problem(response, 422, "currency_not_sold")
