"""Subscriptions in a host's process, awaited and blocking."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bursar import errors
from bursar.access import keys
from bursar.billing import payments
from bursar.clock import ShiftedClock
from library_host import host_at, make_library
from subscribers import Subscribers
from worlds import World


async def paid(world: World, session_id: str) -> None:
    async with world.wiring.db.connection() as conn:
        payment = await payments.find_by_session(conn, "stripe", session_id)
    assert payment is not None
    assert isinstance(world.wiring.clock, ShiftedClock)
    await world.pay(payment)
    await Subscribers(world).hear()


async def test_a_plan_is_begun_changed_paused_and_ended(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        plans = library.subscriptions
        opened = await plans.open("ada", "pages-basic", key="k1")
        assert (await plans.open("ada", "pages-basic", key="k1")) == opened
        with pytest.raises(errors.NotFound):
            await plans.get("ada")
        with pytest.raises(errors.NoCustomer):
            await plans.portal("bob")
        await paid(world, opened.session_id)
        found = await plans.get("ada")
        assert (found.plan, found.status, found.amount) == ("pages-basic", "active", 1500)
        with pytest.raises(errors.AlreadySubscribed):
            await library.checkouts.open("ada", plan="pages-pro")
        preview = await plans.preview("ada", plan="pages-pro", proration="always_invoice")
        assert preview.next_total == 3000
        for _ in range(2):
            changed = await plans.change(
                "ada",
                plan="pages-pro",
                proration="always_invoice",
                proration_at=preview.proration_at,
                key="k2",
            )
            assert changed.plan == "pages-pro"
        assert (await plans.pause("ada", key="k3")).status == "paused"
        assert (await plans.resume("ada", id=found.id)).status == "active"
        assert (await plans.cancel("ada")).cancel_at == found.current_period_end
        assert (await plans.resume("ada")).cancel_at is None
        assert (await plans.portal("ada")).startswith(world.sandbox.base_url)
        assert (await plans.cancel("ada", when="now")).status == "canceled"
        with pytest.raises(errors.NotFound):
            await plans.cancel("ada")


async def test_what_can_not_be_asked_is_refused_in_our_words(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        plans = library.subscriptions
        with pytest.raises(errors.Invalid):
            await plans.change("ada")
        with pytest.raises(errors.Invalid):
            await plans.get("ada", id=-1)
        with pytest.raises(errors.Invalid):
            await plans.get("ada", id="1")  # type: ignore[arg-type]
        with pytest.raises(errors.Invalid):
            await plans.cancel("ada", when="later")  # type: ignore[arg-type]
        with pytest.raises(errors.Invalid):
            await plans.pause("ada", key="")
        with pytest.raises(errors.UnknownItem):
            await plans.open("ada", "gone")
        with pytest.raises(errors.RedirectNotAllowed):
            await plans.portal("ada", return_url="https://evil.example")


async def test_a_key_counts_once_whether_by_http_or_in_the_process(world: World) -> None:
    library = make_library(world)
    async with world.wiring.db.transaction() as conn:
        _, secret = await keys.create(conn, "service", at=world.wiring.clock.now())
    headers = {"Authorization": f"Bearer {secret}", "Bursar-User": "ada", "Idempotency-Key": "k"}
    async with host_at(world) as url, httpx.AsyncClient(timeout=30) as http:
        opened = await http.post(
            f"{url}/api/subscribe", json={"plan": "pages-basic"}, headers=headers
        )
        assert opened.status_code == 200, opened.text
    async with library.lifespan():
        again = await library.subscriptions.open("ada", "pages-basic", key="k")
    assert again.model_dump(mode="json") == opened.json()


async def test_blocking_calls_do_the_same(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        sync = library.sync.subscriptions
        opened = await asyncio.to_thread(sync.open, "ada", "pages-basic")
        await paid(world, opened.session_id)
        found = await asyncio.to_thread(sync.get, "ada")
        assert found.status == "active"
        ended = await asyncio.to_thread(sync.cancel, "ada")
        assert ended.cancel_at_period_end
