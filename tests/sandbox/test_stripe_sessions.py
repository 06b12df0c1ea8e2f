"""Checkout sessions and the pages behind them, through the official client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_shop import card, confirm_page, iban, open_session


def test_open_session_shows_what_it_sells(v1: Any, shared_sandbox: Sandbox) -> None:
    session = open_session(
        v1,
        client_reference_id="user-7",
        metadata={"order": "7"},
        customer_email="buyer@example.com",
        expand=["line_items.data.price.product"],
    )
    assert session.url == f"{shared_sandbox.base_url}/c/pay/{session.id}"
    assert (session.status, session.payment_status, session.mode) == ("open", "unpaid", "payment")
    assert (session.amount_subtotal, session.amount_total, session.currency) == (3000, 3000, "usd")
    assert session.payment_intent is None
    assert session.customer_details.email == "buyer@example.com"
    assert session.expires_at - session.created == 24 * 3600
    (item,) = session.line_items.data
    assert (item.quantity, item.amount_total, item.price.product.name) == (2, 3000, "Credits")


def test_session_from_prices_adds_up(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"}).id
    one = v1.prices.create({"product": product, "currency": "usd", "unit_amount": 999}).id
    half = v1.prices.create({"product": product, "currency": "usd", "unit_amount_decimal": "0.5"})
    session = v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": "https://shop.example",
            "line_items": [{"price": one, "quantity": 3}, {"price": half.id, "quantity": 101}],
        }
    )
    assert session.amount_total == 2997 + 51
    items = v1.checkout.sessions.line_items.list(session.id)
    assert [item.amount_total for item in items.data] == [2997, 51]
    first = v1.checkout.sessions.line_items.list(session.id, {"limit": 1})
    assert first.has_more
    rest = v1.checkout.sessions.line_items.list(
        session.id, {"limit": 1, "starting_after": first.data[0].id}
    )
    assert [item.id for item in rest.data] == [items.data[1].id]
    assert not rest.has_more


def test_session_is_paid_through_its_page(client: Any) -> None:
    v1 = client.v1
    session = open_session(
        v1,
        client_reference_id="user-7",
        payment_intent_data={"metadata": {"order": "7"}, "description": "Credits"},
        customer_creation="always",
    )
    page = client.raw_request("get", f"/v1/payment_pages/{session.id}")
    assert json.loads(page.body)["state"] == "active"
    paid = confirm_page(client, session, card(v1))
    assert json.loads(paid.body)["state"] == "succeeded"
    session = v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent", "customer"]})
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert session.payment_intent.status == "succeeded"
    assert session.payment_intent.metadata.to_dict() == {"order": "7"}
    assert session.customer.email == "buyer@example.com"
    assert session.payment_intent.customer == session.customer.id
    found = v1.checkout.sessions.list({"payment_intent": session.payment_intent.id})
    assert [one.id for one in found.data] == [session.id]


def test_paying_a_paid_session_charges_nothing(client: Any) -> None:
    session = open_session(client.v1)
    confirm_page(client, session, card(client.v1))
    again = confirm_page(client, session, card(client.v1, "5555555555554444"))
    intent = client.v1.checkout.sessions.retrieve(session.id).payment_intent
    assert json.loads(again.body)["payment_intent"]["id"] == intent
    assert len(client.v1.charges.list({"payment_intent": intent}).data) == 1


def test_declined_session_is_paid_by_the_next_card_on_the_same_intent(client: Any) -> None:
    v1 = client.v1
    session = open_session(v1)
    with pytest.raises(stripe.CardError) as caught:
        confirm_page(client, session, card(v1, "4000000000009995"))
    assert caught.value.error.decline_code == "insufficient_funds"
    declined = v1.checkout.sessions.retrieve(session.id)
    assert (declined.status, declined.payment_status) == ("open", "unpaid")
    confirm_page(client, session, card(v1))
    paid = v1.checkout.sessions.retrieve(session.id)
    assert paid.payment_intent == declined.payment_intent
    assert paid.payment_status == "paid"


def test_page_refuses_another_amount(client: Any) -> None:
    session = open_session(client.v1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        confirm_page(client, session, card(client.v1), amount=2999)
    assert caught.value.param == "expected_amount"
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"


def test_held_session_is_complete_but_unpaid_until_captured(client: Any) -> None:
    v1 = client.v1
    session = open_session(v1, payment_intent_data={"capture_method": "manual"})
    confirm_page(client, session, card(v1))
    session = v1.checkout.sessions.retrieve(session.id)
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    v1.payment_intents.capture(session.payment_intent, {"amount_to_capture": 1000})
    assert v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_free_session_asks_for_no_payment(client: Any) -> None:
    session = open_session(client.v1, amount=0)
    assert session.payment_status == "no_payment_required"
    confirm_page(client, session, card(client.v1))
    session = client.v1.checkout.sessions.retrieve(session.id)
    assert (session.status, session.payment_status) == ("complete", "no_payment_required")
    assert session.payment_intent is None


def test_customer_of_the_session_is_its_buyer(client: Any) -> None:
    v1 = client.v1
    customer = v1.customers.create({"email": "ada@example.com"}).id
    session = open_session(v1, customer=customer)
    assert session.customer_details.email == "ada@example.com"
    confirm_page(client, session, card(v1))
    assert [one.id for one in v1.checkout.sessions.list({"customer": customer}).data] == [
        session.id
    ]
    assert len(v1.charges.list({"customer": customer}).data) == 1


@pytest.mark.parametrize(
    ("number", "word", "payment_status"),
    [
        ("DE89370400440532013000", "succeeded", "paid"),
        ("AT611904300234573201", "succeeded", "paid"),
        ("DE62370400440532013001", "failed", "unpaid"),
        ("IT60X0542811101000000123456", "failed", "unpaid"),
    ],
)
def test_debit_is_answered_by_the_bank_later(
    start: Callable[..., Sandbox],
    client_for: Callable[[Sandbox], Any],
    number: str,
    word: str,
    payment_status: str,
) -> None:
    sandbox = start()
    client = client_for(sandbox)
    v1 = client.v1
    session = open_session(v1, unit_currency="eur", payment_method_types=["sepa_debit"])
    confirm_page(client, session, iban(v1, number))
    session = v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    assert session.payment_intent.status == "processing"
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 5})
    assert v1.checkout.sessions.retrieve(session.id).payment_status == payment_status
    (event,) = v1.events.list({"type": f"checkout.session.async_payment_{word}"}).data
    assert event.data.object["id"] == session.id
    assert event.request.id is None


def test_session_expires_by_the_sandboxes_clock(
    start: Callable[..., Sandbox], client_for: Callable[[Sandbox], Any]
) -> None:
    sandbox = start()
    client = client_for(sandbox)
    v1 = client.v1
    soon = open_session(v1, expires_at=int(time.time()) + 31 * 60)
    later = open_session(v1)
    with pytest.raises(stripe.CardError):
        confirm_page(client, soon, card(v1, "4000000000000002"))
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 32 * 60})
    gone = v1.checkout.sessions.retrieve(soon.id, {"expand": ["payment_intent"]})
    assert (gone.status, gone.url, gone.payment_intent.status) == ("expired", None, "canceled")
    assert v1.checkout.sessions.retrieve(later.id).status == "open"
    with pytest.raises(stripe.InvalidRequestError):
        confirm_page(client, soon, card(v1))
    (event,) = v1.events.list({"type": "checkout.session.expired"}).data
    assert event.data.object["id"] == soon.id
    assert event.created == soon.expires_at


def test_session_is_expired_by_hand_once(v1: Any) -> None:
    session = open_session(v1)
    assert v1.checkout.sessions.expire(session.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError):
        v1.checkout.sessions.expire(session.id)


def test_sessions_metadata_can_be_changed(v1: Any) -> None:
    session = open_session(v1, metadata={"a": "1", "b": "2"})
    session = v1.checkout.sessions.update(session.id, {"metadata": {"a": "", "c": "3"}})
    assert session.metadata.to_dict() == {"b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"mode": "subscription"}, "line_items"),
        ({"mode": "setup"}, "line_items"),
        ({"mode": ""}, "mode"),
        ({"line_items": ""}, "line_items"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "line_items[0][price]"),
        ({"success_url": "shop"}, "success_url"),
        ({"customer": "cus_none"}, "customer"),
        ({"customer_email": "nobody"}, "customer_email"),
        ({"expires_at": 1}, "expires_at"),
        ({"discounts": [{"coupon": "x"}]}, "discounts[0][coupon]"),
        ({"ui_mode": "embedded_page"}, "ui_mode"),
        ({"adaptive_pricing": {"enabled": "perhaps"}}, "adaptive_pricing[enabled]"),
        ({"adaptive_pricing": {"currency": "eur"}}, "adaptive_pricing[currency]"),
        ({"payment_intent_data": {"nonsense": "1"}}, "payment_intent_data[nonsense]"),
        ({"nonsense": "1"}, "nonsense"),
    ],
)
def test_session_that_can_not_be_is_refused_by_name(
    v1: Any, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, **change)
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_recurring_price_is_refused_in_payment_mode(v1: Any) -> None:
    price = v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 900,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Pro"},
        }
    )
    with pytest.raises(stripe.InvalidRequestError, match="subscription"):
        open_session(v1, line_items=[{"price": price.id, "quantity": 1}])


def test_session_below_the_smallest_charge_is_refused(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(v1, amount=10, quantity=1)
    assert caught.value.code == "amount_too_small"


def test_refused_session_leaves_no_price_behind(
    start: Callable[..., Sandbox], client_for: Callable[[Sandbox], Any]
) -> None:
    v1 = client_for(start()).v1
    with pytest.raises(stripe.InvalidRequestError):
        open_session(v1, amount=10, quantity=1)
    assert v1.prices.list().data == []
    assert v1.products.list().data == []


def test_adaptive_pricing_is_on_as_the_dashboard_has_it_until_a_session_says_otherwise(
    v1: Any,
) -> None:
    assert open_session(v1).adaptive_pricing.enabled
    off = open_session(v1, adaptive_pricing={"enabled": False})
    assert not off.adaptive_pricing.enabled
    assert not v1.checkout.sessions.retrieve(off.id).adaptive_pricing.enabled
    assert open_session(v1, adaptive_pricing={"enabled": True}).adaptive_pricing.enabled


def test_what_has_no_effect_is_accepted_and_shown(v1: Any) -> None:
    session = open_session(
        v1,
        allow_promotion_codes=True,
        automatic_tax={"enabled": True},
        billing_address_collection="required",
        consent_collection={"terms_of_service": "required"},
        custom_text={"submit": {"message": "Thanks"}},
        custom_fields=[
            {"key": "size", "label": {"type": "custom", "custom": "Size"}, "type": "text"}
        ],
        invoice_creation={"enabled": True, "invoice_data": {"footer": "Bye"}},
        locale="de",
        phone_number_collection={"enabled": True},
        shipping_address_collection={"allowed_countries": ["DE", "AT"]},
        submit_type="donate",
        tax_id_collection={"enabled": True},
    )
    assert session.allow_promotion_codes is True
    assert session.automatic_tax.enabled
    assert session.custom_fields[0].key == "size"
    assert session.invoice_creation.invoice_data.footer == "Bye"
    assert session.locale == "de"
    assert session.shipping_address_collection.allowed_countries == ["DE", "AT"]
