"""What users read: packages, payments, balances, movements; what is another's is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from uuid import uuid4

import httpx
import pytest

from api_server import NOW, Person, Server, assert_problem
from bursar.billing import catalog, customers, payments
from bursar.billing.catalog import Unit
from bursar.billing.payments import Intent
from bursar.db import Database
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting


async def customer_of(db: Database, person: Person) -> int:
    async with db.connection() as conn:
        user = await customers.find_user(conn, person.user_id)
    assert user is not None
    return user.customer_id


async def begin_payment(db: Database, person: Person, amount_minor: int = 500) -> int:
    """A payment as a checkout begins it."""
    intent = Intent(
        customer_id=await customer_of(db, person),
        reference=uuid4(),
        user_id=person.user_id,
        provider="stripe",
        kind="checkout",
        amount_minor=amount_minor,
        currency="usd",
        unit="page",
        credits=5,
        snapshot={},
        request={},
        description="Five pages",
        metadata={},
    )
    async with db.transaction() as conn:
        return await payments.begin(conn, intent, at=NOW)


async def grant(db: Database, person: Person, unit: str, amounts: list[int]) -> None:
    customer_id = await customer_of(db, person)
    async with db.transaction() as conn:
        for number, amount in enumerate(amounts):
            posting = Posting(
                customer_id=customer_id,
                unit=unit,
                type="purchase",
                amount=amount,
                cause=Cause("test", f"{person.user_id}:{unit}:{number}", "grant"),
            )
            await entries.post(conn, [posting], at=NOW)


@pytest.fixture
async def units(db: Database) -> None:
    """Two units, of which only `credit` has a rate."""
    async with db.transaction() as conn:
        await catalog.put_units(
            conn,
            [
                Unit("bell", "Bells", 0, {}, {}),
                Unit("credit", "Credits", 0, {"usd": 1}, {"usd": (500, 5000)}),  # type: ignore[dict-item]
            ],
        )


async def test_payment_is_shown_to_its_owner(
    client: httpx.AsyncClient, ada: Person, db: Database
) -> None:
    payment_id = await begin_payment(db, ada)
    response = await client.get(f"/api/payments/{payment_id}", headers=ada.headers)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "id": payment_id,
        "user_id": "ada",
        "provider": "stripe",
        "kind": "checkout",
        "amount": 500,
        "currency": "usd",
        "status": "pending",
        "captured": 0,
        "refunded": 0,
        "credits": 5,
        "unit": "page",
        "session_id": None,
        "payment_intent_id": None,
        "description": "Five pages",
        "created_at": "2026-03-01T12:00:00Z",
        "completed_at": None,
        "refunds": [],
        "receipt_url": None,
    }
    same = await client.get(f"/api/stripe/payments/{payment_id}", headers=ada.headers)
    assert same.json() == response.json()


async def test_foreign_unknown_and_absurd_payments_look_alike(
    client: httpx.AsyncClient, ada: Person, bob: Person, service: Person, db: Database
) -> None:
    payment_id = await begin_payment(db, bob)
    texts = set()
    for path in (
        f"/api/payments/{payment_id}",
        f"/api/stripe/payments/{payment_id}",
        "/api/payments/999999",
        "/api/payments/0",
        "/api/payments/-1",
        "/api/payments/1%20OR%201=1",
        f"/api/payments/{'9' * 30}",
        f"/api/payments/+{payment_id}",
        f"/api/payments/{payment_id}.0",
        "/api/payments/%00",
        "/api/payments/٣",
        f"/api/paddle/payments/{payment_id}",
    ):
        response = await client.get(path, headers=ada.headers)
        problem = assert_problem(response, 404, "not_found")
        texts.add(response.text.replace(problem["request_id"], "req"))
    acting = {**service.headers, "Bursar-User": "ada"}
    response = await client.get(f"/api/payments/{payment_id}", headers=acting)
    texts.add(response.text.replace(response.headers["x-request-id"], "req"))
    assert len(texts) == 1
    acting["Bursar-User"] = "bob"
    response = await client.get(f"/api/payments/{payment_id}", headers=acting)
    assert response.status_code == 200


async def test_pages_hold_every_payment_once_newest_first(
    client: httpx.AsyncClient, ada: Person, bob: Person, db: Database
) -> None:
    made = [await begin_payment(db, ada) for _ in range(7)]
    await begin_payment(db, bob)
    for path in ("/api/payments", "/api/stripe/payments"):
        seen: list[int] = []
        query: dict[str, str | int] = {"limit": 3}
        while True:
            page = (await client.get(path, params=query, headers=ada.headers)).json()
            seen += [payment["id"] for payment in page["data"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert seen == made[::-1]
    none = (await client.get("/api/paddle/payments", headers=ada.headers)).json()
    assert none == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=many",
        "limit=",
        "limit=1.5",
        "cursor=",
        "cursor=x",
        "cursor=%00",
        "cursor=MQ==",
        "cursor=LTE",
        "cursor=4pyT",
        "cursor=" + "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "offset=3",
    ],
)
async def test_absurd_pages_are_refused(client: httpx.AsyncClient, ada: Person, query: str) -> None:
    for path in ("/api/payments", "/user/transactions"):
        response = await client.get(f"{path}?{query}", headers=ada.headers)
        problem = assert_problem(response, 422, "validation_error")
        assert problem["errors"][0]["field"] == query.partition("=")[0]


async def test_balance_is_in_the_unit_that_has_a_rate_unless_one_is_named(
    client: httpx.AsyncClient, ada: Person, bob: Person, db: Database, units: None
) -> None:
    await grant(db, ada, "credit", [1000, 200])
    await grant(db, ada, "bell", [7])
    response = await client.get("/user/balance", headers=ada.headers)
    assert response.json() == {
        "user_id": "ada",
        "customer_id": await customer_of(db, ada),
        "unit": "credit",
        "balance": 1200,
        "held": 0,
        "owed": 0,
        "pools": {"plan": 0, "bonus": 0, "purchased": 1200},
    }
    bells = await client.get("/user/balance?unit=bell", headers=ada.headers)
    assert (bells.json()["unit"], bells.json()["balance"]) == ("bell", 7)
    nothing = await client.get("/user/balance", headers=bob.headers)
    assert nothing.json()["balance"] == 0


async def test_unknown_units_are_refused(
    client: httpx.AsyncClient, ada: Person, units: None
) -> None:
    for path in ("/user/balance", "/user/transactions"):
        response = await client.get(f"{path}?unit=none", headers=ada.headers)
        assert_problem(response, 422, "unknown_unit")
        for absurd in ("", "%00", "A", "x" * 41):
            response = await client.get(f"{path}?unit={absurd}", headers=ada.headers)
            assert_problem(response, 422, "validation_error")


async def test_movements_are_signed_and_newest_first(
    client: httpx.AsyncClient, ada: Person, bob: Person, db: Database, units: None
) -> None:
    await grant(db, ada, "credit", [100, 200, 300])
    await grant(db, ada, "bell", [7])
    await grant(db, bob, "credit", [9])
    page = (await client.get("/user/transactions?limit=2", headers=ada.headers)).json()
    assert [(row["unit"], row["amount"]) for row in page["data"]] == [("bell", 7), ("credit", 300)]
    rest = await client.get(
        "/user/transactions", params={"cursor": page["next_cursor"]}, headers=ada.headers
    )
    assert [row["amount"] for row in rest.json()["data"]] == [200, 100]
    assert rest.json()["next_cursor"] is None
    row = rest.json()["data"][0]
    assert row["type"] == "purchase"
    assert row["balance_after"] == 300
    assert datetime.fromisoformat(row["created_at"]) == NOW
    credits = await client.get("/user/transactions?unit=credit", headers=ada.headers)
    assert [row["amount"] for row in credits.json()["data"]] == [300, 200, 100]


async def test_price_list_is_empty_before_anything_is_sold(client: httpx.AsyncClient) -> None:
    for path in ("/api/credit-packages", "/api/stripe/credit-packages"):
        assert (await client.get(path)).json() == {"data": []}
    assert_problem(await client.get("/api/paddle/credit-packages"), 409, "not_supported")
    assert_problem(await client.get("/api/square/credit-packages"), 404, "not_found")
    for query in ("currency=USD", "currency=dollar", "currency=", "made_up=1"):
        response = await client.get(f"/api/credit-packages?{query}")
        assert_problem(response, 422, "validation_error")


@pytest.fixture
async def live(make_server: Callable[..., Server]) -> AsyncIterator[httpx.AsyncClient]:
    """A deployment in live mode."""
    key = "sk_live_bursar_api_tests"
    server = make_server(stripe_secret_key=key, trusted_proxies="127.0.0.1")
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


async def test_live_api_refuses_what_a_proxy_took_in_the_clear(
    live: httpx.AsyncClient, ada: Person
) -> None:
    for method, path in (("GET", "/user/transactions"), ("POST", "/api/stripe/webhook")):
        headers = {**ada.headers, "X-Forwarded-Proto": "http"}
        assert_problem(await live.request(method, path, headers=headers), 403, "https_required")
    headers = {**ada.headers, "X-Forwarded-Proto": "https"}
    assert (await live.get("/user/transactions", headers=headers)).status_code == 200
    # A load balancer's own probe comes in the clear.
    probe = await live.get("/healthz", headers={"X-Forwarded-Proto": "http"})
    assert probe.status_code == 200
