"""The served description, tried out: whatever it allows or forbids, nothing is a 5xx, and what is
answered is what the description says.

The same examples at each run, on a database, a sandbox and a bought pack of their own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api_server import SECRET_KEY, Server, make_key, make_settings
from bursar.access.actors import Kind
from bursar.billing import catalog_file, catalog_push
from bursar.checks.audit import audit
from bursar.db import open_pool
from bursar_sandbox.running import Sandbox
from postgres import Postgres

CATALOG = Path(__file__).with_name("catalog.toml")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 20
KINDS: tuple[Kind, ...] = ("user", "service", "admin")


@dataclass(frozen=True)
class Shop:
    """A running server, somebody with each kind of key, and what one of them bought."""

    server: Server
    keys: Mapping[Kind, str]
    real: Mapping[str, str]
    """What a path may name: parameter → something that is there."""

    def headers(self, kind: Kind | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[kind]}"} if kind else {}


@pytest.fixture(scope="module")
def database_url(postgres: Postgres, schema_template: str) -> Iterator[str]:
    """One database for the module, audited when it has seen everything."""
    with postgres.database(schema_template) as url:
        yield url
        assert asyncio.run(audited(url)) == []


async def audited(url: str) -> list[Any]:
    async with await open_pool(url) as db, db.connection() as conn:
        return list(await audit(conn))


async def furnish(server: Server) -> dict[Kind, str]:
    """Put the catalogue on sale and make a key of each kind."""
    async with server.own_wiring() as wiring:
        wanted = catalog_file.read(CATALOG)
        await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
        return {kind: await make_key(wiring.db, kind, _holder(kind)) for kind in KINDS}


def _holder(kind: Kind) -> str | None:
    return "ada" if kind == "user" else None


def buy(server: Server, sandbox: Sandbox, key: str) -> dict[str, str]:
    """Buy a pack and use a page of it; returns the names of what came of that."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "bought"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        opened = client.post("/api/stripe/checkout-session", json={"package": "starter"}).json()
        state = pay(client, sandbox, opened["session_id"])
        begun = client.post("/api/subscribe", json={"plan": "pages-team"}).json()
        pay(client, sandbox, begun["session_id"])
        subscribed = str(client.get("/api/subscription").json()["id"])
        used = client.post("/api/credits/use", json={"amount": 1, "unit": "page"}).json()
        held = client.post("/api/credits/holds", json={"amount": 1, "unit": "page"}).json()
    return {
        "provider": "stripe",
        "payment_id": str(opened["payment_id"]),
        "session_id": opened["session_id"],
        "transaction_id": str(used["transaction_id"]),
        "hold_id": str(held["hold_id"]),
        "user_id": "ada",
        "invitation_id": "1",
        "feature": "exports",
        "grant_id": "1",
        "voucher_id": "1",
        "card_id": "pm_nothing",
        "case_id": "1",
        "dispute_id": "1",
        "endpoint_id": "1",
        "message_id": "1",
        "subscription_id": subscribed,
        "payment_intent_id": state["payment"]["payment_intent_id"],
    }


def pay(client: httpx.Client, sandbox: Sandbox, session_id: str) -> Any:
    """Pay a checkout as its page does; returns how it stands then."""
    auth = {"Authorization": f"Bearer {SECRET_KEY}"}
    card = {"type": "card", "card[token]": "tok_visa"}
    method = httpx.post(f"{sandbox.base_url}/v1/payment_methods", data=card, headers=auth)
    page = f"{sandbox.base_url}/v1/payment_pages/{session_id}/confirm"
    paid = httpx.post(page, data={"payment_method": method.json()["id"]}, headers=auth)
    assert paid.status_code == 200, paid.text
    state = client.get(f"/api/stripe/checkout-session/{session_id}").json()
    assert state["payment"]["status"] == "completed"
    return state


@pytest.fixture(scope="module")
def shop(database_url: str, sandbox: Sandbox) -> Iterator[Shop]:
    """The one shop of the module."""
    server = Server(
        make_settings(
            database_url,
            stripe_api_base=sandbox.base_url,
            limit_checkout="off",
            limit_voucher="off",
            limit_api="off",
        )
    )
    try:
        keys = asyncio.run(furnish(server))
        yield Shop(server, keys, buy(server, sandbox, keys["user"]))
    finally:
        server.stop()


# What a body must say for its address to do something; None takes a field out.
REAL_BODIES: dict[str, dict[str, Any]] = {
    "/api/{provider}/checkout-session": {
        "package": "starter",
        "currency": "usd",
        **dict.fromkeys(("plan", "price_id", "amount", "coupon", "success_url", "cancel_url")),
    },
    "/api/{provider}/refund": {"payment_id": 0, "amount": 7},
    "/api/{provider}/portal": {"return_url": None},
    "/api/subscribe": {
        "plan": "pages-team",
        **dict.fromkeys(("provider", "currency", "coupon", "success_url", "cancel_url")),
    },
    "/api/subscription": dict.fromkeys(("plan", "interval", "proration_at")),
    "/api/credits/use": {"unit": "page", "amount": 1},
    "/api/credits/holds": {"unit": "page", "amount": 1},
    "/api/vouchers/redeem": {"code": "FUZZ"},
    "/api/admin/vouchers": {
        "code": "FUZZ",
        "unit": "page",
        **dict.fromkeys(("user_id", "starts_at", "ends_at")),
    },
    "/api/admin/credits/grants": {
        "user_id": "ada",
        "unit": "page",
        **dict.fromkeys(("customer_id", "expires_at")),
    },
    "/api/admin/credits/adjustments": {"user_id": "ada", "unit": "page", "customer_id": None},
    "/api/admin/entitlements": {
        "user_id": "ada",
        "feature": "exports",
        "amount": 5,
        **dict.fromkeys(("customer_id", "ends_at")),
    },
}


def make_real(shop: Shop, kind: Kind | None, case: Any) -> None:
    """Turn an example into a request about what is there, by somebody who is."""
    parameters = case.path_parameters or {}
    case.path_parameters = {name: shop.real[name] for name in parameters}
    if case.operation.path.startswith("/api/subscription") and case.query:
        # Who names none means their own; and it is to be there to the end.
        case.query = {**case.query, "when": "period_end"} if "when" in case.query else case.query
        case.query = {name: value for name, value in case.query.items() if name != "id"}
    if isinstance(case.body, dict):
        said = {**case.body, **REAL_BODIES.get(case.operation.path, {})}
        case.body = {name: value for name, value in said.items() if value is not None}
        if "payment_id" in said:
            case.body["payment_id"] = int(shop.real["payment_id"])
    kept = {
        name: value
        for name, value in (case.headers or {}).items()
        if name not in ("Bursar-User", "Bursar-Customer")
    }
    case.headers = {**kept, **({"Bursar-User": "ada"} if kind == "service" else {})}


def try_out(
    shop: Shop, operation: Any, kind: Kind | None, mode: GenerationMode, examples: int
) -> Counter[int]:
    """Send examples of one kind to one address; returns how often each status came."""
    seen: Counter[int] = Counter()
    positive = mode is GenerationMode.POSITIVE

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def example(case: Any, real: bool) -> None:
        if real and positive:
            make_real(shop, kind, case)
        case.headers = {**(case.headers or {}), **shop.headers(kind)}
        response = case.call(base_url=shop.server.url)
        seen[response.status_code] += 1
        # Too large is refused as well, which that check does not know.
        refused = positive or kind is None or response.status_code == 413
        checks = CHECKS if refused else [*CHECKS, negative_data_rejection]
        case.validate_response(response, checks=checks)

    example()
    return seen


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_the_description_allows_or_forbids_is_answered_as_described(
    shop: Shop, kind: Kind | None, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{shop.server.url}/openapi.json")
    seen: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        said = operation.definition.raw
        if mode is GenerationMode.NEGATIVE and not {"parameters", "requestBody"} & set(said):
            # It takes nothing, so nothing can be wrong with it.
            continue
        open_to_all = "security" not in said
        seen += try_out(shop, operation, kind, mode, EXAMPLES if kind or open_to_all else 3)
    assert seen[401 if kind is None else 403] > 0
    if kind is not None:
        assert seen[422] > 0
        assert mode is GenerationMode.NEGATIVE or seen[200] > 0
