"""Tax rates and automatic tax, on sessions in every kind of currency, with and without a coupon."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_shop import confirm_page, open_session


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


def rate(v1: Any, percentage: float = 19, **options: Any) -> Any:
    """A tax rate of the seller's own."""
    fields = {"display_name": "VAT", "inclusive": False, "percentage": percentage, **options}
    return v1.tax_rates.create(fields)


def lines(
    behavior: str = "unspecified", currency: str = "usd", factor: int = 1, **options: Any
) -> list[dict[str, Any]]:
    """3 × 9.99, 12.34 and 7 × 1.01, or as much in another currency."""
    return [
        {
            "quantity": quantity,
            "price_data": {
                "currency": currency,
                "unit_amount": amount * factor,
                "tax_behavior": behavior,
                "product_data": {"name": name},
            },
            **options,
        }
        for quantity, amount, name in ((3, 999, "Ink"), (1, 1234, "Paper"), (7, 101, "Pens"))
    ]


def locate(client: Any, session: Any, country: str, postal_code: str = "") -> Any:
    """Tell the session's page where the buyer is; the session then."""
    region = {"country": country, "postal_code": postal_code}
    client.raw_request("post", f"/v1/payment_pages/{session.id}", tax_region=region)
    return client.v1.checkout.sessions.retrieve(session.id)


def sums(v1: Any, session: Any) -> list[tuple[int, int, int]]:
    """Discount, tax and total of each line, after a look that they add up to the session."""
    items = v1.checkout.sessions.line_items.list(session.id).data
    rows = [(item.amount_discount, item.amount_tax, item.amount_total) for item in items]
    assert [sum(column) for column in zip(*rows, strict=True)] == [
        session.total_details.amount_discount,
        session.total_details.amount_tax,
        session.amount_total,
    ]
    assert sum(item.amount_subtotal for item in items) == session.amount_subtotal
    return rows


def card_in(v1: Any, country: str, postal_code: str = "") -> Any:
    """A card that is billed there."""
    address = {"country": country, "postal_code": postal_code}
    return v1.payment_methods.create(
        {
            "type": "card",
            "card": {"token": "tok_visa"},
            "billing_details": {"email": "ada@example.com", "name": "Ada", "address": address},
        }
    )


def test_tax_rate_is_made_changed_and_listed(v1: Any) -> None:
    made = rate(v1, 25.5, country="FI", jurisdiction="FI", tax_type="vat", description="Alv")
    assert (made.percentage, made.active, made.tax_type) == (25.5, True, "vat")
    changed = v1.tax_rates.update(made.id, {"active": False, "metadata": {"a": "1"}})
    assert (changed.active, changed.metadata.to_dict()) == (False, {"a": "1"})
    assert v1.tax_rates.retrieve(made.id).description == "Alv"
    ids = [one.id for one in v1.tax_rates.list({"active": True, "limit": 100}).data]
    assert made.id not in ids
    types = {event.type for event in v1.events.list({"limit": 5}).data}
    assert {"tax_rate.created", "tax_rate.updated"} <= types


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"display_name": "VAT", "inclusive": True}, "percentage"),
        ({"display_name": "VAT", "inclusive": True, "percentage": 101}, "percentage"),
        ({"display_name": "VAT", "inclusive": True, "percentage": 1, "tax_type": "x"}, "tax_type"),
    ],
)
def test_tax_rate_that_can_not_be_is_refused(v1: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.tax_rates.create(fields)
    assert caught.value.param == param


def test_rate_of_a_line_is_on_top_or_inside(v1: Any) -> None:
    on_top, inside = rate(v1), rate(v1, inclusive=True)
    session = open_session(v1, line_items=lines(tax_rates=[on_top.id]))
    # 19 % of 29.97, 12.34 and 7.07: 5.6943, 2.3446, 1.3433.
    assert sums(v1, session) == [(0, 569, 3566), (0, 234, 1468), (0, 134, 841)]
    session = open_session(v1, line_items=lines(tax_rates=[inside.id]))
    # The tax within: 4.785, 1.970, 1.129.
    assert sums(v1, session) == [(0, 479, 2997), (0, 197, 1234), (0, 113, 707)]
    assert session.amount_total == session.amount_subtotal


def test_rates_of_a_line_are_shown_and_summed_by_rate(v1: Any) -> None:
    state, city = rate(v1, 5, display_name="State"), rate(v1, 2.5, display_name="City")
    session = open_session(
        v1,
        line_items=lines(tax_rates=[state.id, city.id]),
        expand=["line_items.data.taxes", "total_details.breakdown"],
    )
    first = session.line_items.data[0]
    assert [(tax.amount, tax.rate.display_name) for tax in first.taxes] == [
        (150, "State"),
        (75, "City"),
    ]
    assert first.taxes[0].taxable_amount == 2997
    parts = session.total_details.breakdown.taxes
    # 1.4985 + 0.617 + 0.3535 and 0.74925 + 0.3085 + 0.17675, each rounded on its line.
    assert [(part.amount, part.rate.id) for part in parts] == [
        (150 + 62 + 35, state.id),
        (75 + 31 + 18, city.id),
    ]
    assert sum(part.amount for part in parts) == session.total_details.amount_tax


def test_dynamic_rate_waits_for_the_buyers_country(client: Any) -> None:
    v1 = client.v1
    german, french = rate(v1, 19, country="DE"), rate(v1, 20, country="FR")
    session = open_session(v1, line_items=lines(dynamic_tax_rates=[german.id, french.id]))
    assert session.total_details.amount_tax == 0
    session = locate(client, session, "FR")
    # 20 % of 29.97, 12.34 and 7.07: 5.994, 2.468, 1.414.
    assert sums(v1, session) == [(0, 599, 3596), (0, 247, 1481), (0, 141, 848)]
    assert locate(client, session, "US").total_details.amount_tax == 0


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tax_rates": ["txr_none"]}, "line_items[0][tax_rates][0]"),
        ({"tax_rates": ["IDLE"]}, "line_items[0][tax_rates][0]"),
        ({"tax_rates": ["GOOD"], "behavior": "inclusive"}, "line_items[0][tax_rates][0]"),
        ({"dynamic_tax_rates": ["GOOD"]}, "line_items[0][dynamic_tax_rates][0]"),
        ({"dynamic_tax_rates": ["HERE"], "tax_rates": ["GOOD"]}, "line_items[0][tax_rates]"),
    ],
)
def test_rate_that_does_not_fit_is_refused(v1: Any, options: dict[str, Any], param: str) -> None:
    made = {
        "GOOD": rate(v1).id,
        "HERE": rate(v1, country="DE").id,
        "IDLE": rate(v1, active=False).id,
    }
    behavior = options.pop("behavior", "unspecified")
    named = {name: [made.get(one, one) for one in ids] for name, ids in options.items()}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, line_items=lines(behavior, **named))
    assert caught.value.param == param


def test_rates_and_automatic_tax_exclude_each_other(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, line_items=lines(tax_rates=[rate(v1).id]), automatic_tax={"enabled": True})
    assert caught.value.param == "line_items"


@pytest.mark.parametrize(
    ("behavior", "currency", "factor", "expected"),
    [
        # 19 % of 25.47, 10.49 and 6.01, which is what 15 % off leaves of the lines.
        ("exclusive", "usd", 1, [(450, 484, 3031), (185, 199, 1248), (106, 114, 715)]),
        ("exclusive", "jpy", 1, [(450, 484, 3031), (185, 199, 1248), (106, 114, 715)]),
        ("inclusive", "usd", 1, [(450, 407, 2547), (185, 167, 1049), (106, 96, 601)]),
        ("inclusive", "jpy", 1, [(450, 407, 2547), (185, 167, 1049), (106, 96, 601)]),
        # In fils, of which only tens can be charged: 19 % of 25470, 10490 and 6010.
        ("exclusive", "kwd", 10, [(4500, 4840, 30310), (1850, 1990, 12480), (1060, 1140, 7150)]),
        ("inclusive", "kwd", 10, [(4500, 4070, 25470), (1850, 1670, 10490), (1060, 960, 6010)]),
    ],
)
def test_coupon_then_tax_add_up_to_the_minor_unit(
    client: Any,
    behavior: str,
    currency: str,
    factor: int,
    expected: list[tuple[int, int, int]],
) -> None:
    v1 = client.v1
    coupon = v1.coupons.create({"percent_off": 15})
    session = open_session(
        v1,
        line_items=lines(behavior, currency, factor),
        discounts=[{"coupon": coupon.id}],
        automatic_tax={"enabled": True},
    )
    assert session.automatic_tax.status == "requires_location_inputs"
    session = locate(client, session, "DE")
    assert session.automatic_tax.status == "complete"
    assert sums(v1, session) == expected
    confirm_page(client, session, card_in(v1, "DE"))
    paid = v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert paid.payment_intent.amount_received == sum(total for _, _, total in expected)


@pytest.mark.parametrize(
    ("currency", "tax", "total"), [("usd", 570, 3570), ("cad", 570, 3570), ("eur", 479, 3000)]
)
def test_price_that_does_not_say_goes_by_its_currency(
    client: Any, currency: str, tax: int, total: int
) -> None:
    session = open_session(client.v1, unit_currency=currency, automatic_tax={"enabled": True})
    session = locate(client, session, "DE")
    assert (session.total_details.amount_tax, session.amount_total) == (tax, total)


@pytest.mark.parametrize(
    ("country", "postal_code", "tax", "reason"),
    [
        ("DE", "10115", 570, "standard_rated"),
        ("FI", "", 765, "standard_rated"),
        ("CH", "", 243, "standard_rated"),
        ("JP", "", 300, "standard_rated"),
        ("US", "10001", 240, "standard_rated"),
        ("US", "94107", 0, "not_collecting"),
        ("BR", "", 0, "not_collecting"),
    ],
)
def test_automatic_tax_goes_by_the_place(
    client: Any, country: str, postal_code: str, tax: int, reason: str
) -> None:
    v1 = client.v1
    session = open_session(v1, automatic_tax={"enabled": True})
    session = locate(client, session, country, postal_code)
    assert (session.total_details.amount_tax, session.amount_total) == (tax, 3000 + tax)
    (item,) = v1.checkout.sessions.line_items.list(session.id, {"expand": ["data.taxes"]}).data
    assert [(one.taxability_reason, one.amount) for one in item.taxes] == [(reason, tax)]
    assert item.taxes[0].rate.country == country


def test_customers_address_is_known_from_the_start(v1: Any) -> None:
    customer = v1.customers.create({"email": "ada@example.com", "address": {"country": "FR"}}).id
    session = open_session(v1, customer=customer, automatic_tax={"enabled": True})
    assert (session.automatic_tax.status, session.amount_total) == ("complete", 3600)


def test_card_of_another_country_is_not_charged_what_nobody_has_seen(client: Any) -> None:
    v1 = client.v1
    session = open_session(v1, automatic_tax={"enabled": True})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        confirm_page(client, session, card_in(v1, "DE"))
    assert caught.value.param == "expected_amount"
    assert v1.checkout.sessions.retrieve(session.id).payment_intent is None
    confirm_page(client, session, card_in(v1, "DE"), amount=3570)
    assert v1.checkout.sessions.retrieve(session.id).amount_total == 3570


def test_everything_off_leaves_no_tax_either(client: Any) -> None:
    coupon = client.v1.coupons.create({"percent_off": 100})
    session = open_session(
        client.v1, discounts=[{"coupon": coupon.id}], automatic_tax={"enabled": True}
    )
    session = locate(client, session, "DE")
    assert (session.amount_total, session.payment_status) == (0, "no_payment_required")


@pytest.mark.parametrize(
    ("currency", "amount", "code"),
    [
        ("jpy", 49, "amount_too_small"),
        ("gbp", 29, "amount_too_small"),
        ("kwd", 12345, None),
        ("isk", 12345, None),
    ],
)
def test_amount_that_a_currency_does_not_have_is_refused(
    v1: Any, currency: str, amount: int, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, amount=amount, quantity=1, unit_currency=currency)
    assert caught.value.code == code


def test_currency_of_the_session_chooses_among_the_prices(v1: Any) -> None:
    price = v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 1000,
            "currency_options": {"jpy": {"unit_amount": 1500, "tax_behavior": "inclusive"}},
            "product_data": {"name": "Pro"},
        }
    )
    options = {"line_items": [{"price": price.id, "quantity": 2}]}
    session = open_session(v1, currency="jpy", **options)
    assert (session.currency, session.amount_total) == ("jpy", 3000)
    with pytest.raises(stripe.InvalidRequestError, match="expected currency"):
        open_session(v1, currency="eur", **options)


def test_page_says_what_it_comes_to(client: Any) -> None:
    session = open_session(client.v1, automatic_tax={"enabled": True})
    locate(client, session, "DE")
    shown = json.loads(client.raw_request("get", f"/v1/payment_pages/{session.id}").body)
    group = shown["line_item_group"]
    assert (group["subtotal"], group["tax"], group["total"]) == (3000, 570, 3570)
