"""Money that carries our reference and is not the checkout's; money more or less than the order."""

from __future__ import annotations

from typing import Any

import pytest

from bursar.billing import cases
from bursar.billing.payments import Payment
from worlds import World


async def list_cases(world: World) -> list[tuple[str, int | None]]:
    async with world.wiring.db.connection() as conn:
        return sorted((case.kind, case.amount_minor) for case in await cases.list_cases(conn))


def take(world: World, payment: Payment, amount: int, currency: str) -> None:
    """An intent that somebody made by hand, with our reference in its metadata."""
    world.stripe.v1.payment_intents.create(
        {
            "amount": amount,
            "currency": currency,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": {"bursar_reference": payment.reference},
        }
    )


async def deliver(world: World, payment: Payment) -> None:
    await world.deliver(await world.events_about(payment))
    await world.work()


@pytest.mark.parametrize("currency", ["usd", "eur"])
async def test_a_stray_intent_does_not_take_an_open_checkout_over(
    world: World, currency: str
) -> None:
    payment = await world.open_checkout()
    take(world, payment, 100, currency)
    await deliver(world, payment)
    assert (await world.payment(payment)).status == "pending"
    assert await list_cases(world) == [("unmatched", 100)]
    await world.pay(payment)
    await deliver(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", 500, None)
    assert await world.balance(payment.customer_id) == 5
    assert await list_cases(world) == [("unmatched", 100)]


async def test_capture_of_a_part_brings_a_part(world: World) -> None:
    payment = await world.open_checkout(package="enterprise", capture_method="manual")
    await world.pay(payment)
    await deliver(world, payment)
    held = await world.payment(payment)
    assert held.status in ("authorized", "processing")
    assert await world.balance(payment.customer_id) == 0
    intent = held.payment_intent_id or (
        world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id)).payment_intent
    )
    world.stripe.v1.payment_intents.capture(str(intent), {"amount_to_capture": 500})
    await deliver(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 500)
    assert await world.balance(payment.customer_id) == 10


def changed(events: list[dict[str, Any]], amount: int) -> list[dict[str, Any]]:
    """The intent's event, saying that another sum was taken."""
    told = next(event for event in events if event["type"] == "payment_intent.succeeded")
    data = {**told["data"], "object": {**told["data"]["object"], "amount_received": amount}}
    return [{**told, "id": "evt_other_amount", "data": data}]


@pytest.mark.parametrize("first", [True, False])
async def test_more_than_the_order_is_a_case_and_the_order_is_granted(
    world: World, first: bool
) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    events = await world.events_about(payment)
    odd = changed(events, 600)
    for batch in [odd, events] if first else [events, odd]:
        await world.deliver(batch)
        await world.work()
    after = await world.payment(payment)
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", 600, None)
    assert await world.balance(payment.customer_id) == 5
    assert await list_cases(world) == [("excess", 600)]
