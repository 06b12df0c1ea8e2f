"""Coupons at checkout: named by the API or typed by the buyer, known or not, used up or not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from bursar import errors
from bursar.billing import cases, coupons, mirror
from bursar.billing.payments import Payment
from hosted_page_shop import FORM
from stripe_shop import promote, tell_page
from worlds import World


def make_coupon(world: World, **fields: Any) -> Any:
    """A coupon of the shop's: 15 % off, unless told otherwise."""
    given = {"percent_off": 15, "duration": "once"} if "amount_off" not in fields else {}
    return world.stripe.v1.coupons.create({**given, "id": f"C{uuid4().hex[:10]}", **fields})  # type: ignore[typeddict-item]


def make_code(world: World, coupon: Any, **fields: Any) -> str:
    """A code that nobody used before."""
    code = f"CODE{uuid4().hex[:8]}".upper()
    promote(world.stripe.v1, coupon, code=code, **fields)
    return code


async def finish(world: World, payment: Payment) -> Payment:
    """Pay, hear of it, work it off."""
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    return await world.payment(payment)


async def list_cases(world: World) -> list[cases.Case]:
    async with world.wiring.db.connection() as conn:
        return await cases.list_cases(conn)


async def shown(world: World, code: str) -> coupons.Coupon | None:
    """A code as the price list shows it."""
    async with world.wiring.db.connection() as conn:
        found = await coupons.list_shown(conn, "stripe", at=world.wiring.clock.now())
    return next((coupon for coupon in found if coupon.code == code), None)


async def test_a_coupon_named_by_the_api_lowers_the_price_and_not_the_credits(
    world: World,
) -> None:
    coupon = make_coupon(world)
    payment = await world.open_checkout(package="starter", coupon=coupon.id)
    assert (payment.amount_minor, payment.snapshot["subtotal_minor"]) == (425, 500)
    after = await finish(world, payment)
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", 425, None)
    assert await world.balance(payment.customer_id) == 5
    assert await list_cases(world) == []


@pytest.mark.parametrize("quantity", [1, 3])
async def test_a_promotion_code_named_by_the_api_is_the_sessions_own(
    world: World, quantity: int
) -> None:
    code = make_code(world, make_coupon(world, percent_off=12.5))
    payment = await world.open_checkout(package="starter", coupon=code.lower(), quantity=quantity)
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    # 12.5 % of 5.00 is 0.625, of 15.00 it is 1.875: both are rounded half up.
    assert session.amount_total == payment.amount_minor == {1: 437, 3: 1312}[quantity]
    after = await finish(world, payment)
    assert (after.captured_minor, after.mismatch) == (payment.amount_minor, None)
    assert await world.balance(payment.customer_id) == 5 * quantity


async def test_a_code_that_the_buyer_types_is_known_and_counted(world: World) -> None:
    code = make_code(world, make_coupon(world), max_redemptions=40)
    await mirror.fill(world.wiring.db, world.wiring.provider("stripe"))
    before = await shown(world, code)
    assert before is not None
    assert (before.left, before.effect()) == (40, "15\N{NO-BREAK SPACE}% off")
    payment = await world.open_checkout(package="pro")
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    tell_page(world.stripe, session, promotion_code=code)
    after = await finish(world, payment)
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", 1700, None)
    assert await world.balance(payment.customer_id) == 30
    # No event tells how often a code was used: it is read once its use is complete.
    left = await shown(world, code)
    assert left is not None
    assert left.left == 39


async def test_a_discount_that_is_of_no_coupon_is_a_case(world: World) -> None:
    payment = await world.open_checkout(package="starter")
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    code = make_code(world, make_coupon(world))
    tell_page(world.stripe, session, promotion_code=code)
    await world.pay(payment)
    provider = world.wiring.provider("stripe")
    facts = await provider.fetch_payment(
        session_id=payment.session_id, payment_intent_id=None, reference=payment.reference
    )
    for fact in facts:
        if fact.totals is not None:
            object.__setattr__(fact.totals, "discounts", ())
    await world.settle(facts)
    after = await world.payment(payment)
    assert (after.status, after.mismatch) == ("completed", "discount 75, known was 0")
    assert [case.kind for case in await list_cases(world)] == ["mismatch"]
    assert await world.balance(payment.customer_id) == 0


async def test_another_coupon_than_the_one_asked_for_is_a_case(world: World) -> None:
    mine, other = make_coupon(world), make_coupon(world, percent_off=40)
    payment = await world.open_checkout(package="starter", coupon=mine.id)
    await world.pay(payment)
    provider = world.wiring.provider("stripe")
    facts = await provider.fetch_payment(
        session_id=payment.session_id, payment_intent_id=None, reference=payment.reference
    )
    for fact in facts:
        if fact.totals is not None:
            object.__setattr__(fact.totals, "discounts", (f"coupon:{other.id}",))
            object.__setattr__(fact.totals, "discount_minor", 200)
    await world.settle(facts)
    assert (await world.payment(payment)).mismatch == "discount 200, known was 75"


async def test_a_coupon_over_everything_leaves_nothing_to_pay_and_all_to_grant(
    world: World,
) -> None:
    coupon = make_coupon(world, percent_off=100)
    payment = await world.open_checkout(package="pro", coupon=coupon.id)
    assert payment.amount_minor == 0
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    assert session.payment_status == "no_payment_required"
    # Nobody is asked for a card.
    after = await pay_nothing(world, payment)
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", 0, None)
    assert after.payment_intent_id is None
    assert await world.balance(payment.customer_id) == 30


async def test_a_coupon_over_everything_is_refused_where_the_order_is_reviewed_first(
    world: World,
) -> None:
    coupon = make_coupon(world, percent_off=100)
    with pytest.raises(errors.CouponNotApplicable, match="Pro is reviewed"):
        await world.open_checkout(package="pro", capture_method="manual", coupon=coupon.id)
    async with world.wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 0
    half = make_coupon(world, percent_off=50)
    payment = await world.open_checkout(package="pro", capture_method="manual", coupon=half.id)
    assert payment.amount_minor == 1000


async def pay_nothing(world: World, payment: Payment) -> Payment:
    """The page of a total of 0 is sent without a card; hear of it, work it off."""
    page = {**FORM, "card_number": "", "expiry": "", "security_code": "", "seen_total": "0"}
    async with world.http() as http:
        sent = await http.post(str(payment.session_url), data=page)
    assert sent.status_code == 303
    await world.deliver(await world.events_about(payment))
    await world.work()
    return await world.payment(payment)


@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
async def test_a_typed_code_that_leaves_nothing_to_hold_is_shown_to_who_reviews_orders(
    world: World, capture_method: str
) -> None:
    code = make_code(world, make_coupon(world, percent_off=100))
    payment = await world.open_checkout(package="pro", capture_method=capture_method)
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    tell_page(world.stripe, session, promotion_code=code)
    after = await pay_nothing(world, payment)
    assert (after.status, after.captured_minor, after.mismatch) == ("completed", 0, None)
    assert await world.balance(payment.customer_id) == 30
    await world.deliver(await world.events_about(payment))
    await world.work()
    found = [(case.kind, case.payment_id) for case in await list_cases(world)]
    assert found == ([("review", payment.id)] if capture_method == "manual" else [])


async def test_an_amount_off_is_for_its_currency_alone(world: World) -> None:
    coupon = make_coupon(world, amount_off=150, currency="eur", duration="once")
    with pytest.raises(errors.CouponNotApplicable):
        await world.open_checkout(package="starter", coupon=coupon.id)
    dollars = make_coupon(world, amount_off=150, currency="usd", duration="once")
    payment = await world.open_checkout(package="starter", coupon=dollars.id)
    assert payment.amount_minor == 350
    assert (await finish(world, payment)).captured_minor == 350


async def test_an_unknown_coupon_is_refused_before_anything_is_begun(world: World) -> None:
    with pytest.raises(errors.CouponUnknown):
        await world.open_checkout(package="starter", coupon="NOSUCHCODE")


async def test_a_coupon_for_another_item_is_refused(world: World) -> None:
    coupon = make_coupon(world, applies_to={"products": ["bursar_pack_pro"]})
    with pytest.raises(errors.CouponNotApplicable):
        await world.open_checkout(package="starter", coupon=coupon.id)
    payment = await world.open_checkout(package="pro", coupon=coupon.id)
    assert payment.amount_minor == 1700


async def test_a_coupon_that_leaves_less_than_can_be_charged_is_refused(world: World) -> None:
    coupon = make_coupon(world, percent_off=95)
    with pytest.raises(errors.CouponNotApplicable, match=r"\$0\.25"):
        await world.open_checkout(package="starter", coupon=coupon.id)


async def test_a_code_below_its_minimum_is_refused(world: World) -> None:
    restrictions = {"minimum_amount": 1500, "minimum_amount_currency": "usd"}
    code = make_code(world, make_coupon(world), restrictions=restrictions)
    with pytest.raises(errors.CouponNotApplicable, match=r"\$15\.00"):
        await world.open_checkout(package="starter", coupon=code)
    assert (await world.open_checkout(package="pro", coupon=code)).amount_minor == 1700


async def test_a_coupon_whose_last_use_nobody_told_us_of_is_exhausted(world: World) -> None:
    coupon = make_coupon(world, max_redemptions=1)
    first = await world.open_checkout("ada", package="starter", coupon=coupon.id)
    second = await world.open_checkout("bob", package="starter", coupon=coupon.id)
    await world.pay(first)
    # The mirror still has one left: the provider refuses, and the mirror is mended.
    with pytest.raises(errors.CouponExhausted):
        await world.open_checkout("bob", package="starter", coupon=coupon.id)
    await world.work()
    async with world.wiring.db.connection() as conn:
        known = await mirror.find(conn, "stripe", "coupon", coupon.id)
    assert known is not None
    assert known.body["times_redeemed"] == 1
    with pytest.raises(errors.CouponExhausted):
        await world.open_checkout("bob", package="starter", coupon=coupon.id)
    assert second.opening == "open"


async def test_a_code_that_is_switched_off_is_not_taken(world: World) -> None:
    code = make_code(world, make_coupon(world))
    promotion = world.stripe.v1.promotion_codes.list({"code": code}).data[0]
    world.stripe.v1.promotion_codes.update(promotion.id, {"active": False})
    with pytest.raises(errors.CouponExhausted):
        await world.open_checkout(package="starter", coupon=code)


async def test_hidden_codes_and_codes_for_one_customer_are_not_shown(world: World) -> None:
    coupon = make_coupon(world)
    customer = world.stripe.v1.customers.create({"email": "vip@example.com"})
    open_code = make_code(world, coupon)
    private = make_code(world, coupon, customer=customer.id)
    hidden = make_code(world, coupon, metadata={"bursar_hidden": "1"})
    await mirror.fill(world.wiring.db, world.wiring.provider("stripe"))
    assert await shown(world, open_code) is not None
    assert await shown(world, private) is None
    assert await shown(world, hidden) is None
    assert (await world.open_checkout(package="starter", coupon=hidden)).amount_minor == 425


async def test_a_repeated_request_with_a_coupon_is_the_same_checkout(world: World) -> None:
    coupon = make_coupon(world)
    payment = await world.open_checkout(package="starter", coupon=coupon.id)
    again = await world.resume_checkout("ada", payment.reference)
    assert (again.id, again.session_id, again.amount_minor) == (
        payment.id,
        payment.session_id,
        425,
    )
