"""The API for tests of subscriptions: the whole app in the test's own loop, on a world that sells
plans, and what a person with a key asks there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from bursar.access import keys
from bursar.access.actors import Kind
from bursar.billing import payments
from bursar.billing.payments import Payment
from bursar.entrypoints import server
from subscribers import Subscribers

BASE = "http://127.0.0.1:8000"


@dataclass
class Desk:
    """A client of the app, and the world behind it."""

    http: httpx.AsyncClient
    shop: Subscribers

    async def key(self, kind: Kind, user_id: str | None = None) -> dict[str, str]:
        """The headers of somebody with a key of their own."""
        if user_id is not None:
            await self.shop.world.user(user_id)
        wiring = self.shop.world.wiring
        async with wiring.db.transaction() as conn:
            _, secret = await keys.create(conn, kind, user_id=user_id, at=wiring.clock.now())
        return {"Authorization": f"Bearer {secret}"}

    async def payment(self, session_id: str) -> Payment:
        async with self.shop.world.wiring.db.connection() as conn:
            found = await payments.find_by_session(conn, "stripe", session_id)
        assert found is not None
        return found

    async def pay(self, session_id: str, card: str = "tok_visa") -> None:
        """What a buyer does on the hosted page; then its events arrive."""
        await self.shop.world.pay(await self.payment(session_id), card)
        await self.shop.hear()

    async def subscribe(self, who: dict[str, str], plan: str, **wanted: Any) -> dict[str, Any]:
        """Begin a plan and pay it; the subscription as it is shown then."""
        opened = await self.http.post("/api/subscribe", json={"plan": plan, **wanted}, headers=who)
        assert opened.status_code == 200, opened.text
        await self.pay(opened.json()["session_id"])
        return await self.shown(who)

    async def shown(self, who: dict[str, str], **query: Any) -> dict[str, Any]:
        found = await self.http.get("/api/subscription", params=query, headers=who)
        assert found.status_code == 200, found.text
        body: dict[str, Any] = found.json()
        return body


@asynccontextmanager
async def open_desk(shop: Subscribers) -> AsyncIterator[Desk]:
    """The app on the world's own wiring, without the limit of checkouts."""
    wiring = shop.world.wiring
    settings = wiring.settings.model_copy(update={"limit_checkout": None})
    app = server.create(replace(wiring, settings=settings))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=60) as http:
        yield Desk(http, shop)
