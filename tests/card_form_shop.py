"""Payments by card form in tests: opened as our API does, confirmed as a browser does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bursar.billing import catalog_file, catalog_push, intents
from bursar.billing.intents import Opened
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from worlds import World

CATALOG = """
[units.credit]
name = "Credits"
per_minor = { usd = "1" }
minimum = { usd = 500 }
maximum = { usd = 500000 }

[units.page]
name = "Pages"

[packs.starter]
name = "Starter"
unit = "page"
credits = 5
prices = { usd = 500 }

[plans.pages-pro]
name = "Pro"
unit = "page"
credits = 50
features = ["priority"]
limits = { exports = 100 }
prices = { month = { usd = 3000 } }
durations = { 1 = { usd = 3000, jpy = 4500 }, 3 = { usd = 8100 }, 12 = { usd = 28800 } }

[plans.solo]
name = "Solo"
unit = "credit"
features = ["history"]
durations = { 1 = { usd = 900 } }
"""


async def push(world: World, folder: Path, text: str = CATALOG) -> None:
    """Put a catalogue on sale, here and at the sandbox."""
    file = folder / "catalog.toml"
    file.write_text(text, encoding="utf-8")
    wiring = world.wiring
    wanted = catalog_file.read(file)
    await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)


async def open_intent(world: World, user_id: str = "ada", **wanted: Any) -> Opened:
    """A payment intent of the Starter pack, or of what is wanted."""
    user = await world.user(user_id)
    if not {"package", "plan", "amount_minor"} & set(wanted):
        wanted["package"] = "starter"
    order = Order(customer_id=user.customer_id, user=user, **wanted)
    provider = world.wiring.provider("stripe")
    return await intents.open(world.wiring.db, provider, order, clock=world.wiring.clock)


async def confirm(world: World, opened: Opened, card: str = "pm_card_visa") -> dict[str, Any]:
    """Confirm with a test card; the provider's answer, an error or the intent."""
    path = f"/v1/payment_intents/{opened.payment.payment_intent_id}/confirm"
    async with world.http() as http:
        answer = await http.post(path, data={"payment_method": card})
    assert answer.status_code in (200, 402), answer.text
    said: dict[str, Any] = answer.json()
    return said


async def tell(world: World, payment: Payment) -> None:
    """Deliver every event about a payment, and work them off."""
    found = await world.payment(payment)
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    words = [payment.reference, found.payment_intent_id or payment.reference]
    about = [event for event in reversed(events) if any(word in str(event) for word in words)]
    await world.deliver(about)
    await world.work()


async def buy(world: World, **wanted: Any) -> Payment:
    """Buy by card form, all the way."""
    opened = await open_intent(world, **wanted)
    await confirm(world, opened)
    await tell(world, opened.payment)
    return await world.payment(opened.payment)
