"""Customers and their payment methods, through the official client."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from stripe_shop import card, iban, pay_intent


def test_customer_is_created_changed_and_deleted(v1: Any) -> None:
    customer = v1.customers.create(
        {
            "email": "ada@example.com",
            "name": "Ada",
            "address": {"line1": "1 Street", "country": "GB"},
            "shipping": {"name": "Ada", "address": {"line1": "2 Street", "country": "GB"}},
            "preferred_locales": ["en", "de"],
            "tax_exempt": "reverse",
        }
    )
    assert customer.address.city is None
    changed = v1.customers.update(customer.id, {"name": "", "address": {"city": "Leeds"}})
    assert changed.name is None
    assert (changed.address.line1, changed.address.city) == ("1 Street", "Leeds")
    assert v1.customers.delete(customer.id).deleted is True
    assert v1.customers.retrieve(customer.id).deleted is True
    with pytest.raises(stripe.InvalidRequestError):
        v1.customers.update(customer.id, {"name": "Ada"})


def test_customers_are_found_by_email(v1: Any) -> None:
    one = v1.customers.create({"email": "only.one@example.com"})
    gone = v1.customers.create({"email": "gone@example.com"})
    v1.customers.delete(gone.id)
    assert v1.customers.list({"email": "gone@example.com"}).data == []
    assert gone.id not in [customer.id for customer in v1.customers.list({"limit": 100}).data]
    v1.customers.create({"email": "someone.else@example.com"})
    found = v1.customers.list({"email": "only.one@example.com"})
    assert [customer.id for customer in found.data] == [one.id]


def test_bad_email_is_refused(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.create({"email": "nobody"})
    assert (caught.value.code, caught.value.param) == ("email_invalid", "email")


def test_payment_method_is_attached_listed_made_default_and_detached(v1: Any) -> None:
    customer = v1.customers.create({"email": "ada@example.com"})
    method = card(v1)
    attached = v1.payment_methods.attach(method.id, {"customer": customer.id})
    assert attached.customer == customer.id
    assert attached.card.checks.cvc_check == "pass"
    listed = v1.customers.payment_methods.list(customer.id, {"type": "card"})
    assert [one.id for one in listed.data] == [method.id]
    assert v1.payment_methods.list({"customer": customer.id, "type": "sepa_debit"}).data == []
    updated = v1.customers.update(
        customer.id,
        {
            "invoice_settings": {"default_payment_method": method.id},
            "expand": ["invoice_settings.default_payment_method"],
        },
    )
    assert updated.invoice_settings.default_payment_method.card.last4 == "4242"
    v1.payment_methods.detach(method.id)
    assert v1.customers.retrieve(customer.id).invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError):
        v1.payment_methods.attach(method.id, {"customer": customer.id})


def test_shared_test_method_becomes_a_new_one_each_time(v1: Any) -> None:
    customer = v1.customers.create({})
    first = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    second = v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
    assert first.id != "pm_card_visa"
    assert second.card.brand == "mastercard"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.payment_methods.attach("pm_card_nothing", {"customer": customer.id})
    assert caught.value.http_status == 404


def test_declined_card_can_not_be_attached_but_one_that_fails_later_can(v1: Any) -> None:
    customer = v1.customers.create({})
    with pytest.raises(stripe.CardError) as caught:
        v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": customer.id})
    assert caught.value.code == "card_declined"
    method = v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError):
        pay_intent(v1, method.id, customer=customer.id)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"number": "4242424242424241"}, "incorrect_number", "number"),
        ({"number": "4242"}, "incorrect_number", "number"),
        ({"exp_month": 13}, "invalid_expiry_month", "exp_month"),
        ({"exp_year": 2020}, "invalid_expiry_year", "exp_year"),
        ({"cvc": "12"}, "invalid_cvc", "cvc"),
        ({"number": "378282246310005", "cvc": "123"}, "invalid_cvc", "cvc"),
    ],
)
def test_card_that_can_not_be_is_refused(
    v1: Any, change: dict[str, Any], code: str, param: str
) -> None:
    fields = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    with pytest.raises(stripe.CardError) as caught:
        v1.payment_methods.create({"type": "card", "card": {**fields, **change}})
    assert (caught.value.http_status, caught.value.code) == (402, code)
    assert caught.value.param == param


def test_card_is_known_by_its_brand(v1: Any) -> None:
    for number, brand in [
        ("4242 4242 4242 4242", "visa"),
        ("5555-5555-5555-4444", "mastercard"),
        ("6011111111111117", "discover"),
    ]:
        assert card(v1, number).card.brand == brand


def test_iban_is_checked_by_its_digits(v1: Any) -> None:
    assert iban(v1, "DE89 3704 0044 0532 0130 00").sepa_debit.last4 == "3000"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        iban(v1, "DE89370400440532013009")
    assert caught.value.param == "sepa_debit[iban]"


def test_payment_method_of_another_customer_is_not_found(v1: Any) -> None:
    one, other = v1.customers.create({}), v1.customers.create({})
    method = v1.payment_methods.attach("pm_card_visa", {"customer": one.id})
    assert v1.customers.payment_methods.retrieve(one.id, method.id).id == method.id
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.payment_methods.retrieve(other.id, method.id)
    assert caught.value.http_status == 404


def test_deleted_customers_cards_are_detached(v1: Any) -> None:
    customer = v1.customers.create({"payment_method": "pm_card_visa"})
    method = v1.customers.payment_methods.list(customer.id).data[0]
    v1.customers.delete(customer.id)
    assert v1.payment_methods.retrieve(method.id).customer is None


def test_type_that_is_not_played_is_refused_by_name(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="ideal"):
        v1.payment_methods.create({"type": "ideal", "ideal": {}})


def test_test_card_that_a_new_customer_brings_can_be_its_default_by_name(v1: Any) -> None:
    wanted = {"payment_method": "pm_card_visa"}
    settings = {"invoice_settings": {"default_payment_method": "pm_card_visa"}}
    customer = v1.customers.create({**wanted, **settings})
    (method,) = v1.customers.payment_methods.list(customer.id).data
    assert customer.invoice_settings.default_payment_method == method.id
