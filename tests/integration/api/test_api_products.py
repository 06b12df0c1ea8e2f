"""GET /api/products: what the mirror has, in the visitor's habits, without asking the provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import stripe

from api_server import SECRET_KEY, Person, Server, assert_problem
from bursar.billing import mirror
from bursar_sandbox.running import Sandbox
from stripe_shop import promote

MakeServer = Callable[..., Server]
Push = Callable[[Server], Awaitable[None]]


@pytest.fixture
async def filled(make_server: MakeServer, push_catalog: Push, sandbox: Sandbox) -> Server:
    """A server whose mirror was filled; its provider does not answer any more."""
    teller = make_server(stripe_api_base=sandbox.base_url)
    await push_catalog(teller)
    async with teller.own_wiring() as wiring:
        await mirror.fill(wiring.db, wiring.provider("stripe"))
    return make_server(stripe_api_base="http://127.0.0.1:9")


async def products(server: Server, **headers: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        response = await client.get("/api/products", headers=headers)
    assert response.status_code == 200, response.text
    return {entry["id"]: entry for entry in response.json()["data"]}


async def test_products_come_from_the_mirror_alone(filled: Server) -> None:
    found = await products(filled)
    starter = found["bursar_pack_starter"]
    assert (starter["name"], starter["plan_key"], starter["active"]) == ("Starter", None, True)
    dollars = next(price for price in starter["prices"] if price["currency"] == "usd")
    assert (dollars["amount"], dollars["price_formatted"], dollars["interval"]) == (
        500,
        "$5.00",
        None,
    )


async def test_prices_are_written_as_the_visitor_does(filled: Server) -> None:
    found = await products(filled, **{"Accept-Language": "xx, fr-CA;q=0.9, en;q=0.1"})
    [price] = [p for p in found["bursar_pack_starter"]["prices"] if p["currency"] == "usd"]
    assert price["price_formatted"] != "$5.00"
    assert "5.00" in price["price_formatted"]


async def test_codes_are_shown_with_what_is_left_and_what_they_are_for(
    make_server: MakeServer, push_catalog: Push, sandbox: Sandbox
) -> None:
    server = make_server(stripe_api_base=sandbox.base_url)
    await push_catalog(server)
    v1 = stripe.StripeClient(SECRET_KEY, base_addresses={"api": sandbox.base_url}).v1
    code = f"SHOW{uuid4().hex[:8]}".upper()
    coupon = v1.coupons.create(
        {
            "percent_off": 12.5,
            "duration": "once",
            "applies_to": {"products": ["bursar_pack_starter"]},
        }
    )
    promote(v1, coupon, code=code, max_redemptions=38)
    async with server.own_wiring() as wiring:
        await mirror.fill(wiring.db, wiring.provider("stripe"))
    found = await products(server)
    shown = {
        key: [entry for entry in product["coupons"] if entry["code"] == code]
        for key, product in found.items()
    }
    assert [key for key, entries in shown.items() if entries] == ["bursar_pack_starter"]
    assert shown["bursar_pack_starter"] == [
        {
            "code": code,
            "effect": "12.5\N{NO-BREAK SPACE}% off",
            "percent_off": 12.5,
            "amount_off": {},
            "left": 38,
            "ends_at": None,
        }
    ]


@pytest.mark.parametrize(
    ("coupon", "status", "code"),
    [("NOSUCH", 422, "coupon_unknown"), ("", 422, "validation_error")],
)
async def test_a_coupon_that_is_none_is_named(
    shop: httpx.AsyncClient, ada: Person, coupon: str, status: int, code: str
) -> None:
    wanted = {"package": "starter", "coupon": coupon}
    answered = await shop.post("/api/stripe/checkout-session", json=wanted, headers=ada.headers)
    assert_problem(answered, status, code)


async def test_a_coupon_over_http_lowers_the_amount_and_is_used_up_in_the_end(
    shop: httpx.AsyncClient, sandbox: Sandbox, ada: Person
) -> None:
    v1 = stripe.StripeClient(SECRET_KEY, base_addresses={"api": sandbox.base_url}).v1
    once = v1.coupons.create({"percent_off": 15, "duration": "once", "max_redemptions": 1})
    wanted = {"package": "starter", "coupon": once.id}
    path = "/api/stripe/checkout-session"
    opened = (await shop.post(path, json=wanted, headers=ada.headers)).json()
    assert (opened["amount"], opened["currency"]) == (425, "usd")
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    async with httpx.AsyncClient(base_url=sandbox.base_url, headers=headers) as http:
        card = {"type": "card", "card[token]": "tok_visa"}
        made = await http.post("/v1/payment_methods", data=card)
        page = f"/v1/payment_pages/{opened['session_id']}/confirm"
        paid = await http.post(page, data={"payment_method": made.json()["id"]})
    assert paid.status_code == 200
    assert_problem(await shop.post(path, json=wanted, headers=ada.headers), 409, "coupon_exhausted")
    other = v1.coupons.create(
        {
            "percent_off": 15,
            "duration": "once",
            "applies_to": {"products": ["bursar_pack_basic"]},
        }
    )
    wanted = {"package": "starter", "coupon": other.id}
    assert_problem(
        await shop.post(path, json=wanted, headers=ada.headers), 422, "coupon_not_applicable"
    )


async def test_the_country_counts_only_by_a_trusted_proxys_word(
    make_server: MakeServer, push_catalog: Push, sandbox: Sandbox
) -> None:
    trusting = make_server(
        stripe_api_base=sandbox.base_url,
        country_header="CF-IPCountry",
        trusted_proxies="127.0.0.1",
    )
    await push_catalog(trusting)
    others = make_server(stripe_api_base=sandbox.base_url, country_header="CF-IPCountry")

    async def currencies(server: Server) -> set[str]:
        headers = {"CF-IPCountry": "DE"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            answered = await client.get("/api/credit-packages")
        return {pack["currency"] for pack in answered.json()["data"]}

    assert "eur" in await currencies(trusting)
    assert "eur" not in await currencies(others)
