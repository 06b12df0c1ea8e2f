"""Bank debits: the order stands, the money comes or does not come days later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bursar.billing.payments import Payment
from bursar_sandbox.running import Sandbox
from selling_world import selling
from stripe_shop import confirm_page
from worlds import World, eventually

CATALOG = """
[units.page]
name = "Pages"

[packs.starter]
name = "Starter"
unit = "page"
credits = 5
prices = { usd = 500 }
"""


@pytest.fixture
async def patient(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A shop that takes bank debits beside cards."""
    methods = ("card", "us_bank_account")
    async with selling(sandbox, database_url, tmp_path, CATALOG, payment_methods=methods) as world:
        yield world


async def debited(world: World, number: str) -> Payment:
    """A checkout that was paid by a debit of an account; its answer is still to come."""
    payment = await world.open_checkout()
    method = world.stripe.v1.payment_methods.create(
        {
            "type": "us_bank_account",
            "us_bank_account": {"routing_number": "110000000", "account_number": number},
            "billing_details": {"email": "ada@example.com", "name": "Ada"},
        }
    )
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    confirm_page(world.stripe, session, method)
    await world.deliver(await world.events_about(payment))
    await world.work()
    return await world.payment(payment)


@pytest.mark.parametrize(
    ("number", "state", "credits"),
    [("000123456789", "completed", 5), ("000111111113", "failed", 0)],
)
async def test_a_debit_is_processing_until_the_bank_has_answered(
    patient: World, number: str, state: str, credits: int
) -> None:
    payment = await debited(patient, number)
    assert payment.state == "processing"
    assert await patient.balance(payment.customer_id) == 0

    async def answered() -> bool:
        events = await patient.events_about(payment)
        return any("async_payment" in event["type"] for event in events)

    await eventually(answered)
    await patient.deliver(await patient.events_about(payment))
    await patient.work()
    assert (await patient.payment(payment)).state == state
    assert await patient.balance(payment.customer_id) == credits
