"""In live mode nothing is taken in the clear, and nobody but a trusted proxy says how it came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api_server import Person, assert_problem, event, make_settings, sign
from bursar.entrypoints import server, transport
from bursar.wiring import opened

PROXY = "203.0.113.7"
STRANGER = "198.51.100.9"
LIVE = {"stripe_secret_key": "sk_live_bursar_api_tests", "trusted_proxies": PROXY}
CLEAR = {"x-forwarded-proto": "http"}
SECURE = {"x-forwarded-proto": "https"}
HSTS = "strict-transport-security"


@asynccontextmanager
async def called_from(
    peer: str, database_url: str, scheme: str = "http", **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole app whose connection comes from `peer`; a Host that is not ours."""
    async with opened(make_settings(database_url, **settings)) as wiring:
        inner = httpx.ASGITransport(server.create(wiring), client=(peer, 4711))
        base = f"{scheme}://attacker.example"
        async with httpx.AsyncClient(transport=inner, base_url=base) as client:
            yield client


async def test_pages_in_the_clear_move_to_the_same_page_at_our_own_address(
    database_url: str,
) -> None:
    async with called_from(PROXY, database_url, **LIVE) as client:
        for path in ("/pricing?package=basic&x=%2F", "/nowhere%20at/all", "/docs", "/favicon.svg"):
            moved = await client.get(path, headers=CLEAR)
            assert moved.status_code == 301
            assert moved.headers["location"] == f"https://shop.example{path}"
            assert HSTS not in moved.headers
        head = await client.head("/pricing", headers=CLEAR)
    assert (head.status_code, head.headers["location"]) == (301, "https://shop.example/pricing")


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "/a?next=//evil.example"])
async def test_no_path_leads_away_from_our_own_address(database_url: str, path: str) -> None:
    async with called_from(PROXY, database_url, **LIVE) as client:
        url = httpx.URL("http://attacker.example").copy_with(raw_path=path.encode())
        moved = await client.get(url, headers=CLEAR)
    assert moved.status_code == 301
    assert httpx.URL(moved.headers["location"]).host == "shop.example"


def test_nothing_in_an_address_writes_into_the_header() -> None:
    rules = transport.Transport(live=True, own_url="https://shop.example/billing", trusted=())
    scope = {"path": "/a", "raw_path": b"/a\r\nx: y\xff%20", "query_string": b'q=\r\n<"%41'}
    assert rules.secure_url(scope) == (
        "https://shop.example/billing/a%0D%0Ax:%20y%FF%20?q=%0D%0A%3C%22%41"
    )


async def test_programs_in_the_clear_are_refused_and_nothing_is_stored(
    database_url: str, service: Person
) -> None:
    body = event(livemode=True)
    async with called_from(PROXY, database_url, **LIVE) as client:
        for method, path in (("GET", "/api/credit-packages"), ("POST", "/user/keys"),
                             ("GET", "/api/nowhere")):  # fmt: skip
            answer = await client.request(method, path, headers={**service.headers, **CLEAR})
            assert_problem(answer, 403, "https_required")
        signed = {"stripe-signature": sign(body), "content-type": "application/json"}
        for path in ("/api/stripe/webhook", "/api/webhooks/stripe"):
            answer = await client.post(path, content=body, headers={**signed, **CLEAR})
            assert_problem(answer, 403, "https_required")
        received = await client.post("/api/stripe/webhook", content=body,
                                     headers={**signed, **SECURE})  # fmt: skip
    assert received.status_code == 200
    assert received.headers[HSTS] == "max-age=31536000"


async def test_a_form_sent_in_the_clear_is_refused_as_a_page(database_url: str) -> None:
    async with called_from(PROXY, database_url, **LIVE) as client:
        headers = {**CLEAR, "origin": "https://shop.example", "accept": "text/html"}
        refused = await client.post("/scheme", data={"scheme": "dark"}, headers=headers)
    assert refused.status_code == 403
    assert "Open this page over HTTPS." in refused.text
    assert "set-cookie" not in refused.headers


async def test_only_a_trusted_proxy_is_believed(database_url: str) -> None:
    async with called_from(STRANGER, database_url, **LIVE) as client:
        for headers in (SECURE, CLEAR, {}):
            assert (await client.get("/pricing", headers=headers)).status_code == 301
            answer = await client.get("/api/credit-packages", headers=headers)
            assert_problem(answer, 403, "https_required")
    # Over HTTPS a stranger's word changes nothing either.
    async with called_from(STRANGER, database_url, scheme="https", **LIVE) as client:
        page = await client.get("/pricing", headers=CLEAR)
    assert page.status_code == 200
    assert page.headers[HSTS] == "max-age=31536000"


async def test_a_proxy_that_says_nothing_is_not_taken_for_a_secure_one(database_url: str) -> None:
    async with called_from(PROXY, database_url, **LIVE) as client:
        assert (await client.get("/pricing")).status_code == 301
        assert (await client.get("/pricing", headers=SECURE)).status_code == 200
        chain = {"x-forwarded-proto": "HTTPS , http"}
        assert (await client.get("/pricing", headers=chain)).status_code == 200


async def test_probes_pass_in_the_clear(database_url: str) -> None:
    async with called_from("127.0.0.1", database_url, **LIVE) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            for headers in ({}, CLEAR):
                probe = await client.get(path, headers=headers)
                assert probe.status_code == 200
                assert HSTS not in probe.headers


async def test_without_a_secure_address_of_our_own_nobody_is_sent_anywhere(
    database_url: str,
) -> None:
    live = {**LIVE, "public_url": "http://shop.example"}
    async with called_from(PROXY, database_url, **live) as client:
        refused = await client.get("/pricing", headers={**CLEAR, "accept": "text/html"})
        assert refused.status_code == 403
        assert "location" not in refused.headers
        served = await client.get("/pricing", headers=SECURE)
    assert served.status_code == 200
    assert HSTS not in served.headers


async def test_outside_of_live_mode_plain_http_is_served(database_url: str) -> None:
    async with called_from(STRANGER, database_url, trusted_proxies=PROXY) as client:
        page = await client.get("/pricing")
        assert page.status_code == 200
        assert HSTS not in page.headers
        assert (await client.get("/api/credit-packages", headers=CLEAR)).status_code == 200
    async with called_from(PROXY, database_url, trusted_proxies=PROXY) as client:
        assert (await client.get("/api/credit-packages", headers=CLEAR)).status_code == 200
        # People are sent to where their session's cookie works.
        assert (await client.get("/pricing", headers=CLEAR)).status_code == 301
