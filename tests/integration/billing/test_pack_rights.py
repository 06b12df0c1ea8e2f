"""What packs entitle to: given with their credits, ended by a whole refund, given back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bursar.billing import catalog_file, catalog_push, entitlements, refunds
from bursar.billing.payments import Payment
from bursar.billing.refunds import Wanted
from orders_world import decide
from worlds import World, eventually

CATALOG = """
[units.page]
name = "Pages"

[packs.pro]
name = "Pro"
unit = "page"
credits = 30
prices = { usd = 2000 }
features = ["priority"]
limits = { exports = 100, api_calls = { count = 1000, per = "month" } }
"""


async def push(world: World, folder: Path, text: str = CATALOG) -> None:
    file = folder / "catalog.toml"
    file.write_text(text)
    wiring = world.wiring
    wanted = catalog_file.read(file)
    await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)


async def bought(world: World, **wanted: Any) -> Payment:
    payment = await world.open_checkout(package="pro", **wanted)
    await world.pay(payment)
    await tell(world, payment)
    return await world.payment(payment)


async def tell(world: World, payment: Payment) -> None:
    """Deliver every event about a payment, and work them off."""
    found = await world.payment(payment)
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    words = [payment.reference, found.payment_intent_id or payment.reference]
    about = [event for event in reversed(events) if any(word in str(event) for word in words)]
    await world.deliver(about)
    await world.work()


async def has(world: World, payment: Payment) -> dict[str, int | None]:
    """The limit of each feature that the payment's customer has."""
    async with world.wiring.db.connection() as conn:
        at = world.wiring.clock.now()
        listed = await entitlements.list_for(conn, payment.customer_id, at=at)
    return {each.feature: each.limit for each in listed}


async def refund(world: World, payment: Payment, amount: int | None = None) -> None:
    wanted = Wanted(payment_id=payment.id, amount_minor=amount, requested_by="admin")
    provider = world.wiring.provider("stripe")
    await refunds.request(world.wiring.db, provider, wanted, clock=world.wiring.clock)
    await tell(world, payment)


ALL = {"priority": None, "exports": 100, "api_calls": 1000}


async def test_a_paid_pack_gives_its_features_once_it_gives_its_credits(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    payment = await world.open_checkout(package="pro")
    assert await has(world, payment) == {}
    # What was bought is what the catalogue said then.
    await push(world, tmp_path, CATALOG.replace('["priority"]', "[]").replace("100,", "5,"))
    await world.pay(payment)
    await tell(world, payment)
    assert await has(world, payment) == ALL
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select distinct source_kind, source from entitlements")
    assert [tuple(row) for row in rows] == [("pack", payment.reference)]
    await tell(world, payment)
    assert await has(world, payment) == ALL


async def test_a_failed_card_gives_no_feature(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    payment = await world.open_checkout(package="pro")
    await world.pay(payment, "tok_chargeDeclined")
    await tell(world, payment)
    assert await has(world, payment) == {}


async def test_a_pack_refunded_in_part_keeps_its_features_and_loses_them_with_the_rest(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    payment = await bought(world)
    await refund(world, payment, 1999)
    assert await has(world, payment) == ALL
    await refund(world, payment)
    assert await has(world, payment) == {}
    await tell(world, payment)
    assert await has(world, payment) == {}


@pytest.mark.parametrize(("captured", "given"), [(1999, {}), (2000, ALL), (None, ALL)])
async def test_a_pack_captured_by_hand_gives_its_features_when_all_of_it_is_taken(
    world: World, tmp_path: Path, captured: int | None, given: dict[str, int | None]
) -> None:
    await push(world, tmp_path)
    payment = await bought(world, capture_method="manual")
    assert payment.status == "authorized"
    await decide(world, payment, "capture", captured)
    await tell(world, payment)
    assert await has(world, payment) == given
    # Credits follow the part that was taken, features do not.
    assert await world.balance(payment.customer_id) == (29 if captured == 1999 else 30)
    await refund(world, payment)
    assert await has(world, payment) == {}


async def test_features_come_once_the_rest_of_a_pack_is_told_to_be_taken(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    payment = await bought(world, capture_method="manual")
    intent = str(payment.payment_intent_id)
    world.stripe.v1.payment_intents.capture(intent, {"amount_to_capture": 1200})
    await tell(world, payment)
    assert await has(world, payment) == {}
    # Where a provider captures more than once, its later word says all that was taken.
    facts = await world.wiring.provider("stripe").fetch_payment(
        session_id=payment.session_id, payment_intent_id=None, reference=payment.reference
    )
    await world.settle([replace(fact, captured_minor=2000) for fact in facts])
    assert await has(world, payment) == ALL


async def test_a_second_pack_goes_on_giving_when_the_first_is_refunded(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    first, second = await bought(world), await bought(world, quantity=3)
    assert await has(world, second) == ALL
    await refund(world, first)
    assert await has(world, second) == ALL
    await refund(world, second)
    assert await has(world, second) == {}


async def test_a_refund_that_fails_later_gives_the_features_back(
    world: World, tmp_path: Path
) -> None:
    await push(world, tmp_path)
    payment = await world.open_checkout(package="pro")
    await pay_with(world, payment, "4000000000005126")
    await tell(world, payment)
    await refund(world, payment)
    assert await has(world, payment) == {}

    async def failed() -> bool:
        async with world.http() as http:
            await http.post("/_sandbox/clock", json={"advance": 3600})
        await tell(world, payment)
        return (await world.payment(payment)).refunded_minor == 0

    await eventually(failed)
    assert await has(world, payment) == ALL


async def pay_with(world: World, payment: Payment, number: str) -> None:
    card = {"number": number, "exp_month": "12", "exp_year": "2034", "cvc": "123"}
    async with world.http() as http:
        made = await http.post(
            "/v1/payment_methods",
            data={"type": "card", **{f"card[{name}]": value for name, value in card.items()}},
        )
        page = f"/v1/payment_pages/{payment.session_id}/confirm"
        paid = await http.post(page, data={"payment_method": made.json()["id"]})
    assert paid.status_code == 200, paid.text
