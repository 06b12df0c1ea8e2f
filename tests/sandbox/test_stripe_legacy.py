"""Endpoints pinned to an older version get its shapes, and what they tell us ends alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from disputed import bought
from stripe_receiver import Receiver
from worlds import World

OLD = "2024-11-20.acacia"
MADE = ["charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"]


def listening(world: World, receiver: Receiver, version: str | None) -> None:
    """An endpoint at the sandbox for all events, in the shapes of this version."""
    wanted: dict[str, Any] = {"url": receiver.url, "enabled_events": ["*"]}
    if version is not None:
        wanted["api_version"] = version
    made = world.stripe.v1.webhook_endpoints.create(wanted)
    assert made.api_version == version
    receiver.secret = str(made.secret)


def told(receiver: Receiver, word: str) -> list[dict[str, Any]]:
    """What arrived that names this word, as it was sent."""
    return [json.loads(raw) for raw in receiver.raw if word in raw.decode()]


async def test_a_purchase_told_in_the_old_version_grants_once(world: World) -> None:
    with Receiver() as old, Receiver() as new:
        listening(world, old, OLD)
        listening(world, new, None)
        payment = await bought(world, package="starter")
        for receiver in (old, new):
            receiver.wait_for_type("checkout.session.completed")
            receiver.wait_for(lambda r: set(MADE) <= set(r.types))
        before, now = told(old, payment.reference), told(new, payment.reference)
    # Each endpoint gets its own shapes of the same events, and verifies them.
    assert not old.refused
    assert {event["api_version"] for event in before} == {OLD}
    assert {event["id"] for event in before} == {event["id"] for event in now}
    by_kind = {event["type"]: event["data"]["object"] for event in before}
    assert by_kind["checkout.session.completed"]["ui_mode"] == "hosted"
    assert by_kind["charge.succeeded"]["invoice"] is None
    since = {event["type"]: event["data"]["object"] for event in now}
    assert since["checkout.session.completed"]["ui_mode"] == "hosted_page"
    assert "invoice" not in since["charge.succeeded"]
    await world.deliver([*before, *now, *before])
    await world.work()
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 5


async def test_a_code_is_told_with_its_coupon_whole(world: World) -> None:
    with Receiver() as old, Receiver() as middle:
        listening(world, old, OLD)
        listening(world, middle, "2025-09-30.clover")
        coupon = world.stripe.v1.coupons.create({"percent_off": 15, "duration": "once"})
        wanted: Any = {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "OLDSHAPE"}
        code = world.stripe.v1.promotion_codes.create(wanted)
        assert code.promotion.coupon == coupon.id
        old.wait_for_type("promotion_code.created")
        middle.wait_for_type("promotion_code.created")
    before = old.events[old.types.index("promotion_code.created")].data.object
    assert before["coupon"]["percent_off"] == 15
    assert "promotion" not in before
    since = middle.events[middle.types.index("promotion_code.created")].data.object
    assert since["promotion"]["coupon"] == coupon.id
    assert "coupon" not in since


@pytest.mark.parametrize("captured", [1500, 2000])
def test_a_capture_in_part_counts_the_rest_as_refunded(world: World, captured: int) -> None:
    intents = world.stripe.v1.payment_intents
    with Receiver() as old, Receiver() as new:
        listening(world, old, OLD)
        listening(world, new, None)
        held = intents.create(
            {
                "amount": 2000,
                "currency": "usd",
                "capture_method": "manual",
                "confirm": True,
                "payment_method": "pm_card_visa",
                "return_url": "https://shop.example/back",
            }
        )
        intents.capture(held.id, {"amount_to_capture": captured})
        before = old.wait_for_type("charge.captured").data.object
        now = new.wait_for_type("charge.captured").data.object
    assert before["amount_refunded"] == 2000 - captured
    assert now["amount_refunded"] == 0
    assert before["refunded"] is now["refunded"] is False
