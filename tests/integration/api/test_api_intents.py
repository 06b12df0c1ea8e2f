"""Payment intents over HTTP: prices looked up, secrets passed on, attempts counted by address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from api_server import SECRET_KEY, Person, assert_problem
from bursar import config, errors
from bursar.billing import catalog_file, catalog_push
from bursar.db import Database
from bursar_sandbox.running import Sandbox
from card_form_shop import CATALOG
from integration.api.conftest import MakeServer

PATH = "/api/stripe/payment-intent"
PLAN = {"plan_id": "pages-pro", "months": 3, "amount": 8100}
KEY = "pk_test_api_tests"


@pytest.fixture
async def shop(
    make_server: MakeServer, sandbox: Sandbox, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that sells plans by duration, and limits nobody."""
    server = make_server(
        stripe_api_base=sandbox.base_url,
        stripe_publishable_key=KEY,
        limit_payment_intent="off",
    )
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG, encoding="utf-8")
    async with server.own_wiring() as wiring:
        wanted = catalog_file.read(file)
        await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


async def open_intent(
    client: httpx.AsyncClient, person: Person, key: str | None = None, **body: Any
) -> httpx.Response:
    headers = {**person.headers, **({"Idempotency-Key": key} if key else {})}
    return await client.post(PATH, json=body or {"package": "starter"}, headers=headers)


def confirm(sandbox: Sandbox, intent_id: str, card: str = "pm_card_visa") -> None:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": sandbox.base_url})
    client.v1.payment_intents.confirm(intent_id, {"payment_method": card})


async def test_a_coupon_is_refused_in_words(shop: httpx.AsyncClient, ada: Person) -> None:
    refused = await open_intent(shop, ada, package="starter", coupon="LAUNCH15")
    problem = assert_problem(refused, 422, "validation_error")
    assert "A card form takes no coupon; a checkout session of a package does" in problem["detail"]


async def test_an_intent_is_opened_at_the_price_of_the_catalogue(
    shop: httpx.AsyncClient, ada: Person
) -> None:
    response = await open_intent(shop, ada, **PLAN)
    assert response.status_code == 200, response.text
    opened = response.json()
    assert set(opened) == {
        "payment_intent_id",
        "client_secret",
        "publishable_key",
        "payment_id",
        "amount",
        "currency",
        "status",
    }
    assert (opened["amount"], opened["currency"], opened["status"]) == (8100, "usd", "pending")
    assert opened["client_secret"].startswith(f"{opened['payment_intent_id']}_secret_")
    assert opened["publishable_key"] == KEY
    assert type(opened["payment_id"]) is int


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**PLAN, "plan_id": "gone"}, "unknown_item"),
        ({"package": "gone"}, "unknown_item"),
        ({**PLAN, "months": 2}, "duration_not_offered"),
        ({**PLAN, "amount": 8000}, "amount_mismatch"),
        ({**PLAN, "amount": 81}, "amount_in_major_units"),
        ({**PLAN, "currency": "eur"}, "currency_not_sold"),
        ({"amount": 49, "currency": "usd"}, "amount_too_small"),
        ({"amount": 499, "currency": "usd"}, "amount_out_of_bounds"),
        ({"amount": 1000, "currency": "jpy"}, "currency_not_sold"),
        ({"package": "starter", "amount": 400}, "amount_mismatch"),
        ({}, "validation_error"),
        ({"package": "starter", "plan_id": "solo", "months": 1}, "validation_error"),
        ({"plan_id": "solo", "amount": 900}, "validation_error"),
        ({"plan_id": "solo", "months": 1}, "validation_error"),
        ({"months": 1, "package": "starter"}, "validation_error"),
        ({"amount": 1000}, "validation_error"),
        ({"amount": 1000.0, "currency": "usd"}, "validation_error"),
        ({"amount": "1000", "currency": "usd"}, "validation_error"),
        ({"amount": 0, "currency": "usd"}, "validation_error"),
        ({"amount": -500, "currency": "usd"}, "validation_error"),
        ({**PLAN, "months": 61}, "validation_error"),
        ({**PLAN, "plan_id": "x" * 65}, "validation_error"),
        ({"package": "starter", "description": "a\nb"}, "validation_error"),
        ({"package": "starter", "description": "x" * 501}, "validation_error"),
        ({"package": "starter", "metadata": {"bursar_reference": "x"}}, "validation_error"),
        ({"package": "starter", "card_number": "1"}, "validation_error"),
    ],
)
async def test_what_can_not_be_bought_so_is_422_with_its_own_code(
    shop: httpx.AsyncClient, ada: Person, db: Database, body: dict[str, Any], code: str
) -> None:
    response = await shop.post(PATH, json=body, headers=ada.headers)
    assert_problem(response, 422, code)
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 0


async def test_the_price_in_whole_dollars_is_told_what_to_send(
    shop: httpx.AsyncClient, ada: Person
) -> None:
    problem = assert_problem(
        await open_intent(shop, ada, **{**PLAN, "amount": 81}), 422, "amount_in_major_units"
    )
    assert "$81.00" in problem["detail"]
    assert "8100" in problem["detail"]


async def test_the_least_charge_is_named_with_its_currency(
    shop: httpx.AsyncClient, ada: Person
) -> None:
    response = await open_intent(shop, ada, amount=12, currency="usd")
    problem = assert_problem(response, 422, "amount_too_small")
    assert "$0.50" in problem["detail"]
    assert "USD" in problem["detail"]


async def test_same_key_gives_the_same_intent_and_its_secret_again(
    shop: httpx.AsyncClient, ada: Person, db: Database
) -> None:
    first = await open_intent(shop, ada, "order-1")
    again = await open_intent(shop, ada, "order-1")
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await open_intent(shop, ada, "order-1", **PLAN)
    assert_problem(other, 422, "idempotency_key_reused")
    secret = first.json()["client_secret"].rpartition("_")[2]
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 1
        kept = await conn.fetchval("select string_agg(t::text, '') from idempotency_keys t")
    assert secret not in kept


async def test_an_intent_is_synced_when_it_is_asked_for(
    shop: httpx.AsyncClient, ada: Person, sandbox: Sandbox
) -> None:
    opened = (await open_intent(shop, ada)).json()
    path = f"{PATH}/{opened['payment_intent_id']}"
    before = (await shop.get(path, headers=ada.headers)).json()
    assert before == opened
    confirm(sandbox, opened["payment_intent_id"])
    after = (await shop.get(path, headers=ada.headers)).json()
    assert after == {**opened, "status": "completed"}
    balance = await shop.get("/user/balance?unit=page", headers=ada.headers)
    assert balance.json()["balance"] == 5


async def test_anothers_intent_looks_like_none(
    shop: httpx.AsyncClient, ada: Person, bob: Person
) -> None:
    opened = (await open_intent(shop, ada)).json()
    foreign = await shop.get(f"{PATH}/{opened['payment_intent_id']}", headers=bob.headers)
    unknown = await shop.get(f"{PATH}/pi_never", headers=bob.headers)
    assert_problem(foreign, 404, "not_found")
    assert {**foreign.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_the_intent_of_a_hosted_checkout_is_not_shown_as_one(
    shop: httpx.AsyncClient, ada: Person, sandbox: Sandbox
) -> None:
    opened = await shop.post(
        "/api/stripe/checkout-session", json={"package": "starter"}, headers=ada.headers
    )
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": sandbox.base_url})
    method = client.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    session_id = opened.json()["session_id"]
    client.raw_request("post", f"/v1/payment_pages/{session_id}/confirm", payment_method=method.id)
    await shop.get(f"/api/stripe/checkout-session/{session_id}", headers=ada.headers)
    intent = client.v1.checkout.sessions.retrieve(session_id).payment_intent
    assert_problem(await shop.get(f"{PATH}/{intent}", headers=ada.headers), 404, "not_found")


async def test_the_eleventh_attempt_from_an_address_is_429_and_another_address_pays(
    make_server: MakeServer, ada: Person, bob: Person, sandbox: Sandbox, tmp_path: Path
) -> None:
    server = make_server(stripe_api_base=sandbox.base_url, trusted_proxies="127.0.0.1",
                         stripe_publishable_key=KEY)  # fmt: skip
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG, encoding="utf-8")
    async with server.own_wiring() as wiring:
        wanted = catalog_file.read(file)
        await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:

        async def attempt(person: Person, address: str, key: str | None = None) -> httpx.Response:
            headers = {**person.headers, "X-Forwarded-For": address}
            if key:
                headers["Idempotency-Key"] = key
            return await client.post(PATH, json={"package": "starter"}, headers=headers)

        assert (await attempt(ada, "203.0.113.7", "first")).status_code == 200
        for _ in range(9):
            assert (await attempt(ada, "203.0.113.7")).status_code == 200
        # Another user at the same address is the same tester of cards.
        refused = await attempt(bob, "203.0.113.7")
        assert_problem(refused, 429, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 900
        # What was opened is still told to who asks with its key.
        assert (await attempt(ada, "203.0.113.7", "first")).status_code == 200
        assert (await attempt(ada, "203.0.113.8")).status_code == 200


async def test_without_a_publishable_key_it_is_said_which_setting_is_missing(
    make_server: MakeServer, ada: Person, sandbox: Sandbox
) -> None:
    server = make_server(stripe_api_base=sandbox.base_url)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        response = await open_intent(client, ada)
    problem = assert_problem(response, 409, "publishable_key_missing")
    assert "STRIPE_PUBLISHABLE_KEY" in problem["detail"]


@pytest.mark.parametrize(
    ("secret", "publishable", "said"),
    [
        ("sk_test_abcdefgh", "pk_live_abcdefgh", "different modes"),
        ("sk_live_abcdefgh", "pk_test_abcdefgh", "different modes"),
        ("sk_test_abcdefgh", "sk_test_abcdefgh", "no publishable key"),
    ],
)
def test_a_publishable_key_of_another_kind_or_mode_refuses_to_start(
    secret: str, publishable: str, said: str
) -> None:
    settings = config.read(
        None,
        stripe_secret_key=secret,
        stripe_publishable_key=publishable,
        stripe_webhook_secrets="whsec_x",
    )
    with pytest.raises(errors.Misconfigured, match=said):
        settings.require_provider()


async def test_durations_are_shown_with_the_price_of_a_month(shop: httpx.AsyncClient) -> None:
    plans = {plan["id"]: plan for plan in (await shop.get("/api/plans")).json()["data"]}
    assert plans["pages-pro"]["durations"][2] == {
        "months": 3,
        "amount": 8100,
        "currency": "usd",
        "price_formatted": "$81.00",
        "per_month": "$27.00",
    }
    assert [each["months"] for each in plans["pages-pro"]["durations"]] == [1, 1, 3, 12]
    assert plans["solo"]["prices"] == []
