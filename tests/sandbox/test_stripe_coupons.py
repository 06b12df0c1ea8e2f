"""Coupons through the official client, and what they take off a session."""

from __future__ import annotations

import time
from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_shop import open_session, promote

LINES: list[dict[str, Any]] = [
    {"quantity": 3, "price_data": {"unit_amount": 999, "product_data": {"name": "Ink"}}},
    {"quantity": 1, "price_data": {"unit_amount": 1234, "product_data": {"name": "Paper"}}},
    {"quantity": 7, "price_data": {"unit_amount": 101, "product_data": {"name": "Pens"}}},
]


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


def basket(currency: str = "usd", factor: int = 1) -> list[dict[str, Any]]:
    """Three lines that no percentage divides without a rest."""
    return [
        {
            "quantity": line["quantity"],
            "price_data": {
                **line["price_data"],
                "currency": currency,
                "unit_amount": line["price_data"]["unit_amount"] * factor,
            },
        }
        for line in LINES
    ]


def sums(v1: Any, session_id: str) -> list[tuple[int, int, int, int]]:
    """Subtotal, discount, tax and total of each line."""
    return [
        (item.amount_subtotal, item.amount_discount, item.amount_tax, item.amount_total)
        for item in v1.checkout.sessions.line_items.list(session_id).data
    ]


def check_sums(v1: Any, session: Any) -> None:
    """The lines add up to the session, to the minor unit."""
    columns = [sum(column) for column in zip(*sums(v1, session.id), strict=True)]
    details = session.total_details
    assert columns == [
        session.amount_subtotal,
        details.amount_discount,
        details.amount_tax,
        session.amount_total,
    ]


def test_coupon_is_made_changed_listed_and_deleted(v1: Any) -> None:
    product = v1.products.create({"name": "Ink"}).id
    coupon = v1.coupons.create(
        {
            "id": f"SPRING{time.time_ns()}",
            "amount_off": 500,
            "currency": "usd",
            "currency_options": {"eur": {"amount_off": 450}},
            "duration": "repeating",
            "duration_in_months": 3,
            "max_redemptions": 40,
            "redeem_by": int(time.time()) + 86_400,
            "applies_to": {"products": [product]},
            "name": "Spring",
            "metadata": {"a": "1"},
            "expand": ["applies_to", "currency_options"],
        }
    )
    assert (coupon.valid, coupon.times_redeemed, coupon.percent_off) == (True, 0, None)
    assert coupon.applies_to.products == [product]
    assert coupon.currency_options["eur"].amount_off == 450
    assert coupon.currency_options["usd"].amount_off == 500
    plain = v1.coupons.retrieve(coupon.id)
    assert "applies_to" not in plain
    changed = v1.coupons.update(coupon.id, {"name": "Summer", "metadata": {"a": "", "b": "2"}})
    assert (changed.name, changed.metadata.to_dict()) == ("Summer", {"b": "2"})
    assert v1.coupons.list({"limit": 1}).data[0].id == coupon.id
    assert v1.coupons.delete(coupon.id).deleted
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.coupons.retrieve(coupon.id)
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    types = [event.type for event in v1.events.list({"limit": 20}).data]
    assert {"coupon.created", "coupon.updated", "coupon.deleted"} <= set(types)


def test_coupon_without_a_name_gets_one_and_lasts_once(v1: Any) -> None:
    coupon = v1.coupons.create({"percent_off": 25.5})
    assert (len(coupon.id), coupon.duration, coupon.percent_off) == (8, "once", 25.5)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "percent_off"),
        ({"percent_off": 0}, "percent_off"),
        ({"percent_off": 101}, "percent_off"),
        ({"percent_off": 10, "amount_off": 10, "currency": "usd"}, "amount_off"),
        ({"amount_off": 10}, "currency"),
        ({"amount_off": 10, "currency": "xyz"}, "currency"),
        ({"percent_off": 10, "duration": "repeating"}, "duration_in_months"),
        ({"percent_off": 10, "duration_in_months": 2}, "duration_in_months"),
        ({"percent_off": 10, "redeem_by": 1}, "redeem_by"),
        ({"percent_off": 10, "max_redemptions": 0}, "max_redemptions"),
        ({"percent_off": 10, "applies_to": {"products": ["p"]}}, "applies_to[products][0]"),
    ],
)
def test_coupon_that_can_not_be_is_refused(v1: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.coupons.create(fields)
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_same_coupon_twice_is_refused_until_it_is_deleted(v1: Any) -> None:
    name = f"TWICE{time.time_ns()}"
    v1.coupons.create({"id": name, "percent_off": 10})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.coupons.create({"id": name, "percent_off": 20})
    assert caught.value.code == "resource_already_exists"
    v1.coupons.delete(name)
    assert v1.coupons.create({"id": name, "percent_off": 20}).percent_off == 20


@pytest.mark.parametrize(
    ("currency", "factor", "discounts"),
    [
        # 15 % of 2997, 1234 and 707: 449.55, 185.1, 106.05.
        ("usd", 1, [450, 185, 106]),
        ("jpy", 1, [450, 185, 106]),
        # In fils, charged by tens: 15 % of 29970, 12340 and 7070 is 4495.5, 1851, 1060.5.
        ("kwd", 10, [4500, 1850, 1060]),
    ],
)
def test_percentage_is_rounded_on_each_line(
    v1: Any, currency: str, factor: int, discounts: list[int]
) -> None:
    coupon = v1.coupons.create({"percent_off": 15})
    session = open_session(
        v1, line_items=basket(currency, factor), discounts=[{"coupon": coupon.id}]
    )
    assert [row[1] for row in sums(v1, session.id)] == discounts
    check_sums(v1, session)
    assert session.amount_total == (2997 + 1234 + 707) * factor - sum(discounts)


@pytest.mark.parametrize(
    ("currency", "factor", "off", "discounts"),
    [
        ("usd", 1, 1000, [607, 250, 143]),
        ("jpy", 1, 1, [1, 0, 0]),
        ("kwd", 10, 10010, [6080, 2500, 1430]),
        ("eur", 1, 4437, [2693, 1109, 635]),
    ],
)
def test_amount_is_spread_over_the_lines_to_the_minor_unit(
    v1: Any, currency: str, factor: int, off: int, discounts: list[int]
) -> None:
    coupon = v1.coupons.create({"amount_off": off, "currency": currency})
    session = open_session(
        v1, line_items=basket(currency, factor), discounts=[{"coupon": coupon.id}]
    )
    assert [row[1] for row in sums(v1, session.id)] == discounts
    assert session.total_details.amount_discount == off
    check_sums(v1, session)


def test_coupon_takes_off_only_what_it_is_for(v1: Any) -> None:
    product = v1.products.create({"name": "Ink"}).id
    price = v1.prices.create({"product": product, "currency": "usd", "unit_amount": 1000}).id
    coupon = v1.coupons.create({"percent_off": 50, "applies_to": {"products": [product]}})
    lines = [{"price": price, "quantity": 2}, *basket()[:1]]
    session = open_session(v1, line_items=lines, discounts=[{"coupon": coupon.id}])
    assert [row[1] for row in sums(v1, session.id)] == [1000, 0]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, discounts=[{"coupon": coupon.id}])
    assert caught.value.param == "discounts[0][coupon]"


def test_amount_in_another_currency_goes_by_the_coupons_options(v1: Any) -> None:
    options = {"eur": {"amount_off": 450}}
    coupon = v1.coupons.create({"amount_off": 500, "currency": "usd", "currency_options": options})
    session = open_session(v1, unit_currency="eur", discounts=[{"coupon": coupon.id}])
    assert session.total_details.amount_discount == 450
    with pytest.raises(stripe.InvalidRequestError, match="in jpy"):
        open_session(v1, unit_currency="jpy", discounts=[{"coupon": coupon.id}])


def test_discount_is_shown_where_stripe_shows_it(v1: Any) -> None:
    coupon = v1.coupons.create({"percent_off": 15})
    promotion = promote(v1, coupon)
    session = open_session(
        v1,
        discounts=[{"promotion_code": promotion.id}],
        expand=[
            "total_details.breakdown",
            "line_items.data.discounts",
            "discounts.promotion_code",
        ],
    )
    assert session.discounts[0].promotion_code.code == promotion.code
    (part,) = session.total_details.breakdown.discounts
    assert (part.amount, part.discount.promotion_code) == (450, promotion.id)
    assert part.discount.source.coupon == coupon.id
    (line,) = session.line_items.data
    assert [one.amount for one in line.discounts] == [450]
    again = v1.checkout.sessions.line_items.list(
        session.id, {"expand": ["data.discounts", "data.taxes"]}
    )
    assert again.data[0].discounts[0].discount.id == part.discount.id
    assert again.data[0].taxes == []


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"discounts": [{"coupon": "x"}]}, "discounts[0][coupon]"),
        ({"discounts": [{"promotion_code": "promo_x"}]}, "discounts[0][promotion_code]"),
        ({"discounts": [{"coupon": "a"}, {"coupon": "b"}]}, "discounts"),
        ({"discounts": [{"coupon": "a", "promotion_code": "b"}]}, "discounts[0][coupon]"),
        ({"discounts": [{"nonsense": "a"}]}, "discounts[0][nonsense]"),
        ({"discounts": [{"coupon": "x"}], "allow_promotion_codes": True}, "allow_promotion_codes"),
    ],
)
def test_discount_that_can_not_be_is_refused_by_name(
    v1: Any, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, **options)
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_discount_below_the_smallest_charge_is_refused(v1: Any) -> None:
    coupon = v1.coupons.create({"percent_off": 99})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, discounts=[{"coupon": coupon.id}])
    assert caught.value.code == "amount_too_small"
