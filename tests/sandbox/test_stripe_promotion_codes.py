"""Promotion codes through the official client: made, typed, used up, expired."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_shop import card, confirm_page, open_session, promote, tell_page


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


def test_promotion_code_is_made_found_and_ended(v1: Any) -> None:
    coupon = v1.coupons.create({"percent_off": 15})
    promotion = promote(v1, coupon, code=f"Launch{time.time_ns()}", max_redemptions=3)
    assert promotion.promotion.coupon == coupon.id
    assert promotion.restrictions.first_time_transaction is False
    (found,) = v1.promotion_codes.list({"code": promotion.code.upper()}).data
    assert found.id == promotion.id
    (found,) = v1.promotion_codes.list({"coupon": coupon.id, "active": True}).data
    assert found.id == promotion.id
    with pytest.raises(stripe.InvalidRequestError, match="An active promotion code with `code: "):
        promote(v1, coupon, code=promotion.code)
    ended = v1.promotion_codes.update(promotion.id, {"active": False, "metadata": {"why": "over"}})
    assert (ended.active, ended.metadata.to_dict()) == (False, {"why": "over"})
    assert v1.promotion_codes.list({"coupon": coupon.id, "active": True}).data == []
    whole = v1.promotion_codes.retrieve(promotion.id, {"expand": ["promotion.coupon"]})
    assert whole.promotion.coupon.percent_off == 15
    (event,) = v1.events.list({"type": "promotion_code.updated", "limit": 1}).data
    assert event.data.previous_attributes["active"] is True


def test_promotion_code_without_a_code_gets_one(v1: Any) -> None:
    promotion = promote(v1, v1.coupons.create({"percent_off": 15}))
    assert len(promotion.code) == 8
    assert promotion.code == promotion.code.upper()


def test_older_shape_of_a_promotion_code_is_for_callers_without_a_version(
    v1: Any, shared_sandbox: Sandbox
) -> None:
    coupon = v1.coupons.create({"percent_off": 15})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.promotion_codes.create({"coupon": coupon.id})
    assert caught.value.code == "parameter_unknown"
    made = httpx.post(
        f"{shared_sandbox.base_url}/v1/promotion_codes",
        data={"coupon": coupon.id},
        auth=("sk_test_bursar_tests", ""),
    )
    assert made.json()["promotion"] == {"coupon": coupon.id, "type": "coupon"}


def test_uses_are_counted_when_the_session_is_complete(client: Any) -> None:
    v1 = client.v1
    coupon = v1.coupons.create({"percent_off": 15, "max_redemptions": 1})
    promotion = promote(v1, coupon)
    first, second = (
        open_session(v1, discounts=[{"promotion_code": promotion.id}]) for _ in range(2)
    )
    assert v1.coupons.retrieve(coupon.id).times_redeemed == 0
    confirm_page(client, first, card(v1))
    used = v1.coupons.retrieve(coupon.id)
    assert (used.times_redeemed, used.valid) == (1, False)
    ended = v1.promotion_codes.retrieve(promotion.id)
    assert (ended.times_redeemed, ended.active) == (1, False)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        confirm_page(client, second, card(v1))
    assert caught.value.code == "coupon_expired"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, discounts=[{"coupon": coupon.id}])
    assert str(caught.value.user_message) == f"Coupon {coupon.id} is used up and cannot be applied."
    assert (caught.value.code, caught.value.param) == ("coupon_expired", "discounts[0][coupon]")


def test_coupon_and_code_end_with_their_time(
    start: Callable[..., Sandbox], client_for: Callable[[Sandbox], Any]
) -> None:
    sandbox = start()
    v1 = client_for(sandbox).v1
    soon = int(time.time()) + 3600
    coupon = v1.coupons.create({"percent_off": 15, "redeem_by": soon + 3600})
    promotion = promote(v1, coupon, expires_at=soon)
    other = promote(v1, coupon)
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 3700})
    assert not v1.promotion_codes.retrieve(promotion.id).active
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, discounts=[{"promotion_code": promotion.id}])
    assert caught.value.code == "coupon_expired"
    assert open_session(v1, discounts=[{"promotion_code": other.id}]).amount_total == 2550
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 3700})
    assert not v1.coupons.retrieve(coupon.id).valid
    assert not v1.promotion_codes.retrieve(other.id).active
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, discounts=[{"coupon": coupon.id}])
    assert str(caught.value.user_message) == f"Coupon expired: {coupon.id}"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.promotion_codes.update(other.id, {"active": True})
    assert caught.value.param == "active"


def test_code_for_a_first_purchase_is_not_for_a_second(client: Any) -> None:
    v1 = client.v1
    promotion = promote(
        v1,
        v1.coupons.create({"percent_off": 15}),
        restrictions={"first_time_transaction": True},
    )
    customer = v1.customers.create({"email": "ada@example.com"}).id
    options = {"customer": customer, "discounts": [{"promotion_code": promotion.id}]}
    confirm_page(client, open_session(v1, **options), card(v1))
    with pytest.raises(stripe.InvalidRequestError, match="has prior transactions"):
        open_session(v1, **options)


def test_code_has_a_smallest_order_and_an_owner(v1: Any) -> None:
    coupon = v1.coupons.create({"percent_off": 15})
    restrictions = {
        "minimum_amount": 3001,
        "minimum_amount_currency": "usd",
        "currency_options": {"eur": {"minimum_amount": 3000}},
    }
    large = promote(v1, coupon, restrictions=restrictions)
    with pytest.raises(stripe.InvalidRequestError, match="minimum amount"):
        open_session(v1, discounts=[{"promotion_code": large.id}])
    assert open_session(v1, unit_currency="eur", discounts=[{"promotion_code": large.id}])
    owner = v1.customers.create({"email": "ada@example.com"}).id
    own = promote(v1, coupon, customer=owner)
    with pytest.raises(stripe.InvalidRequestError, match="another customer"):
        open_session(v1, discounts=[{"promotion_code": own.id}])
    assert open_session(v1, customer=owner, discounts=[{"promotion_code": own.id}])


def test_code_is_typed_removed_and_paid_without(client: Any) -> None:
    v1 = client.v1
    promotion = promote(v1, v1.coupons.create({"percent_off": 15}))
    session = open_session(v1, allow_promotion_codes=True)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        tell_page(client, session, promotion_code="NOTHING-OF-THE-KIND")
    assert caught.value.code == "resource_missing"
    assert tell_page(client, session, promotion_code=promotion.code.lower())["amount"] == 2550
    assert v1.checkout.sessions.retrieve(session.id).amount_total == 2550
    assert tell_page(client, session, promotion_code="")["amount"] == 3000
    plain = v1.checkout.sessions.retrieve(session.id)
    assert (plain.discounts, plain.total_details.amount_discount) == ([], 0)
    confirm_page(client, plain, card(v1))
    assert v1.promotion_codes.retrieve(promotion.id).times_redeemed == 0


def test_code_after_a_declined_try_changes_what_is_charged(client: Any) -> None:
    v1 = client.v1
    promotion = promote(v1, v1.coupons.create({"percent_off": 15}))
    session = open_session(v1, allow_promotion_codes=True)
    with pytest.raises(stripe.CardError):
        confirm_page(client, session, card(v1, "4000000000000002"))
    tell_page(client, session, promotion_code=promotion.code)
    session = v1.checkout.sessions.retrieve(session.id)
    confirm_page(client, session, card(v1))
    intent = v1.payment_intents.retrieve(session.payment_intent)
    assert (intent.amount, intent.amount_received) == (2550, 2550)


def test_everything_off_asks_for_no_payment(client: Any) -> None:
    v1 = client.v1
    coupon = v1.coupons.create({"percent_off": 100})
    session = open_session(v1, allow_promotion_codes=True)
    with pytest.raises(stripe.CardError):
        confirm_page(client, session, card(v1, "4000000000000002"))
    tried = v1.checkout.sessions.retrieve(session.id).payment_intent
    tell_page(client, session, promotion_code=promote(v1, coupon).code)
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.amount_total, session.payment_status) == (0, "no_payment_required")
    assert session.payment_intent is None
    assert v1.payment_intents.retrieve(tried).status == "canceled"
    confirm_page(client, session, card(v1))
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.status, session.payment_status) == ("complete", "no_payment_required")
    assert session.payment_intent is None
    assert v1.coupons.retrieve(coupon.id).times_redeemed == 1
