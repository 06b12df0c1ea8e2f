"""The API's own description, its errors' table, its health and figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from api_server import Person, Server, assert_problem, event, sign
from bursar import errors
from bursar.db import Database
from bursar.entrypoints.api import problems, reference
from worlds import eventually

ROUTES = {
    ("get", "/api/credit-packages"),
    ("get", "/api/{provider}/credit-packages"),
    ("put", "/api/users/{user_id}"),
    ("post", "/api/sessions"),
    ("post", "/api/{provider}/checkout-session"),
    ("get", "/api/{provider}/checkout-session/{session_id}"),
    ("post", "/api/{provider}/payment-intent"),
    ("get", "/api/{provider}/payment-intent/{payment_intent_id}"),
    ("post", "/api/{provider}/refund"),
    ("post", "/api/credits/use"),
    ("post", "/api/credits/uses/{transaction_id}/reverse"),
    ("post", "/api/credits/holds"),
    ("get", "/api/credits/holds/{hold_id}"),
    ("post", "/api/credits/holds/{hold_id}/capture"),
    ("delete", "/api/credits/holds/{hold_id}"),
    ("get", "/api/plans"),
    ("get", "/api/entitlements"),
    ("get", "/api/entitlements/{feature}"),
    ("post", "/api/entitlements/{feature}/consume"),
    ("get", "/api/admin/entitlements"),
    ("post", "/api/admin/entitlements"),
    ("delete", "/api/admin/entitlements/{grant_id}"),
    ("get", "/api/payments"),
    ("get", "/api/payments/{payment_id}"),
    ("get", "/api/{provider}/payments"),
    ("get", "/api/{provider}/payments/{payment_id}"),
    ("post", "/api/team"),
    ("get", "/api/team"),
    ("patch", "/api/team"),
    ("get", "/api/team/members"),
    ("post", "/api/team/members"),
    ("patch", "/api/team/members/{user_id}"),
    ("delete", "/api/team/members/{user_id}"),
    ("post", "/api/team/invitations/accept"),
    ("delete", "/api/team/invitations/{invitation_id}"),
    ("get", "/user/balance"),
    ("get", "/user/transactions"),
    ("post", "/api/vouchers/redeem"),
    ("get", "/api/admin/vouchers"),
    ("post", "/api/admin/vouchers"),
    ("delete", "/api/admin/vouchers/{voucher_id}"),
    ("post", "/api/admin/credits/grants"),
    ("post", "/api/admin/credits/adjustments"),
    ("get", "/api/admin/audit-log"),
    ("post", "/api/{provider}/webhook"),
    ("post", "/api/webhooks/{provider}"),
    ("get", "/api/payment-methods"),
    ("get", "/api/payment-methods/{card_id}"),
    ("delete", "/api/payment-methods/{card_id}"),
    ("post", "/api/payment-methods/{card_id}/default"),
    ("post", "/api/{provider}/payment-link"),
    ("get", "/api/admin/disputes"),
    ("get", "/api/admin/disputes/{dispute_id}"),
    ("post", "/api/admin/disputes/{dispute_id}/evidence"),
    ("post", "/api/admin/disputes/{dispute_id}/accept"),
    ("get", "/api/products"),
    ("post", "/api/subscribe"),
    ("get", "/api/subscription"),
    ("patch", "/api/subscription"),
    ("delete", "/api/subscription"),
    ("get", "/api/subscription/preview"),
    ("post", "/api/subscription/resume"),
    ("post", "/api/subscription/pause"),
    ("post", "/api/{provider}/portal"),
    ("get", "/api/admin/subscriptions"),
    ("get", "/api/admin/subscriptions/{subscription_id}"),
    ("delete", "/api/admin/subscriptions/{subscription_id}"),
    ("get", "/api/admin/orders"),
    ("get", "/api/admin/orders/{payment_id}"),
    ("post", "/api/admin/orders/{payment_id}/capture"),
    ("post", "/api/admin/orders/{payment_id}/cancel"),
    ("get", "/api/admin/outbox"),
    ("post", "/api/admin/outbox/{message_id}/retry"),
    ("get", "/api/admin/webhook-endpoints"),
    ("post", "/api/admin/webhook-endpoints"),
    ("delete", "/api/admin/webhook-endpoints/{endpoint_id}"),
    ("post", "/api/admin/webhook-endpoints/{endpoint_id}/rotate"),
    ("post", "/api/admin/webhook-endpoints/{endpoint_id}/test"),
    ("get", "/api/admin/cases"),
    ("get", "/api/admin/cases/{case_id}"),
    ("post", "/api/admin/cases/{case_id}/resolve"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}

# These say everything in their address.
WITHOUT_BODY = {
    "/api/payment-methods/{card_id}/default",
    "/api/admin/disputes/{dispute_id}/accept",
    "/api/subscription/resume",
    "/api/subscription/pause",
    "/api/admin/outbox/{message_id}/retry",
    "/api/admin/webhook-endpoints/{endpoint_id}/rotate",
    "/api/admin/webhook-endpoints/{endpoint_id}/test",
}


def leaves(family: type[errors.Error]) -> Iterator[type[errors.Error]]:
    for error in family.__subclasses__():
        yield error
        yield from leaves(error)


def test_every_error_has_a_status_by_its_family() -> None:
    kinds = list(leaves(errors.Error))
    assert len(kinds) > 20
    for kind in kinds:
        assert any(base in problems.STATUSES for base in kind.__mro__), kind
        assert problems.title_of(kind)
        assert problems.status_of(kind) in range(400, 600)
    assert problems.status_of(errors.IdempotencyKeyReused) == 422
    assert problems.status_of(errors.IdempotencyKeyInUse) == 409


def test_codes_of_http_and_of_the_tree_are_apart() -> None:
    tree = [kind.code for kind in leaves(errors.Error)]
    assert not set(problems.RULES) & set(tree)
    assert set(reference.codes()) == set(problems.RULES) | set(tree)


@pytest.fixture
async def schema(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    described: dict[str, Any] = response.json()
    return described


async def test_description_names_every_route_and_no_other(schema: dict[str, Any]) -> None:
    described = {(method, path) for path, methods in schema["paths"].items() for method in methods}
    assert described == ROUTES


async def test_description_resolves_and_says_who_may(schema: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(schema)))
    assert names <= set(schema["components"]["schemas"])
    assert "HTTPValidationError" not in str(schema)
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            statuses = set(operation["responses"])
            assert "200" in statuses
            assert ("security" in operation) == ("401" in statuses), path
            sends = method in ("post", "put", "patch") and path not in WITHOUT_BODY
            assert ("requestBody" in operation) == sends, path
            named = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert set(re.findall(r"{(\w+)}", path)) <= named
    checkout = schema["paths"]["/api/{provider}/checkout-session"]["post"]
    named = {parameter["name"] for parameter in checkout["parameters"]}
    assert named == {"provider", "Bursar-User", "Bursar-Customer", "Idempotency-Key"}
    body = schema["components"]["schemas"]["CheckoutRequest"]
    assert body["additionalProperties"] is False
    provider = next(p for p in checkout["parameters"] if p["name"] == "provider")
    assert provider["schema"]["enum"] == ["stripe", "lemonsqueezy", "paddle"]


async def test_answers_hold_to_the_description(
    client: httpx.AsyncClient, schema: dict[str, Any], ada: Person, service: Person
) -> None:
    """Statuses and media types that come are those that are declared."""
    body = event()
    signed = {"Content-Type": "application/json", "Stripe-Signature": sign(body)}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("/user/transactions", "get", {"headers": ada.headers}),
        ("/user/transactions", "get", {}),
        ("/user/transactions", "get", {"headers": ada.headers, "params": {"limit": 0}}),
        ("/user/transactions", "get", {"headers": {**ada.headers, "Bursar-Customer": "x"}}),
        ("/user/balance", "get", {"headers": ada.headers}),
        ("/api/credit-packages", "get", {}),
        ("/api/credit-packages", "get", {"params": {"currency": "x"}}),
        ("/api/{provider}/credit-packages", "get", {}),
        ("/api/users/{user_id}", "put", {"headers": service.headers, "json": {}}),
        ("/api/users/{user_id}", "put", {"headers": service.headers, "json": []}),
        ("/api/users/{user_id}", "put", {"headers": service.headers, "content": b"{"}),
        ("/api/sessions", "post", {"headers": ada.headers, "json": {"user_id": "ada"}}),
        ("/api/payments/{payment_id}", "get", {"headers": ada.headers}),
        ("/api/{provider}/checkout-session", "post", {"headers": ada.headers, "json": {}}),
        ("/api/{provider}/webhook", "post", {"headers": signed, "content": body}),
        ("/api/{provider}/webhook", "post", {"json": {}}),
        ("/healthz", "get", {}),
        ("/readyz", "get", {}),
    ]
    for path, method, request in calls:
        actual = path.format(provider="stripe", user_id="ada", payment_id=1, session_id="cs_1")
        response = await client.request(method, actual, **request)
        declared = schema["paths"][path][method]["responses"]
        assert str(response.status_code) in declared, (path, response.text)
        content = declared[str(response.status_code)]["content"]
        assert response.headers["content-type"].split(";")[0] in content


async def test_pages_for_people_need_no_script_and_cover_every_code(
    client: httpx.AsyncClient,
) -> None:
    docs = await client.get("/docs")
    table = await client.get("/docs/errors")
    for page in (docs, table):
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
    for _, path in ROUTES:
        assert path in docs.text
    for code in reference.codes():
        assert f'id="{code}"' in table.text


async def test_the_page_says_which_key_what_is_required_and_what_comes_back(
    client: httpx.AsyncClient,
) -> None:
    page = (await client.get("/docs")).text
    sections = dict(re.findall(r'<section id="([^"]+)">(.*?)</section>', page, re.S))
    assert set(sections) == set(re.findall(r'<li><a href="#([^"]+)">', page))
    use, grant = sections["post-api-credits-use"], sections["post-api-admin-credits-grants"]
    assert "Key: user or service." in use
    assert "Key: admin." in grant
    assert "<code>amount</code></dt><dd>Required." in use
    assert "<code>unit</code></dt><dd>Optional." in use
    assert "<code>transaction_id</code>" in use
    assert "<code>data[].amount</code>" in sections["get-api-payments"]
    assert [name for name, text in sections.items() if "Needs a key." in text] == []
    order = re.findall(r'<section id="([^"]+)">', page)
    credits_calls = [n for n, name in enumerate(order) if name.startswith("post-api-credits-use")]
    assert credits_calls[-1] - credits_calls[0] == len(credits_calls) - 1


async def test_unknown_addresses_are_problems(client: httpx.AsyncClient, ada: Person) -> None:
    for path in ("/api/nothing", "/api/payments/", "/api/square/payments", "/user/", "/api/"):
        assert_problem(await client.get(path, headers=ada.headers), 404, "not_found")


async def test_other_methods_are_problems(client: httpx.AsyncClient) -> None:
    for method, path, allowed in (
        ("DELETE", "/api/payments", "GET"),
        ("POST", "/user/balance", "GET"),
        ("GET", "/api/sessions", "POST"),
        ("GET", "/api/stripe/checkout-session", "POST"),
        ("POST", "/api/users/ada", "PUT"),
    ):
        response = await client.request(method, path)
        assert_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allowed


async def test_every_answer_has_its_own_id(client: httpx.AsyncClient) -> None:
    ids = [
        (await client.get(path)).headers["x-request-id"]
        for path in ("/healthz", "/healthz", "/nothing", "/user/balance", "/docs")
    ]
    assert len(set(ids)) == 5
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", request_id) for request_id in ids)


async def test_figures_name_patterns_and_no_ids(client: httpx.AsyncClient, ada: Person) -> None:
    await client.get("/api/payments/12345", headers=ada.headers)
    await client.get("/nothing/12345")
    await client.request("MADE-UP", "/healthz")
    metrics = (await client.get("/metrics")).text
    assert (
        'bursar_http_requests_total{method="GET",route="/api/payments/{payment_id}",status="404"}'
        " 1.0" in metrics
    )
    assert 'route="unmatched"' in metrics
    assert "12345" not in metrics
    assert "MADE-UP" not in metrics


async def test_ready_is_more_than_alive(make_server: Callable[..., Server], db: Database) -> None:
    server = make_server()
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        async with db.transaction() as conn:
            await conn.execute(
                "delete from schema_migrations where name = "
                "(select max(name) from schema_migrations)"
            )
        assert_problem(await client.get("/readyz"), 503, "unavailable")
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_unforeseen_error_is_500_and_tells_nothing(
    make_server: Callable[..., Server], db: Database, ada: Person
) -> None:
    server = make_server()
    async with db.transaction() as conn:
        await conn.execute("alter table ledger_postings rename to elsewhere")
    async with httpx.AsyncClient(base_url=server.url) as client:
        response = await client.get("/user/transactions", headers=ada.headers)
        problem = assert_problem(response, 500, "internal_error")
        assert "ledger" not in str(problem)
        metrics = (await client.get("/metrics")).text
    assert 'route="/user/transactions",status="500"' in metrics


async def test_log_has_a_line_for_each_request_and_no_secret(
    make_server: Callable[..., Server],
    db: Database,
    ada: Person,
    service: Person,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = make_server()
    async with httpx.AsyncClient(base_url=server.url) as client:
        link = await client.post("/api/sessions", json={"user_id": "ada"}, headers=service.headers)
        await client.get("/user/transactions?cursor=canary-query", headers=ada.headers)
        await client.get("/api/payments/canary-path", headers=ada.headers)
        await client.get("/healthz", headers={"Authorization": "Bearer canary-header"})
        await client.get("/user/balance", headers={"Authorization": "Bearer canary-header"})
        await client.put(
            "/api/users/ada", json={"name": "canary-body", "x": 1}, headers=service.headers
        )
        async with db.transaction() as conn:
            await conn.execute("alter table ledger_postings rename to elsewhere")
        await client.get("/user/transactions", headers=ada.headers)
    logged = ""

    async def told() -> bool:
        nonlocal logged
        logged += "".join(capsys.readouterr())
        return logged.count("request_id") >= 8 and "crashed" in logged

    await eventually(told)
    assert "/api/payments/{payment_id}" in logged
    assert "crashed" in logged
    assert "canary" not in logged
    for secret in (ada.secret, service.secret, link.json()["url"].partition("=")[2]):
        assert secret not in logged
