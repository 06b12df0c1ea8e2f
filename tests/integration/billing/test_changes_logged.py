"""Pushes of the catalogue, refunds and replays: each has one line in the audit log."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import refunds
from worlds import World


async def lines(world: World, **query: Any) -> list[audit_log.Entry]:
    """The log, the oldest line first."""
    async with world.wiring.db.connection() as conn:
        return (await audit_log.list_entries(conn, limit=100, **query))[::-1]


async def refund(world: World, wanted: refunds.Wanted) -> None:
    provider = world.wiring.provider("stripe")
    await refunds.request(world.wiring.db, provider, wanted, clock=world.wiring.clock)


async def test_a_push_and_a_refund_are_logged_once_and_a_refused_one_is_not(world: World) -> None:
    payment = await world.open_checkout("ada")
    await world.pay(payment)
    paid = await world.sync(payment)
    admin = Actor("admin", "grace", None)
    wanted = refunds.Wanted(
        payment_id=paid.id, amount_minor=200, reason="duplicate", requested_by="admin", actor=admin
    )
    await refund(world, wanted)
    with pytest.raises(errors.RefundExceedsCaptured):
        await refund(world, replace(wanted, amount_minor=301))
    push, refunded = await lines(world)
    assert (push.actor, push.action, push.subject) == (
        "command",
        "catalog.pushed",
        "catalog:stripe",
    )
    assert (refunded.actor, refunded.action) == ("admin:grace", "payment.refunded")
    assert (refunded.subject, refunded.customer_id) == (f"payment:{paid.id}", paid.customer_id)
    assert refunded.reason == "duplicate"
    assert (refunded.detail["amount_minor"], refunded.detail["currency"]) == (200, "usd")


async def test_each_replayed_event_is_logged_once(world: World) -> None:
    payment = await world.open_checkout("ada")
    await world.deliver(await world.events_about(payment) or await any_events(world))
    async with world.wiring.db.connection() as conn:
        ids = [row["id"] for row in await conn.fetch("select id from inbox_messages order by id")]
    assert ids
    named = [str(event_id) for event_id in (*ids, ids[0])]
    assert run(world, "events", "replay", *named) == 0
    assert run(world, "events", "replay", named[0], "999999") == 1
    replayed = await lines(world, action="event.replayed")
    assert [(line.actor, line.subject) for line in replayed] == [
        ("command", f"event:{event_id}") for event_id in ids
    ]


async def any_events(world: World) -> list[dict[str, Any]]:
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 2})).json()["data"]
    return list(events)


def run(world: World, *words: str) -> int:
    """Run a command on the world's database; returns its exit code."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))}
    return subprocess.run(
        [sys.executable, "-m", "bursar.entrypoints.cli", *words],
        env={**environment, "DATABASE_URL": str(world.settings.database_url)},
        capture_output=True,
        timeout=60,
        check=False,
    ).returncode
