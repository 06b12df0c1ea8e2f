"""Worlds that sell a catalogue of a test's own, under settings of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bursar.billing import catalog_file, catalog_push
from bursar.billing.payments import Payment
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from stripe_shop import confirm_page, tell_page
from worlds import World, settings_for, stripe_client


@asynccontextmanager
async def selling(
    sandbox: Sandbox, database_url: str, folder: Path, catalog: str, **settings: Any
) -> AsyncIterator[World]:
    """A world with `catalog` on sale, audited when the block ends."""
    path = folder / "catalog.toml"
    path.write_text(catalog, encoding="utf-8")
    async with opened(settings_for(sandbox, database_url, **settings)) as wiring:
        provider = wiring.provider("stripe")
        await catalog_push.push(wiring.db, provider, catalog_file.read(path), clock=wiring.clock)
        world = World(wiring, sandbox, stripe_client(sandbox))
        yield world
        await world.assert_audit_clean()


async def buy_from(
    world: World, payment: Payment, country: str, postal_code: str = "", **page: Any
) -> Payment:
    """Pay as somebody who lives there, after telling the page so, and what else is said."""
    v1 = world.stripe.v1
    session = v1.checkout.sessions.retrieve(str(payment.session_id))
    place = {"country": country, "postal_code": postal_code}
    if session.automatic_tax.enabled:
        page["tax_region"] = place
    if page:
        tell_page(world.stripe, session, **page)
    method = v1.payment_methods.create(
        {
            "type": "card",
            "card": {"token": "tok_visa"},  # type: ignore[typeddict-item]
            "billing_details": {"email": "ada@example.com", "name": "Ada", "address": place},  # type: ignore[typeddict-item]
        }
    )
    confirm_page(world.stripe, v1.checkout.sessions.retrieve(session.id), method)
    await world.deliver(await world.events_about(payment))
    await world.work()
    return await world.payment(payment)
