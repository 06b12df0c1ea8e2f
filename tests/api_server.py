"""The API on a real socket in a thread of its own, and what its callers need."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import threading
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx
import uvicorn

from bursar.access import keys
from bursar.access.actors import Kind
from bursar.billing import customers
from bursar.config import Settings, read
from bursar.db import Database
from bursar.entrypoints.api import create_app
from bursar.wiring import Wiring, opened

SECRET_KEY = "sk_test_bursar_api_tests"
WEBHOOK_SECRET = "whsec_api_tests"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a key."""

    user_id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


class Server:
    """A running server; its wiring lives in its own thread's loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="test-api")
        self._thread.start()
        assert self._started.wait(PATIENCE_SECONDS)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:
            self._failure = failure
            self._started.set()
            raise

    async def _serve(self) -> None:
        async with opened(self.settings) as wiring:
            config = uvicorn.Config(
                create_app(wiring), log_level="warning", access_log=False, lifespan="off"
            )
            self._server = uvicorn.Server(config)
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
                listening.bind(("127.0.0.1", 0))
                listening.listen(128)
                self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
                self._started.set()
                await self._server.serve(sockets=[listening])

    def own_wiring(self) -> AbstractAsyncContextManager[Wiring]:
        """A second wiring with the same settings, for the caller's loop."""
        return opened(self.settings)

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join()


def make_settings(database_url: str, **settings: object) -> Settings:
    """Settings of a deployment whose pages and shop are elsewhere."""
    given: dict[str, object] = {
        "database_url": database_url,
        "stripe_secret_key": SECRET_KEY,
        "stripe_webhook_secrets": WEBHOOK_SECRET,
        # Nothing listens there: only tests with a sandbox reach a provider.
        "stripe_api_base": "http://127.0.0.1:9",
        "public_url": "https://shop.example",
        "frontend_url": "https://app.example",
        **settings,
    }
    return read(None, **given)


async def make_key(db: Database, kind: Kind, user_id: str | None = None) -> str:
    async with db.transaction() as conn:
        if user_id is not None:
            await customers.ensure_user(conn, user_id, at=NOW)
        _, secret = await keys.create(conn, kind, user_id=user_id, at=NOW)
    return secret


def event(event_id: str = "evt_1", **fields: Any) -> bytes:
    """A provider's message as bytes."""
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": "product.created",
            "livemode": False,
            "data": {"object": {}},
            **fields,
        }
    ).encode()


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    """The signature header as the provider makes it."""
    seconds = int(time.time() if at is None else at)
    signed = hmac.new(secret.encode(), f"{seconds}.".encode() + body, sha256).hexdigest()
    return f"t={seconds},v1={signed}"


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Hold a refusal to its shape; returns it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, response.text
    assert problem["status"] == status
    assert problem["type"] == f"/docs/errors#{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert set(problem) - {"errors", "subscription_id", "pricing_url"} == {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "request_id",
    }
    for entry in problem.get("errors", []):
        assert set(entry) == {"field", "code", "message"}
    return problem
