"""Orders under review over HTTP: listed by their end, captured and canceled by an admin, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api_server import SECRET_KEY, Person, Server, assert_problem
from bursar.db import Database
from bursar_sandbox.running import Sandbox

pytestmark = pytest.mark.timeout(120)

CATALOG = Path(__file__).with_name("catalog.toml")


class Orders:
    """A served shop, its admin's client, and the provider."""

    def __init__(self, client: httpx.AsyncClient, sandbox: Sandbox, admin: Person, ada: Person):
        self.client, self._sandbox, self._ada = client, sandbox, ada
        self._headers = admin.headers

    async def place(self, amount: int = 5000) -> int:
        """An order whose money is held; the success page's question brings the news."""
        wanted = {"amount": amount, "currency": "usd", "capture_method": "manual"}
        opened = await self.client.post(
            "/api/stripe/checkout-session", json=wanted, headers=self._ada.headers
        )
        assert opened.status_code == 200, opened.text
        session_id = opened.json()["session_id"]
        headers = {"Authorization": f"Bearer {SECRET_KEY}"}
        async with httpx.AsyncClient(base_url=self._sandbox.base_url, headers=headers) as stripe:
            card = {"type": "card", "card[token]": "tok_visa"}
            method = (await stripe.post("/v1/payment_methods", data=card)).json()["id"]
            paid = await stripe.post(
                f"/v1/payment_pages/{session_id}/confirm", data={"payment_method": method}
            )
            assert paid.status_code == 200, paid.text
        path = f"/api/stripe/checkout-session/{session_id}"
        state = (await self.client.get(path, headers=self._ada.headers)).json()
        assert state["payment"]["status"] == "authorized"
        return int(state["payment"]["id"])

    async def get(self, path: str = "", **query: Any) -> httpx.Response:
        return await self.client.get(
            f"/api/admin/orders{path}", params=query, headers=self._headers
        )

    async def decide(
        self, payment_id: object, kind: str, key: str = "", **body: Any
    ) -> httpx.Response:
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        return await self.client.post(
            f"/api/admin/orders/{payment_id}/{kind}", json=body, headers=headers
        )

    async def balance(self) -> int:
        answer = await self.client.get("/user/balance?unit=credit", headers=self._ada.headers)
        return int(answer.json()["balance"])


@pytest.fixture
async def orders(shop: httpx.AsyncClient, sandbox: Sandbox, admin: Person, ada: Person) -> Orders:
    return Orders(shop, sandbox, admin, ada)


async def test_an_order_is_listed_captured_and_listed_no_more(orders: Orders) -> None:
    payment_id = await orders.place()
    [listed] = (await orders.get()).json()["data"]
    shown = (await orders.get(f"/{payment_id}")).json()
    assert listed == shown
    assert {name: shown[name] for name in ("payment_id", "status", "amount", "authorized",
            "captured", "currency", "user_id", "first_order", "disputes", "decision")} == {
        "payment_id": payment_id, "status": "authorized", "amount": 5000, "authorized": 5000,
        "captured": 0, "currency": "usd", "user_id": "ada", "first_order": True, "disputes": 0,
        "decision": None,
    }  # fmt: skip
    assert shown["authorized_until"] > shown["created_at"]
    made = await orders.decide(payment_id, "capture", "one")
    assert made.status_code == 200, made.text
    assert (made.json()["status"], made.json()["captured"]) == ("completed", 5000)
    assert made.json()["decision"]["state"] == "done"
    assert await orders.balance() == 5000
    assert (await orders.get()).json() == {"data": [], "next_cursor": None}
    [over] = (await orders.get(state="completed")).json()["data"]
    assert over["payment_id"] == payment_id


async def test_a_repeat_under_one_key_answers_the_same_and_takes_once(orders: Orders) -> None:
    payment_id = await orders.place()
    first = await orders.decide(payment_id, "capture", "key", amount=1200)
    again = await orders.decide(payment_id, "capture", "key", amount=1200)
    assert (first.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json()["captured"] == 1200
    assert await orders.balance() == 1200
    other = await orders.decide(payment_id, "capture", "key", amount=1300)
    assert_problem(other, 422, "idempotency_key_reused")
    late = await orders.decide(payment_id, "capture", "new", amount=100)
    assert_problem(late, 409, "payment_not_capturable")


async def test_too_much_is_refused_and_the_key_stays_free(orders: Orders) -> None:
    payment_id = await orders.place()
    problem = assert_problem(
        await orders.decide(payment_id, "capture", "key", amount=5001),
        422,
        "capture_exceeds_authorized",
    )
    assert problem["errors"][0]["field"] == "amount"
    for amount in (0, -1, "5000", 1.5, True):
        assert_problem(
            await orders.decide(payment_id, "capture", amount=amount), 422, "validation_error"
        )
    assert (await orders.decide(payment_id, "capture", "other")).status_code == 200


async def test_a_canceled_order_charges_nothing(orders: Orders) -> None:
    payment_id = await orders.place()
    wrong = await orders.decide(payment_id, "cancel", reason="no idea")
    assert_problem(wrong, 422, "validation_error")
    made = await orders.decide(payment_id, "cancel", reason="fraudulent")
    assert made.status_code == 200, made.text
    assert (made.json()["status"], made.json()["captured"]) == ("canceled", 0)
    assert made.json()["decision"]["reason"] == "fraudulent"
    assert await orders.balance() == 0
    again = await orders.decide(payment_id, "cancel")
    assert_problem(again, 409, "payment_not_capturable")


async def test_of_parallel_decisions_one_stands(orders: Orders) -> None:
    payment_id = await orders.place()
    answers = await asyncio.gather(
        *(orders.decide(payment_id, kind, str(uuid4())) for kind in ("capture", "cancel") * 5)
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, *[409] * 9]
    [won] = [answer.json() for answer in answers if answer.status_code == 200]
    assert await orders.balance() == (5000 if won["status"] == "completed" else 0)


async def test_orders_are_listed_by_their_end_page_by_page(orders: Orders) -> None:
    placed = [await orders.place(500 + turn) for turn in range(5)]
    seen: list[int] = []
    ends: list[str] = []
    cursor = None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await orders.get(**query)).json()
        seen += [order["payment_id"] for order in page["data"]]
        ends += [order["authorized_until"] for order in page["data"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert sorted(seen) == sorted(placed)
    assert ends == sorted(ends)


async def test_what_is_no_order_is_not_found_and_odd_queries_are_refused(
    orders: Orders, ada: Person
) -> None:
    for payment_id in (999, "abc", 10**30):
        assert_problem(await orders.get(f"/{payment_id}"), 404, "not_found")
        for kind in ("capture", "cancel"):
            assert_problem(await orders.decide(payment_id, kind), 404, "not_found")
    for query in ({"state": "failed"}, {"cursor": "x"}, {"cursor": "MTIz"}, {"limit": 0}, {"x": 1}):
        assert_problem(await orders.get(**query), 422, "validation_error")
    refused = await orders.client.get("/api/admin/orders", headers=ada.headers)
    assert_problem(refused, 403, "forbidden")
    assert_problem(await orders.client.get("/api/admin/orders"), 401, "unauthenticated")


async def test_a_checkout_that_nobody_paid_can_not_be_captured(
    orders: Orders, ada: Person, db: Database
) -> None:
    opened = await orders.client.post(
        "/api/stripe/checkout-session",
        json={"amount": 500, "currency": "usd"},
        headers=ada.headers,
    )
    payment_id = opened.json()["payment_id"]
    assert_problem(await orders.decide(payment_id, "capture", "key"), 409, "payment_not_capturable")
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from order_decisions") == 0


async def test_a_provider_that_is_away_is_said_and_the_same_key_resumes(
    make_server: Callable[..., Server],
    push_catalog: Callable[[Server], Awaitable[None]],
    sandbox: Sandbox,
    admin: Person,
    ada: Person,
) -> None:
    near = make_server(stripe_api_base=sandbox.base_url, limit_checkout="off")
    await push_catalog(near)
    away = make_server()
    async with (
        httpx.AsyncClient(base_url=near.url, timeout=30) as here,
        httpx.AsyncClient(base_url=away.url, timeout=30) as there,
    ):
        orders = Orders(here, sandbox, admin, ada)
        payment_id = await orders.place()
        lost = Orders(there, sandbox, admin, ada)
        answer = await lost.decide(payment_id, "capture", "key", amount=700)
        assert_problem(answer, 503, "provider_unavailable")
        [waiting] = (await orders.get()).json()["data"]
        assert (waiting["status"], waiting["decision"]["state"]) == ("authorized", "pending")
        other = await orders.decide(payment_id, "cancel", "other")
        assert_problem(other, 409, "payment_not_capturable")
        made = await orders.decide(payment_id, "capture", "key", amount=700)
        assert (made.status_code, made.json()["captured"]) == (200, 700)
